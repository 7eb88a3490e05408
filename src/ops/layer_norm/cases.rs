//! The named cases: rows from one element to more than are held, as many rows as make several slices, with and without weight and bias,
//! and rows whose mean or spread is extreme.

use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1", &[]).quick(),
    Case::new("primes", "7,5,61", &[]).quick(),
    Case::new("vector", "97", &[]),
    Case::new("columns_63", "2,3,63", &[]),
    Case::new("columns_64", "2,3,64", &[]),
    Case::new("columns_65", "2,3,65", &[]),
    Case::new("columns_1023", "3,1023", &[]),
    Case::new("columns_1024", "3,1024", &[]),
    Case::new("columns_1025", "3,1025", &[]).quick(),
    Case::new("columns_2049", "3,2049", &[]),
    Case::new("columns_16384", "2,16384", &[]),
    Case::new("one_column", "67,1", &[]),
    Case::new("many_short_rows", "4099,3", &[]),
    Case::new("one_slice", "64,33", &[]),
    Case::new("two_slices", "65,31", &[]),
    Case::new("slices", "1031,67", &[]),
    Case::new("no_weight", "9,131", &[]).edit(|tensors, _| without(tensors, &["weight"])),
    Case::new("no_bias", "9,131", &[]).edit(|tensors, _| without(tensors, &["bias"])),
    Case::new("plain", "9,131", &[]).edit(|tensors, _| without(tensors, &["weight", "bias"])).quick(),
    Case::new("eps", "9,131", &[("eps", "0.5")]),
    Case::new("eps_zero", "9,131", &[("eps", "0")]),
    Case::new("large_mean", "9,1031", &[]).edit(|tensors, _| change(tensors, |_, x| 1e4 + x)),
    // A step of central differences would be as large as the spread.
    Case::new("large_mean_small_spread", "9,1031", &[]).edit(|tensors, _| {
        change(tensors, |_, x| 1e4 + 0.05 * x);
        without(tensors, &["d_y"]);
    }),
    Case::new("first_element_apart", "9,131", &[]).edit(|tensors, _| change(tensors, |i, x| if i % 131 == 0 { 1e4 } else { x })),
    Case::new("equal_elements", "9,131", &[]).edit(|tensors, _| change(tensors, |i, _| (i / 131) as f32 - 2.3)),
    Case::new("tiny_values", "9,131", &[]).edit(|tensors, _| change(tensors, |_, x| 1e-4 * x)),
    Case::new("huge_values", "9,131", &[]).edit(|tensors, _| change(tensors, |_, x| 1e15 * x)),
    Case::new("rows_of_all_sizes", "9,131", &[]).edit(|tensors, _| change(tensors, |i, x| 10f32.powi((i / 131 % 3) as i32 - 1) * x)),
    Case::new("forward_only", "7,33", &[]).edit(|tensors, _| without(tensors, &["d_y"])),
];

/// Changes x, element by element.
pub(crate) fn change(tensors: &mut Arrays, f: impl Fn(usize, f32) -> f32) {
    if let Some(Data::F32(values)) = tensors.get_mut("x").map(Array::data_mut) {
        values.iter_mut().enumerate().for_each(|(i, x)| *x = f(i, *x));
    }
}

/// Leaves out tensors.
pub(crate) fn without(tensors: &mut Arrays, names: &[&str]) {
    names.iter().for_each(|name| drop(tensors.remove(*name)));
}
