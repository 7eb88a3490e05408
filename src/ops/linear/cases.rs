//! The named cases. The tiles' edges are matmul's to test; here are the layouts of x, with and without a bias.

use crate::ops::Case;

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1,1", &[]).quick(),
    Case::new("vector", "17,33", &[]),
    Case::new("primes", "5,6,37,29", &[]).quick(),
    Case::new("one_row", "1,67,129", &[]),
    Case::new("one_output", "129,67,1", &[]),
    Case::new("one_input", "67,1,33", &[]),
    Case::new("tile_64", "64,64,64", &[]),
    Case::new("tile_64_mixed", "65,63,64", &[]),
    Case::new("three_ragged_tiles", "131,129,130", &[]),
    Case::new("inputs_4096", "3,4096,5", &[]),
    Case::new("many_rows", "2,1031,7,5", &[]),
    Case::new("no_bias", "5,6,37,29", &[]).edit(|tensors, _| {
        tensors.remove("bias");
    }),
    Case::new("forward_only", "5,6,37,29", &[]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
];
