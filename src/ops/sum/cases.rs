//! The named cases: every choice of dimensions, sums from one term to many workgroups' worth.

use crate::ops::Case;
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1", &[]).quick(),
    Case::new("all", "7,13,17", &[]),
    Case::new("all_keepdim", "7,13,17", &[("keepdim", "true")]),
    Case::new("all_large", "3,20011", &[]),
    Case::new("first", "7,13,17", &[("axes", "0")]),
    Case::new("middle", "7,13,17", &[("axes", "1")]).quick(),
    Case::new("last", "7,13,17", &[("axes", "-1")]),
    Case::new("last_keepdim", "7,13,17", &[("axes", "2"), ("keepdim", "true")]),
    Case::new("ends", "7,13,17", &[("axes", "0,2")]).quick(),
    Case::new("ends_keepdim", "7,13,17", &[("axes", "-1,0"), ("keepdim", "true")]),
    Case::new("alternating", "3,5,7,11,2", &[("axes", "1,3")]),
    Case::new("bias_gradient", "2,131,65", &[("axes", "0,1")]),
    Case::new("bias_gradient_tall", "4099,3", &[("axes", "0")]),
    Case::new("bias_gradient_wide", "3,4099", &[("axes", "0")]),
    Case::new("rows_15", "4,15", &[("axes", "1")]),
    Case::new("rows_16", "4,16", &[("axes", "1")]),
    Case::new("rows_17", "4,17", &[("axes", "1")]),
    Case::new("rows_63", "4,63", &[("axes", "1")]),
    Case::new("rows_64", "4,64", &[("axes", "1")]),
    Case::new("rows_65", "4,65", &[("axes", "1")]),
    Case::new("rows_255", "4,255", &[("axes", "1")]),
    Case::new("rows_256", "4,256", &[("axes", "1")]),
    Case::new("rows_257", "4,257", &[("axes", "1")]),
    // Longer than the smallest binding in each half of the first dimension, so that both have to be cut.
    Case::new("middle_of_long_rows", "2,3,5200", &[("axes", "1")]),
    Case::new("ends_of_long_rows", "3,2,5200", &[("axes", "0,2")]),
    Case::new("many_short_rows", "4099,3", &[("axes", "1")]),
    Case::new("dimension_of_one", "17,1,5", &[("axes", "1")]),
    Case::new("cancellation", "9,128", &[("axes", "1")]).edit(|tensors, _| {
        if let Some(Data::F32(x)) = tensors.get_mut("x").map(|t| t.data_mut()) {
            x.chunks_exact_mut(2).for_each(|pair| pair[1] = -pair[0]);
        }
    }),
    Case::new("scalar", "1", &[]).edit(|tensors, _| {
        if let Some(Data::F32(x)) = tensors.get("x").map(|t| t.data().clone()) {
            tensors.insert("x".into(), Array::f32(&[], x));
        }
    }),
    Case::new("forward_only", "7,13,17", &[("axes", "0,1")]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
];
