//! optimizer.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;

use super::draw::{chance, dims, maybe, one_of};
use super::plan::{Fill, Plan};

/// Any kind with any of its options.
pub fn optimizer() -> BoxedStrategy<Plan> {
    let sizes = (dims(7, 4), 1..=4usize, one_of(&[1f32, 1e-3, 1e3]));
    let shared = (maybe(0.8, &["sgd", "adam", "adamw"]), maybe(0.6, &["0.1", "0.01", "0"]), maybe(0.4, &["0.1", "0"]));
    let own = (maybe(0.5, &["0.5", "0"]), maybe(0.5, &["0.9", "0"]), maybe(0.4, &["1e-3"]), maybe(0.5, &[true, false]));
    let sgd = (maybe(0.7, &["0.9", "0.5"]), maybe(0.5, &[true, false]));
    (sizes, shared, own, sgd, maybe(0.5, &["1", "1e-2", "1e6"]), any::<u64>(), chance(0.5))
        .prop_map(|((shape, steps, deviation), (kind, lr, decay), (beta1, beta2, eps, amsgrad), (momentum, nesterov), clip, seed, sgd)| {
            let kind = if sgd { kind.filter(|kind| *kind == "sgd") } else { kind };
            let mut plan = Plan::new("optimizer", seed);
            plan.tensor("p0", &shape, Fill::Normal(1.0));
            for t in 1..=steps {
                plan.tensor(format!("g{t}"), &shape, Fill::Normal(deviation));
            }
            plan.set_some("kind", kind);
            plan.set_some("lr", lr);
            plan.set_some("weight_decay", decay);
            plan.set_some("clip_grad_norm", clip);
            if kind.is_none_or(|kind| kind == "sgd") {
                plan.set_some("momentum", momentum);
                plan.set_some("nesterov", nesterov.filter(|_| momentum.is_some()));
            } else {
                plan.set_some("beta1", beta1);
                plan.set_some("beta2", beta2);
                plan.set_some("eps", eps);
                plan.set_some("amsgrad", amsgrad);
            }
            plan
        })
        .boxed()
}
