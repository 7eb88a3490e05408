//! Linear-chain CRFs.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use wattn::Data;
use wattn::ops::Arrays;

use super::draw::{chance, maybe, one_of};
use super::plan::{Fill, Plan};
use super::products::fill;

/// Any chain, with lengths or without, and what is past them NaN.
pub fn crf() -> BoxedStrategy<Plan> {
    let sizes = (one_of(&[1usize, 2, 3, 7, 66]), one_of(&[1usize, 2, 3, 9, 33, 200]), one_of(&[1usize, 2, 3, 5, 12, 31, 64, 65, 130]));
    let keys = maybe(0.6, &["mean", "token_mean", "sum"]);
    let tensors = (chance(0.5), chance(0.6), chance(0.8), one_of(&[1f32, 30.0]), any::<u64>());
    (sizes, keys, tensors)
        .prop_map(|((batch, time, tags), reduction, (lengths, poisoned, upstream, deviation, seed))| {
            // A reference of f64 takes its time.
            let time = if batch * time * tags * tags > 1 << 20 { 3 } else { time };
            let mut plan = Plan::new("crf", seed);
            plan.tensor("emissions", &[batch, time, tags], Fill::Normal(deviation));
            plan.tensor("transitions", &[tags, tags], Fill::Normal(1.0));
            plan.tensor("start", &[tags], Fill::Normal(1.0));
            plan.tensor("end", &[tags], Fill::Normal(1.0));
            plan.tensor("tags", &[batch, time], Fill::Lengths(tags - 1));
            if upstream {
                plan.tensor("d_loss", &[], Fill::Normal(1.0));
            }
            if lengths {
                plan.tensor("lengths", &[batch], Fill::Lengths(time));
            }
            plan.poison(if lengths && poisoned { poison } else { on_grid });
            plan.set_some("reduction", reduction);
            plan
        })
        .boxed()
}

/// Scores that f32 adds and compares exactly, as those that `wattn run` draws: the best path is then the same in every arithmetic.
fn on_grid(tensors: &mut Arrays) {
    for name in ["emissions", "transitions", "start", "end"] {
        if let Some(Data::F32(values)) = tensors.get_mut(name).map(|array| array.data_mut()) {
            values.iter_mut().for_each(|x| *x = (*x * 1024.0).round() / 1024.0);
        }
    }
}

/// The same, and NaN past each sequence's length.
fn poison(tensors: &mut Arrays) {
    on_grid(tensors);
    let (lengths, shape) = (tensors["lengths"].to_f64(), tensors["emissions"].shape().to_vec());
    fill(tensors, "emissions", |at| {
        let row = at / shape[2];
        (row % shape[1]) as f64 >= lengths[row / shape[1]]
    });
}
