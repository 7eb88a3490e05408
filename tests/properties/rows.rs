//! softmax, sum, embedding, the normalizations and rotary embedding.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use wattn::ops::Arrays;

use super::draw::{broadcast, chance, dims, maybe, one_of, repeated};
use super::plan::{Fill, Plan};
use super::products::fill;

/// Any rows, with a mask that hides some elements, and what is hidden NaN.
pub fn softmax() -> BoxedStrategy<Plan> {
    let sizes = (dims(4, 4), one_of(&[1usize, 2, 5, 31, 64, 65, 300, 1025]), one_of(&[1f32, 20.0]));
    let keys = (maybe(0.6, &["true", "false"]), maybe(0.5, &["0.3", "-2", "0"]));
    let tensors = (proptest::option::weighted(0.6, (broadcast(), one_of(&[0.6, 0.0, 0.05]))), chance(0.8), chance(0.6), any::<u64>());
    (sizes, keys, tensors)
        .prop_map(|((rows, columns, deviation), (log, scale), (mask, upstream, poisoned, seed))| {
            let mut plan = Plan::new("softmax", seed);
            let shape = [rows.as_slice(), &[columns]].concat();
            plan.tensor("x", &shape, Fill::Normal(deviation));
            if upstream {
                plan.tensor("d_y", &shape, Fill::Normal(1.0));
            }
            if let Some((mask, share)) = mask {
                plan.tensor("mask", &mask.of(&shape), Fill::Keep(share));
                if poisoned {
                    plan.poison(poison);
                }
            }
            plan.set_some("log", log);
            plan.set_some("scale", scale);
            plan
        })
        .boxed()
}

/// NaN in what is hidden.
fn poison(tensors: &mut Arrays) {
    let (mask, shape) = (tensors["mask"].to_f64(), tensors["x"].shape().to_vec());
    let at = repeated(tensors["mask"].shape(), &shape);
    for name in ["x", "d_y"] {
        fill(tensors, name, |n| mask[at[n]] == 0.0);
    }
}

/// Any dimensions of any tensor.
pub fn sum() -> BoxedStrategy<Plan> {
    let axes = proptest::option::weighted(0.8, proptest::collection::vec((chance(0.5), chance(0.3)), 6));
    (dims(8, 6), axes, maybe(0.6, &[true, false]), chance(0.8), any::<u64>())
        .prop_map(|(shape, axes, keepdim, upstream, seed)| {
            let mut plan = Plan::new("sum", seed);
            let summed: Vec<bool> = (0..shape.len()).map(|axis| axes.as_ref().is_none_or(|axes| axes[axis].0)).collect();
            // No axis at all has no way of being written.
            let summed = if summed.contains(&true) { summed } else { vec![true; shape.len()] };
            let kept = |(&dim, &summed): (&usize, &bool)| match (summed, keepdim == Some(true)) {
                (false, _) => Some(dim),
                (true, true) => Some(1),
                (true, false) => None,
            };
            let y: Vec<usize> = shape.iter().zip(&summed).filter_map(kept).collect();
            plan.tensor("x", &shape, Fill::Normal(1.0));
            if upstream {
                plan.tensor("d_y", &y, Fill::Normal(1.0));
            }
            if let Some(axes) = axes.filter(|_| summed.contains(&false)) {
                let named = |axis: usize| if axes[axis].1 { axis as isize - shape.len() as isize } else { axis as isize };
                let named: Vec<String> = (0..shape.len()).filter(|&axis| summed[axis]).map(|axis| named(axis).to_string()).collect();
                plan.set("axes", named.join(","));
            }
            plan.set_some("keepdim", keepdim);
            plan
        })
        .boxed()
}

/// Any ids, some of them padding, with NaN in its gradient.
pub fn embedding() -> BoxedStrategy<Plan> {
    let sizes = (dims(20, 3), one_of(&[1usize, 2, 7, 255, 256, 1000, 70000]), one_of(&[1usize, 3, 17, 64]));
    let drawn = (chance(0.3), proptest::collection::vec(any::<u32>(), 1..100));
    (sizes, drawn, maybe(0.5, &["0", "-1"]), chance(0.8), any::<u64>())
        .prop_map(|((shape, rows, columns), (alike, drawn), padding, upstream, seed)| {
            let mut plan = Plan::new("embedding", seed);
            let most = if alike { rows.min(2) } else { rows };
            let id = |i: usize| (drawn[i % drawn.len()].wrapping_mul(i as u32 / drawn.len() as u32 + 1) as usize % most) as i32;
            plan.indices("ids", &shape, (0..shape.iter().product()).map(id).collect());
            plan.tensor("weight", &[rows, columns], Fill::Normal(1.0));
            if upstream {
                plan.tensor("d_y", &[shape.as_slice(), &[columns]].concat(), Fill::Normal(1.0));
            }
            if padding == Some("0") {
                plan.poison(poison_first);
            }
            plan.set_some("padding_idx", padding);
            plan
        })
        .boxed()
}

/// NaN in the upstream gradient of row 0.
fn poison_first(tensors: &mut Arrays) {
    let (ids, columns) = (tensors["ids"].to_f64(), tensors["weight"].shape()[1]);
    fill(tensors, "d_y", |i| ids[i / columns] == 0.0);
}

/// Any rows, with a spread and a mean, with weight and bias or without.
pub fn norm(op: &'static str) -> BoxedStrategy<Plan> {
    let sizes = (dims(4, 4), one_of(&[1usize, 2, 5, 31, 64, 65, 300, 1025, 2049]), one_of(&[1f32, 100.0, 1e-3]));
    (sizes, maybe(0.5, &["1e-6", "0.5"]), [chance(0.7), chance(0.5), chance(0.8)], any::<u64>())
        .prop_map(move |((rows, columns, deviation), eps, [weight, bias, upstream], seed)| {
            let mut plan = Plan::new(op, seed);
            let shape = [rows.as_slice(), &[columns]].concat();
            plan.tensor("x", &shape, Fill::Normal(deviation));
            for (name, shape, present) in [("weight", &[columns][..], weight), ("bias", &[columns], bias), ("d_y", &shape, upstream)] {
                if present {
                    plan.tensor(name, shape, Fill::Normal(1.0));
                }
            }
            plan.set_some("eps", eps);
            plan
        })
        .boxed()
}

/// Any heads, rotated as a whole or in part, by an offset or at positions of their own.
pub fn rotary_embedding() -> BoxedStrategy<Plan> {
    let sizes = (dims(3, 1), one_of(&[1usize, 2, 8, 9, 17]), one_of(&[1usize, 2, 7, 33]), one_of(&[1usize, 2, 5, 16, 33]), 0..=3usize);
    let keys = (maybe(0.7, &["half", "interleaved"]), chance(0.5), maybe(0.3, &["500000", "1"]), maybe(0.4, &["-5", "100000"]));
    (sizes, keys, proptest::option::weighted(0.4, chance(0.5)), chance(0.8), any::<u64>())
        .prop_map(|((batch, heads, seq, pairs, single), (layout, dim, base, offset), positions, upstream, seed)| {
            let mut plan = Plan::new("rotary_embedding", seed);
            let (batch, dim) = (batch.into_iter().product(), (dim || single > 0).then_some(2 * pairs));
            let shape = [batch, heads, seq, 2 * pairs + single];
            plan.tensor("x", &shape, Fill::Normal(1.0));
            if upstream {
                plan.tensor("d_y", &shape, Fill::Normal(1.0));
            }
            if let Some(own) = positions {
                let shape = if own { vec![batch, seq] } else { vec![seq] };
                plan.tensor("positions", &shape, Fill::Lengths(200_000));
            }
            plan.set_some("layout", layout);
            plan.set_some("dim", dim);
            plan.set_some("base", base);
            plan.set_some("offset", offset.filter(|_| positions.is_none()));
            plan
        })
        .boxed()
}
