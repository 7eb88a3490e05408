//! The named cases: every place of the dimension, one tensor and many.

use crate::ops::Case;

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1", &[]).quick(),
    Case::new("single", "7,13", &[("axis", "1")]),
    Case::new("rows", "3/1/4,65", &[]).quick(),
    Case::new("middle", "5,7/1/13,3", &[("axis", "1")]).quick(),
    Case::new("columns", "67,129/63", &[("axis", "-1")]),
    Case::new("columns_of_one", "67,1/1/1", &[("axis", "1")]),
    Case::new("vectors", "255/1/256", &[]),
    Case::new("many", "2,1/2/3/1/2/3/1/2/3/1/2/3,5", &[("axis", "1")]),
    Case::new("long", "3,20011/7", &[("axis", "1")]),
    Case::new("long_rows", "2/3,5200", &[]),
    Case::new("five_dimensions", "2,3,5/2,3,4", &[("axis", "2")]),
    Case::new("forward_only", "5,7/13,3", &[("axis", "1")]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
];
