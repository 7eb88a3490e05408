//! The named cases: orders of up to seven dimensions, sizes around a workgroup and a tile.

use crate::ops::Case;
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1", &[]).quick(),
    Case::new("matrix", "67,129", &[]).quick(),
    Case::new("row", "1,257", &[]),
    Case::new("column", "257,1", &[]),
    Case::new("vector", "97", &[]),
    Case::new("same_order", "3,5,7", &[("axes", "0,1,2")]),
    Case::new("heads", "2,65,3,16", &[("axes", "0,2,1,3")]).quick(),
    Case::new("last_first", "5,7,11", &[("axes", "-1,0,1")]),
    Case::new("first_last", "5,7,11", &[("axes", "1,2,0")]),
    Case::new("middle", "5,7,11,3", &[("axes", "0,2,1,3")]),
    Case::new("four_turned_around", "3,5,7,2", &[]),
    Case::new("five_turned_around", "3,2,5,2,4", &[]),
    Case::new("six_mixed", "2,3,2,5,3,2", &[("axes", "4,1,5,0,3,2")]),
    Case::new("seven_mixed", "2,3,2,2,3,2,3", &[("axes", "5,3,1,6,0,2,4")]),
    Case::new("ones_between", "3,1,5,1,7", &[("axes", "4,1,0,3,2")]),
    Case::new("square_64", "64,64", &[]),
    Case::new("square_255", "255,255", &[]),
    Case::new("tile_less_one", "31,32", &[]),
    Case::new("tile_and_one", "33,97", &[]),
    Case::new("two_dimensions_of_matrices", "2,3,33,65", &[("axes", "1,0,3,2")]).quick(),
    Case::new("columns_apart", "5,32,67", &[("axes", "2,0,1")]),
    Case::new("matrices_between", "33,5,3,17", &[("axes", "1,3,2,0")]),
    Case::new("long", "3,20011", &[]),
    Case::new("tall", "4099,3", &[]),
    Case::new("scalar", "1", &[]).edit(|tensors, _| {
        for array in tensors.values_mut() {
            if let Data::F32(values) = array.data().clone() {
                *array = Array::f32(&[], values);
            }
        }
    }),
    Case::new("forward_only", "7,13,17", &[("axes", "2,0,1")]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
];
