//! The losses.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use wattn::ops::Arrays;

use super::draw::{broadcast, chance, dims, maybe, one_of};
use super::plan::{Fill, Plan};
use super::products::fill;

const REDUCTIONS: &[&str] = &["sum", "none", "mean"];

/// The shape of a loss.
fn reduced<'a>(reduction: Option<&str>, shape: &'a [usize]) -> &'a [usize] {
    if reduction == Some("none") { shape } else { &[] }
}

/// Any rows, targets that are classes or ignored, and the logits of what is ignored NaN.
pub fn cross_entropy() -> BoxedStrategy<Plan> {
    let sizes = (one_of(&[1usize, 2, 7, 65, 300]), one_of(&[1usize, 2, 5, 63, 64, 65, 300, 1025, 9000]), one_of(&[1f32, 30.0]));
    let keys = (maybe(0.7, REDUCTIONS), maybe(0.4, &["0.1", "0", "1"]), maybe(0.3, &["-1", "0", "-100"]));
    let tensors = (chance(0.4), chance(0.8), chance(0.5), proptest::collection::vec(any::<u32>(), 300), any::<u64>());
    (sizes, keys, tensors)
        .prop_map(|((rows, classes, deviation), (reduction, smoothing, ignore), (weight, upstream, poisoned, drawn, seed))| {
            let mut plan = Plan::new("cross_entropy", seed);
            plan.tensor("logits", &[rows, classes], Fill::Normal(deviation));
            let ignored: i32 = ignore.unwrap_or("-100").parse().unwrap();
            // The first row counts, unless its class is the one that is ignored.
            let target = |n: usize| if n > 0 && drawn[n] % 4 == 0 { ignored } else { (drawn[n] / 4) as i32 % classes as i32 };
            plan.list("target", (0..rows).map(target).collect());
            if weight {
                plan.tensor("weight", &[classes], Fill::Uniform);
            }
            if upstream {
                plan.tensor("d_loss", reduced(reduction, &[rows]), Fill::Normal(1.0));
            }
            if poisoned && ignored < 0 {
                plan.poison(poison);
            }
            plan.set_some("reduction", reduction);
            plan.set_some("label_smoothing", smoothing);
            plan.set_some("ignore_index", ignore);
            plan
        })
        .boxed()
}

/// NaN in the rows that are ignored: whose target is negative.
fn poison(tensors: &mut Arrays) {
    let (targets, classes) = (tensors["target"].to_f64(), tensors["logits"].shape()[1]);
    fill(tensors, "logits", |i| targets[i / classes] < 0.0);
}

/// Any shape.
pub fn mse() -> BoxedStrategy<Plan> {
    (dims(9, 4), one_of(&[1usize, 3, 300, 5000]), maybe(0.7, REDUCTIONS), chance(0.8), any::<u64>())
        .prop_map(|(rows, columns, reduction, upstream, seed)| {
            let mut plan = Plan::new("mse", seed);
            let shape = [rows.as_slice(), &[columns]].concat();
            plan.tensor("x", &shape, Fill::Normal(1.0));
            plan.tensor("target", &shape, Fill::Normal(1.0));
            if upstream {
                plan.tensor("d_loss", reduced(reduction, &shape), Fill::Normal(1.0));
            }
            plan.set_some("reduction", reduction);
            plan
        })
        .boxed()
}

/// Any shape, with weights that are broadcast in any way.
pub fn binary_cross_entropy() -> BoxedStrategy<Plan> {
    let sizes = (dims(5, 5), one_of(&[1usize, 3, 65, 300]), one_of(&[1f32, 30.0]));
    let weights = (proptest::option::of(broadcast()), proptest::option::of(broadcast()));
    (sizes, weights, maybe(0.7, REDUCTIONS), chance(0.8), any::<u64>())
        .prop_map(|((rows, columns, deviation), (weight, pos_weight), reduction, upstream, seed)| {
            let mut plan = Plan::new("binary_cross_entropy", seed);
            let shape = [rows.as_slice(), &[columns]].concat();
            plan.tensor("logits", &shape, Fill::Normal(deviation));
            plan.tensor("target", &shape, Fill::Uniform);
            for (name, weight) in [("weight", weight), ("pos_weight", pos_weight)] {
                if let Some(weight) = weight {
                    plan.tensor(name, &weight.of(&shape), Fill::Uniform);
                }
            }
            if upstream {
                plan.tensor("d_loss", reduced(reduction, &shape), Fill::Normal(1.0));
            }
            plan.set_some("reduction", reduction);
            plan
        })
        .boxed()
}
