//! The named cases: every function, near zero, far from it, and where its formula changes.

use crate::Data;
use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1", &[]).quick(),
    Case::new("relu", "7,13,17", &[]),
    Case::new("gelu", "7,13,17", &[("kind", "gelu")]).quick(),
    Case::new("gelu_tanh", "7,13,17", &[("kind", "gelu_tanh")]),
    Case::new("silu", "7,13,17", &[("kind", "silu")]).quick(),
    Case::new("tanh", "7,13,17", &[("kind", "tanh")]),
    Case::new("sigmoid", "7,13,17", &[("kind", "sigmoid")]),
    Case::new("elements_255", "255", &[("kind", "silu")]),
    Case::new("elements_256", "256", &[("kind", "tanh")]),
    Case::new("elements_257", "257", &[("kind", "sigmoid")]),
    Case::new("long", "3,20011", &[("kind", "gelu")]),
    Case::new("gelu_far", "41,7", &[("kind", "gelu")]).edit(far),
    Case::new("gelu_tanh_far", "41,7", &[("kind", "gelu_tanh")]).edit(far),
    Case::new("silu_far", "41,7", &[("kind", "silu")]).edit(far),
    Case::new("tanh_far", "41,7", &[("kind", "tanh")]).edit(far),
    Case::new("sigmoid_far", "41,7", &[("kind", "sigmoid")]).edit(far),
    Case::new("gelu_grid", "1601", &[("kind", "gelu")]).edit(grid),
    Case::new("gelu_tanh_grid", "1601", &[("kind", "gelu_tanh")]).edit(grid),
    Case::new("silu_grid", "1601", &[("kind", "silu")]).edit(grid),
    Case::new("tanh_grid", "1601", &[("kind", "tanh")]).edit(grid),
    Case::new("sigmoid_grid", "1601", &[("kind", "sigmoid")]).edit(grid),
    Case::new("gelu_small", "67", &[("kind", "gelu")]).edit(|tensors, _| change(tensors, |_, x| x * 1e-6)),
    Case::new("tanh_small", "67", &[("kind", "tanh")]).edit(|tensors, _| change(tensors, |_, x| x * 1e-6)),
    Case::new("gelu_huge", "75,7", &[("kind", "gelu")]).edit(huge),
    Case::new("gelu_tanh_huge", "75,7", &[("kind", "gelu_tanh")]).edit(huge),
    Case::new("silu_huge", "75,7", &[("kind", "silu")]).edit(huge),
    Case::new("forward_only", "7,33", &[("kind", "gelu")]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
];

fn change(tensors: &mut Arrays, f: impl Fn(usize, f32) -> f32) {
    if let Some(Data::F32(values)) = tensors.get_mut("x").map(|t| t.data_mut()) {
        values.iter_mut().enumerate().for_each(|(i, x)| *x = f(i, *x));
    }
}

/// Rows from a thousandth to 10: each has a budget of its own.
fn far(tensors: &mut Arrays, _: &mut Rng) {
    change(tensors, |i, x| x * 10f32.powf((i / 7) as f32 / 10.0 - 3.0));
}

/// Rows up to 10^37. No differences can be taken over such a range: tests/ops has the gradients.
fn huge(tensors: &mut Arrays, _: &mut Rng) {
    change(tensors, |i, x| x * 10f32.powf((i / 7) as f32 / 2.0));
    tensors.remove("d_y");
}

/// From -10 to 10, where every branch is taken; not at 0, so that a grid for differences has no kink to step over.
fn grid(tensors: &mut Arrays, _: &mut Rng) {
    change(tensors, |i, _| (i as f32 - 800.0) / 80.0 + 1e-3);
}
