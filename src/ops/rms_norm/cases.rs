//! The named cases. Most of the kernels is layer_norm's to test; here is what is different without a mean.

use crate::ops::Case;
use crate::ops::host::normal;
use crate::ops::layer_norm::cases::{change, without};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1", &[]).quick(),
    Case::new("primes", "7,5,61", &[]).quick(),
    Case::new("vector", "97", &[]),
    Case::new("columns_64", "2,3,64", &[]),
    Case::new("columns_65", "2,3,65", &[]),
    Case::new("columns_1025", "3,1025", &[]).quick(),
    Case::new("columns_2049", "3,2049", &[]),
    Case::new("columns_16384", "2,16384", &[]),
    Case::new("one_column", "67,1", &[]),
    Case::new("many_short_rows", "4099,3", &[]),
    Case::new("slices", "1031,67", &[]),
    Case::new("bias", "67,131", &[]).edit(|tensors, rng| drop(tensors.insert("bias".into(), normal(rng, &[131])))),
    Case::new("bias_alone", "9,131", &[]).edit(|tensors, rng| {
        tensors.insert("bias".into(), normal(rng, &[131]));
        without(tensors, &["weight"]);
    }),
    Case::new("plain", "9,131", &[]).edit(|tensors, _| without(tensors, &["weight"])),
    Case::new("eps", "9,131", &[("eps", "0.5")]),
    Case::new("eps_zero", "9,131", &[("eps", "0")]),
    Case::new("large_mean", "9,1031", &[]).edit(|tensors, _| change(tensors, |_, x| 1e4 + x)),
    Case::new("zeros", "9,131", &[]).edit(|tensors, _| change(tensors, |i, x| if i / 131 == 3 { 0.0 } else { x })),
    Case::new("tiny_values", "9,131", &[]).edit(|tensors, _| change(tensors, |_, x| 1e-4 * x)),
    Case::new("huge_values", "9,131", &[]).edit(|tensors, _| change(tensors, |_, x| 1e15 * x)),
    Case::new("rows_of_all_sizes", "9,131", &[]).edit(|tensors, _| change(tensors, |i, x| 10f32.powi((i / 131 % 3) as i32 - 1) * x)),
    Case::new("forward_only", "7,33", &[]).edit(|tensors, _| without(tensors, &["d_y"])),
];
