//! elementwise, activation and dropout.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::draw::{broadcast, chance, common, dims, maybe, one_of};
use super::plan::{Fill, Plan};

const NORMAL: Fill = Fill::Normal(1.0);

/// Any two tensors that are repeated to one shape.
pub fn elementwise() -> BoxedStrategy<Plan> {
    (dims(7, 6), broadcast(), broadcast(), maybe(0.7, &["add", "mul"]), chance(0.8), any::<u64>())
        .prop_map(|(shape, a, b, kind, upstream, seed)| {
            let mut plan = Plan::new("elementwise", seed);
            let (a, b) = (a.of(&shape), b.of(&shape));
            plan.tensor("a", &a, NORMAL);
            plan.tensor("b", &b, NORMAL);
            if upstream {
                plan.tensor("d_y", &common(&a, &b), NORMAL);
            }
            plan.set_some("kind", kind);
            plan
        })
        .boxed()
}

/// Any function of small and large numbers.
pub fn activation() -> BoxedStrategy<Plan> {
    let kinds = maybe(0.9, &["relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"]);
    (dims(9, 4), kinds, one_of(&[1f32, 0.01, 5.0, 100.0]), chance(0.8), any::<u64>())
        .prop_map(|(shape, kind, deviation, upstream, seed)| {
            let mut plan = Plan::new("activation", seed);
            plan.tensor("x", &shape, Fill::Normal(deviation));
            if upstream {
                plan.tensor("d_y", &shape, NORMAL);
            }
            plan.set_some("kind", kind);
            plan
        })
        .boxed()
}

/// Any probability and seed.
pub fn dropout() -> BoxedStrategy<Plan> {
    let keys = (maybe(0.8, &["0", "0.1", "0.5", "0.97"]), proptest::option::weighted(0.8, any::<u64>()));
    (dims(9, 4), keys, chance(0.8), any::<u64>())
        .prop_map(|(shape, (p, drops), upstream, seed)| {
            let mut plan = Plan::new("dropout", seed);
            plan.tensor("x", &shape, NORMAL);
            if upstream {
                plan.tensor("d_y", &shape, NORMAL);
            }
            plan.set_some("p", p);
            plan.set_some("seed", drops);
            plan
        })
        .boxed()
}
