//! The named cases: every place of the dimension, steps, one index and all.

use crate::ops::Case;

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1", &[]).quick(),
    Case::new("all", "7,13", &[]),
    Case::new("first_rows", "7,13,5", &[("end", "3")]),
    Case::new("middle", "7,13,5", &[("axis", "1"), ("start", "4"), ("end", "9")]).quick(),
    Case::new("last_columns", "7,13,5", &[("axis", "-1"), ("start", "-2")]),
    Case::new("all_but_the_last", "7,13,5", &[("axis", "1"), ("end", "-1")]),
    Case::new("one_index", "7,13,5", &[("axis", "1"), ("start", "6"), ("end", "7")]),
    Case::new("every_third", "7,13,5", &[("axis", "1"), ("start", "1"), ("step", "3")]).quick(),
    Case::new("every_other_column", "67,129", &[("axis", "1"), ("step", "2")]),
    Case::new("step_beyond_the_end", "5,7", &[("axis", "1"), ("start", "2"), ("step", "100")]),
    Case::new("vector", "257", &[("start", "1"), ("end", "256")]),
    Case::new("long", "3,20011", &[("axis", "1"), ("start", "5"), ("end", "-5")]),
    Case::new("long_rows", "5,5200", &[("start", "1"), ("step", "2")]),
    Case::new("five_dimensions", "2,3,5,3,4", &[("axis", "2"), ("start", "1"), ("step", "3")]),
    Case::new("forward_only", "7,13,5", &[("axis", "1"), ("start", "4")]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
];
