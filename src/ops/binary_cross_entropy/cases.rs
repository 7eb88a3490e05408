//! The named cases: one element to many slices, every reduction, and weights of every shape.

use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1", &[]).quick(),
    Case::new("primes", "7,13,17", &[]),
    Case::new("sum", "7,13,17", &[("reduction", "sum")]).quick(),
    Case::new("none", "7,13,17", &[("reduction", "none")]),
    Case::new("elements_4095", "4095", &[]),
    Case::new("elements_4096", "4096", &[("reduction", "sum")]),
    Case::new("elements_4097", "4097", &[("reduction", "none")]),
    Case::new("slices", "29,1013", &[]),
    Case::new("certain_targets", "5,67", &[]).edit(|tensors, _| change(tensors, "target", |t| t.round())),
    Case::new("huge_logits", "5,67", &[]).edit(|tensors, _| change(tensors, "logits", |x| x * 1000.0)),
    Case::new("huge_logits_certain_targets", "5,67", &[("reduction", "none")]).edit(|tensors, _| {
        change(tensors, "logits", |x| x * 1000.0);
        change(tensors, "target", |t| t.round());
    }),
    Case::new("tiny_losses", "5,67", &[("reduction", "none")]).edit(|tensors, _| {
        change(tensors, "logits", |x| x.abs() + 5.0);
        change(tensors, "target", |_| 1.0);
    }),
    Case::new("weight", "3,7,29", &[]).edit(|tensors, rng| weight(tensors, rng, "weight", &[3, 7, 29])),
    Case::new("weight_of_rows", "3,7,29", &[("reduction", "none")]).edit(|tensors, rng| weight(tensors, rng, "weight", &[7, 1])),
    Case::new("pos_weight", "3,7,29", &[("reduction", "sum")]).edit(|tensors, rng| weight(tensors, rng, "pos_weight", &[29])),
    Case::new("both_weights", "3,7,29", &[]).edit(both_weights).quick(),
    Case::new("both_weights_none", "3,7,29", &[("reduction", "none")]).edit(both_weights),
    Case::new("one_weight", "3,29", &[]).edit(|tensors, rng| weight(tensors, rng, "weight", &[])),
    // Weights over more dimensions than a kernel knows, and more elements than a slice.
    Case::new("weight_alternates", "3,5,2,7,3,11", &[]).edit(|tensors, rng| {
        weight(tensors, rng, "weight", &[3, 1, 2, 1, 3, 1]);
        weight(tensors, rng, "pos_weight", &[5, 1, 7, 1, 11]);
    }),
    Case::new("forward_only", "7,33", &[]).edit(|tensors, _| {
        tensors.remove("d_loss");
    }),
];

fn change(tensors: &mut Arrays, name: &str, f: impl Fn(f32) -> f32) {
    if let Some(Data::F32(values)) = tensors.get_mut(name).map(|t| t.data_mut()) {
        values.iter_mut().for_each(|x| *x = f(*x));
    }
}

/// Positive weights of this shape.
fn weight(tensors: &mut Arrays, rng: &mut Rng, name: &str, shape: &[usize]) {
    let values = (0..shape.iter().product()).map(|_| 0.2 + 3.0 * rng.uniform() as f32).collect();
    tensors.insert(name.into(), Array::f32(shape, values));
}

fn both_weights(tensors: &mut Arrays, rng: &mut Rng) {
    weight(tensors, rng, "weight", &[3, 1, 29]);
    weight(tensors, rng, "pos_weight", &[7, 1]);
}
