//! attention and attention_varlen.

use proptest::option::weighted;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use wattn::Array;
use wattn::ops::Arrays;

use super::draw::{broadcast, chance, maybe, one_of, repeated};
use super::plan::{Fill, Plan};
use super::products::fill;

const NORMAL: Fill = Fill::Normal(1.0);

/// Shifts of the queries: small ones, ones that hide everything, and the extremes of the type.
const OFFSETS: &[i32] = &[1, -1, -5, 7, 50, -100, 200, i32::MAX, i32::MIN];

/// The keys that both operations have.
#[derive(Clone, Debug)]
struct Keys {
    causal: Option<bool>,
    offset: Option<i32>,
    window: [Option<u32>; 2],
    softcap: Option<f32>,
    scale: Option<f32>,
    dtype: Option<&'static str>,
    path: Option<&'static str>,
    dropout: Option<f32>,
}

fn keys() -> impl Strategy<Value = Keys> {
    let places =
        (maybe(0.5, &[true, false]), maybe(0.4, OFFSETS), maybe(0.3, &[0u32, 1, 9, u32::MAX]), maybe(0.3, &[0u32, 2, 30, u32::MAX]));
    let values = (maybe(0.3, &[2.5f32, 0.5, 30.0, 0.0]), maybe(0.2, &[1f32, 0.01, -0.5, 0.0]), maybe(0.2, &["f16", "f32"]));
    let rest = (maybe(0.3, &["fused", "composed", "auto"]), maybe(0.3, &[0.1f32, 0.5, 0.9]));
    (places, values, rest).prop_map(|((causal, offset, left, right), (softcap, scale, dtype), (path, dropout))| Keys {
        causal,
        offset,
        window: [left, right],
        softcap,
        scale,
        dtype,
        path,
        dropout,
    })
}

impl Keys {
    fn set(self, plan: &mut Plan, seed: Option<u64>) {
        plan.set_some("causal", self.causal);
        plan.set_some("offset", self.offset);
        plan.set_some("window_left", self.window[0]);
        plan.set_some("window_right", self.window[1]);
        plan.set_some("softcap", self.softcap);
        plan.set_some("scale", self.scale);
        plan.set_some("dtype", self.dtype);
        plan.set_some("path", self.path);
        plan.set_some("dropout_p", self.dropout);
        plan.set_some("seed", seed.filter(|_| self.dropout.is_some()));
    }
}

/// Sizes around the tiles, groups of heads, and values of another width than keys.
#[derive(Clone, Debug)]
struct Heads {
    kv: usize,
    group: usize,
    dim: usize,
    dim_v: usize,
    deviation: f32,
}

fn heads(dims: &'static [usize]) -> impl Strategy<Value = Heads> {
    let dim_v = maybe(0.4, &[1usize, 5, 7, 24, 70]);
    (1..=3usize, one_of(&[1usize, 1, 2, 3]), one_of(dims), dim_v, one_of(&[1f32, 1.0, 3.0]))
        .prop_map(|(kv, group, dim, dim_v, deviation)| Heads { kv, group, dim, dim_v: dim_v.unwrap_or(dim), deviation })
}

/// Any attention: every optional tensor beside every key.
pub fn attention() -> BoxedStrategy<Plan> {
    let lengths = (one_of(&[1usize, 2, 7, 16, 17, 33, 64, 65, 70]), one_of(&[1usize, 3, 8, 31, 64, 65, 97, 130]));
    let masks = (weighted(0.3, broadcast()), weighted(0.4, (broadcast(), chance(0.4))), chance(0.3), chance(0.3), chance(0.4));
    let rest = (chance(0.25), chance(0.85), chance(0.6), any::<u64>());
    (1..=3usize, heads(&[1, 3, 8, 16, 40, 64, 65]), lengths, masks, keys(), rest)
        .prop_map(|(batch, heads, (seq_q, seq_k), (mask, bias, kv_lengths, alibi, keep), mut keys, (weights, upstream, poisoned, seed))| {
            let mut plan = Plan::new("attention", seed);
            let Heads { kv, group, dim, dim_v, deviation } = heads;
            let pairs = [batch, kv * group, seq_q, seq_k];
            plan.tensor("q", &[batch, kv * group, seq_q, dim], Fill::Normal(deviation));
            plan.tensor("k", &[batch, kv, seq_k, dim], NORMAL);
            plan.tensor("v", &[batch, kv, seq_k, dim_v], NORMAL);
            if upstream {
                plan.tensor("d_o", &[batch, kv * group, seq_q, dim_v], NORMAL);
            }
            if let Some(mask) = mask {
                plan.tensor("mask", &mask.of(&pairs), Fill::Keep(0.7));
            }
            if let Some((bias, hiding)) = bias {
                plan.tensor("bias", &bias.of(&pairs), if hiding { Fill::Hiding(0.2) } else { NORMAL });
            }
            if kv_lengths {
                plan.tensor("kv_lengths", &[batch], Fill::Lengths(seq_k));
            }
            // A distance of 2^31 leaves no digit for anything else, in f32 or in the reference.
            if alibi && keys.offset.is_none_or(|offset| offset.unsigned_abs() < 1000) {
                plan.tensor("alibi_slopes", &[kv * group], Fill::Normal(0.3));
            }
            let keep = keep && keys.dropout.is_some();
            if keep {
                plan.tensor("dropout_keep", &pairs, Fill::Keep(0.5));
            }
            if keep || weights {
                // The fused path has neither.
                keys.path = keys.path.filter(|&path| path != "fused");
            }
            plan.set_if("weights", weights);
            keys.set(&mut plan, (!keep).then_some(seed));
            if poisoned {
                plan.poison(poison);
            }
            plan
        })
        .boxed()
}

/// NaN in the keys and values that no query of their group sees, whatever causality and windows say.
fn poison(tensors: &mut Arrays) {
    let (q, k) = (tensors["q"].shape().to_vec(), tensors["k"].shape().to_vec());
    let pairs = [q[0], q[1], q[2], k[2]];
    let shown = |name: &str, shows: fn(f64) -> bool| {
        let array = tensors.get(name)?;
        let values: Vec<bool> = array.to_f64().into_iter().map(shows).collect();
        Some(repeated(array.shape(), &pairs).into_iter().map(|at| values[at]).collect::<Vec<bool>>())
    };
    let (mask, bias) = (shown("mask", |x| x != 0.0), shown("bias", |x| x != f64::NEG_INFINITY));
    let lengths = tensors.get("kv_lengths").map(Array::to_f64);
    let group = q[1] / k[1];
    let mut seen = vec![false; k[0] * k[1] * k[2]];
    for at in 0..pairs.iter().product() {
        let (b, h, j) = (at / pairs[3] / pairs[2] / pairs[1], at / pairs[3] / pairs[2] % pairs[1], at % pairs[3]);
        let within = lengths.as_ref().is_none_or(|lengths| (j as f64) < lengths[b]);
        let visible = within && mask.as_ref().is_none_or(|mask| mask[at]) && bias.as_ref().is_none_or(|bias| bias[at]);
        seen[(b * k[1] + h / group) * k[2] + j] |= visible;
    }
    for name in ["k", "v"] {
        let columns = tensors[name].shape()[3];
        fill(tensors, name, |at| !seen[at / columns]);
    }
}

/// Any packed sequences, empty ones among them.
pub fn attention_varlen() -> BoxedStrategy<Plan> {
    let first = (one_of(&[1usize, 5, 17, 40]), one_of(&[1usize, 6, 20, 70]));
    let others = proptest::collection::vec((one_of(&[0usize, 1, 5, 17, 40]), one_of(&[0usize, 1, 6, 20, 70])), 0..=4);
    (first, others, heads(&[4, 16, 33]), keys(), chance(0.85), any::<u64>())
        .prop_map(|(first, others, heads, keys, upstream, seed)| {
            let mut plan = Plan::new("attention_varlen", seed);
            let Heads { kv, group, dim, dim_v, deviation } = heads;
            let (queries, keys_of): (Vec<usize>, Vec<usize>) = std::iter::once(first).chain(others).unzip();
            let (total_q, total_k) = (queries.iter().sum(), keys_of.iter().sum());
            plan.tensor("q", &[total_q, kv * group, dim], Fill::Normal(deviation));
            plan.tensor("k", &[total_k, kv, dim], NORMAL);
            plan.tensor("v", &[total_k, kv, dim_v], NORMAL);
            if upstream {
                plan.tensor("d_o", &[total_q, kv * group, dim_v], NORMAL);
            }
            for (name, lengths) in [("cu_seqlens_q", queries), ("cu_seqlens_k", keys_of)] {
                let ends = lengths.iter().scan(0, |end, &length| {
                    *end += length as i32;
                    Some(*end)
                });
                plan.list(name, std::iter::once(0).chain(ends).collect());
            }
            keys.set(&mut plan, Some(seed));
            plan
        })
        .boxed()
}
