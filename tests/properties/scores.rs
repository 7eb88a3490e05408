//! Attention whose weights are an output: additive_attention, luong_attention and multi_head_attention.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use wattn::ops::Arrays;

use super::draw::{chance, maybe, one_of};
use super::plan::{Fill, Plan};
use super::products::fill;

const NORMAL: Fill = Fill::Normal(1.0);

/// Queries, keys and values, which upstream gradients there are, and which keys are visible.
#[derive(Clone, Debug)]
struct Sequences {
    batch: usize,
    queries: usize,
    keys: usize,
    dim: usize,
    dim_v: usize,
    upstream: [bool; 2],
    /// The share of the keys that are visible.
    mask: Option<f64>,
    poisoned: bool,
    seed: u64,
}

fn sequences() -> impl Strategy<Value = Sequences> {
    let sizes = (1..=3usize, one_of(&[1usize, 2, 3, 7, 16, 17, 33]), one_of(&[1usize, 5, 16, 31, 64, 70, 130]));
    let dims = (one_of(&[1usize, 4, 7, 16, 33, 64]), one_of(&[1usize, 4, 9, 32, 65]));
    let mask = proptest::option::weighted(0.6, one_of(&[0.7, 0.1, 0.0, 1.0]));
    (sizes, dims, (chance(0.75), chance(0.75)), mask, chance(0.6), any::<u64>()).prop_map(
        |((batch, queries, keys), (dim, dim_v), upstream, mask, poisoned, seed)| Sequences {
            batch,
            queries,
            keys,
            dim,
            dim_v,
            upstream: upstream.into(),
            mask,
            poisoned,
            seed,
        },
    )
}

impl Sequences {
    /// The tensors that all have, under the names of additive and Luong attention, and queries of `dim_q` elements.
    fn plan(&self, op: &'static str, dim_q: usize) -> Plan {
        let mut plan = Plan::new(op, self.seed);
        let Sequences { batch, queries, keys, dim, dim_v, .. } = *self;
        plan.tensor("query", &[batch, queries, dim_q], NORMAL);
        plan.tensor("keys", &[batch, keys, dim], NORMAL);
        plan.tensor("values", &[batch, keys, dim_v], NORMAL);
        if self.upstream[0] {
            plan.tensor("d_context", &[batch, queries, dim_v], NORMAL);
        }
        if self.upstream[1] {
            plan.tensor("d_weights", &[batch, queries, keys], NORMAL);
        }
        if let Some(share) = self.mask {
            plan.tensor("key_mask", &[batch, keys], Fill::Keep(share));
            if self.poisoned {
                plan.poison(poison);
            }
        }
        plan
    }
}

/// NaN in masked keys and values.
fn poison(tensors: &mut Arrays) {
    plant(tensors, "key_mask", ["keys", "values"]);
}

fn plant(tensors: &mut Arrays, mask: &str, names: [&str; 2]) {
    let keep = tensors[mask].to_f64();
    for name in names {
        let columns = tensors[name].shape()[2];
        fill(tensors, name, |at| keep[at / columns] == 0.0);
    }
}

/// Weights such that arguments of tanh are of this order, whatever the sizes.
fn weight(columns: usize, order: f32) -> Fill {
    Fill::Normal(order / (columns as f32).sqrt())
}

/// Any queries and keys under any weights.
pub fn additive_attention() -> BoxedStrategy<Plan> {
    let rest = (one_of(&[1usize, 3, 12, 40]), one_of(&[1usize, 2, 9, 32, 33, 64, 65, 100]), one_of(&[0.5f32, 0.01, 10.0]));
    (sequences(), rest)
        .prop_map(|(sequences, (dim_q, features, order))| {
            let mut plan = sequences.plan("additive_attention", dim_q);
            plan.tensor("wq", &[features, dim_q], weight(dim_q, order));
            plan.tensor("wk", &[features, sequences.dim], weight(sequences.dim, order));
            plan.tensor("b", &[features], Fill::Normal(order));
            plan.tensor("v", &[features], NORMAL);
            plan
        })
        .boxed()
}

/// Any score of any queries and keys.
pub fn luong_attention() -> BoxedStrategy<Plan> {
    let rest = (maybe(0.8, &["dot", "general", "concat", "cosine"]), one_of(&[1usize, 3, 12, 40]), one_of(&[1usize, 9, 33, 64, 65]));
    (sequences(), rest, one_of(&[1f32, 0.01, 10.0]))
        .prop_map(|(sequences, (score, dim_q, features), order)| {
            let any = matches!(score, Some("general" | "concat"));
            let dim_q = if any { dim_q } else { sequences.dim };
            let mut plan = sequences.plan("luong_attention", dim_q);
            plan.set_some("score", score);
            if score == Some("general") {
                plan.tensor("w", &[dim_q, sequences.dim], weight(dim_q * sequences.dim, order));
            }
            if score == Some("concat") {
                plan.tensor("w", &[features, dim_q + sequences.dim], weight(dim_q + sequences.dim, order));
                plan.tensor("v", &[features], NORMAL);
            }
            plan
        })
        .boxed()
}

/// Any heads, with probabilities and without.
pub fn multi_head_attention() -> BoxedStrategy<Plan> {
    let options = (maybe(0.8, &[1usize, 2, 3, 8]), maybe(0.6, &["true", "false"]), one_of(&[1usize, 4, 7, 16]), chance(0.7), chance(0.7));
    (sequences(), options, one_of(&[1f32, 3.0]))
        .prop_map(|(sequences, (heads, probs, dim, in_bias, out_bias), order)| {
            let mut plan = Plan::new("multi_head_attention", sequences.seed);
            let Sequences { batch, queries, keys, upstream, mask, poisoned, .. } = sequences;
            let embed = heads.unwrap_or(1) * dim;
            plan.tensor("query", &[batch, queries, embed], NORMAL);
            plan.tensor("key", &[batch, keys, embed], NORMAL);
            plan.tensor("value", &[batch, keys, embed], NORMAL);
            plan.tensor("in_proj_weight", &[3 * embed, embed], weight(embed, order));
            plan.tensor("out_proj_weight", &[embed, embed], weight(embed, 1.0));
            if in_bias {
                plan.tensor("in_proj_bias", &[3 * embed], NORMAL);
            }
            if out_bias {
                plan.tensor("out_proj_bias", &[embed], NORMAL);
            }
            if upstream[0] {
                plan.tensor("d_o", &[batch, queries, embed], NORMAL);
            }
            if upstream[1] && probs != Some("false") {
                plan.tensor("d_probs", &[batch, heads.unwrap_or(1), queries, keys], NORMAL);
            }
            if let Some(share) = mask {
                plan.tensor("key_keep", &[batch, keys], Fill::Keep(share));
                if poisoned {
                    plan.poison(|tensors| plant(tensors, "key_keep", ["key", "value"]));
                }
            }
            plan.set_some("heads", heads);
            plan.set_some("probs", probs);
            plan
        })
        .boxed()
}
