//! The named cases: one element to many slices, every reduction.

use crate::Array;
use crate::ops::Case;

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1", &[]).quick(),
    Case::new("primes", "7,13,17", &[]),
    Case::new("primes_sum", "7,13,17", &[("reduction", "sum")]).quick(),
    Case::new("primes_none", "7,13,17", &[("reduction", "none")]).quick(),
    Case::new("elements_255", "255", &[]),
    Case::new("elements_256", "256", &[]),
    Case::new("elements_257", "257", &[]),
    Case::new("elements_4095", "4095", &[("reduction", "sum")]),
    Case::new("elements_4096", "4096", &[]),
    Case::new("elements_4097", "4097", &[]),
    Case::new("slices", "29,1013", &[]),
    Case::new("slices_none", "29,1013", &[("reduction", "none")]),
    // More slices than one workgroup adds up.
    Case::new("slices_of_slices", "257,4097", &[]),
    Case::new("scalar", "1", &[("reduction", "none")]).edit(|tensors, _| {
        for tensor in tensors.values_mut() {
            *tensor = Array::f32(&[], tensor.to_f64().iter().map(|&x| x as f32).collect());
        }
    }),
    Case::new("equal", "3,67", &[]).edit(|tensors, _| {
        let x = tensors["x"].clone();
        tensors.insert("target".into(), x);
    }),
    Case::new("forward_only", "7,33", &[]).edit(|tensors, _| {
        tensors.remove("d_loss");
    }),
];
