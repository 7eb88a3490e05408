//! Attention over sequences of different lengths packed one after the other, with no padding, forward and backward.
//!
//! Shapes: q `[total_q, heads_q, dim]`, k `[total_k, heads_kv, dim]`, v `[total_k, heads_kv, dim_v]`. The queries of
//! sequence n are the tokens from `cu_seqlens_q[n]` up to, not including, `cu_seqlens_q[n+1]`; likewise its keys. A query
//! sees keys of its own sequence only. Within a sequence the formulas are those of [`attention`](crate::ops::attention),
//! with i and j counted from the sequence's first query and key and
//!
//! ```text
//! p = i + (keys of the sequence − queries of the sequence) + offset
//! ```
//!
//! so that with the default offset of 0 the last query stands at the last key, for causality and windows alike. With more
//! queries than keys the first queries of a causal sequence see nothing: their o is 0, their lse −∞ and their gradients 0.
//! Sequences may be empty, of queries, of keys or of both.
//!
//! Dropout keeps the pair of packed query token t and packed key token u in query head h when the Philox word of element
//! (h·total_q + t)·total_k + u under `seed` is at least p_drop·2³². These are the elements that `attention` would use for
//! the packed tokens as one batch element, so that a kernel that takes one sequence at a time counts from (h·total_q + first
//! query)·total_k + first key, in rows of total_k.
//!
//! Time: O(heads_q · visible pairs · (dim + dim_v)). When not to use it: sequences of one length are `attention`'s, which
//! also takes masks and bias.
//!
//! Sources: the packed layout and its alignment are those of flash-attention's varlen functions, Dao 2023, arXiv:2307.08691;
//! for the formulas see [`attention`](crate::ops::attention).

mod cases;
mod cpu;
mod gpu;
mod problem;
#[cfg(test)]
mod tests;

pub use gpu::{Attended, Gradients, Inputs, backward, forward};
pub use problem::{Problem, Sequence, Shapes};

use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::ops::attention::{
    AttentionOptions, CAUSAL, DROPOUT_P, DTYPE, PATH, SCALE, SEED, SOFTCAP, WINDOW_LEFT, WINDOW_RIGHT, bytes, flops, pair, tunings,
};
use crate::ops::host::{normal, wrong_shape};
use crate::ops::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
    parse_shape, philox,
};
use crate::{Array, DType, Result, evaluate};

const OP: &str = "attention_varlen";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "attention over sequences packed one after the other: each sees its own keys only",
    shape: "q1/q2/…,H,D (query lengths, also the key lengths; 0 is allowed) or q1/q2/…,k1/k2/…,Hq/Hkv,D/Dv",
    inputs: &[
        Input::new("q", "[Tq,Hq,D]"),
        Input::new("k", "[Tk,Hkv,D]"),
        Input::new("v", "[Tk,Hkv,Dv]"),
        Input::index("cu_seqlens_q", "[N+1]"),
        Input::index("cu_seqlens_k", "[N+1]"),
    ],
    outputs: &[Output::new("o", "[Tq,Hq,Dv]"), Output::new("lse", "[Tq,Hq]").aside()],
    keys: &[
        SCALE,
        CAUSAL,
        Key::new("offset", "0", "moves every query: it stands at key position i + (keys - queries of its sequence) + offset"),
        WINDOW_LEFT,
        WINDOW_RIGHT,
        SOFTCAP,
        DROPOUT_P,
        SEED,
        DTYPE,
        PATH,
    ],
};

/// The operation as the registry lists it.
pub struct AttentionVarlen;

impl Operation for AttentionVarlen {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    /// It has none of its own: it runs attention's.
    fn kernels(&self, _caps: &Caps) -> Vec<AnyVariant> {
        Vec::new()
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        tunings(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let wrong = || wrong_shape(OP, SPEC.shape, shape);
        // Lengths may be 0 and there may be many, so that they are not sizes as `parse_shape` reads them.
        let (first, rest) = shape.split_once(',').ok_or_else(wrong)?;
        let (second, sizes) = match rest.split(',').count() {
            2 => (first, rest),
            3 => rest.split_once(',').ok_or_else(wrong)?,
            _ => return Err(wrong()),
        };
        let (cu_q, cu_k) = (boundaries(first).ok_or_else(wrong)?, boundaries(second).ok_or_else(wrong)?);
        let total = |cu: &[i32]| cu.last().map_or(0, |&end| end as usize);
        let (total_q, total_k) = (total(&cu_q), total(&cu_k));
        let fields = parse_shape(OP, SPEC.shape, &format!("{total_q}/{total_k},{sizes}"))?;
        let [_, heads, dim] = fields.as_slice() else { return Err(wrong()) };
        let (Some([heads_q, heads_kv]), Some([dim, dim_v])) = (pair(heads), pair(dim)) else { return Err(wrong()) };
        let (q, k) = ([total_q, heads_q, dim], [total_k, heads_kv, dim]);
        let (v, o) = ([total_k, heads_kv, dim_v], [total_q, heads_q, dim_v]);
        // Sizes that cannot be run are refused before they are drawn.
        let shapes = Shapes { dtype: DType::F32, q: &q, k: &k, v: &v, cu_seqlens_q: &cu_q, cu_seqlens_k: &cu_k, d_o: None };
        Problem::new(&shapes, &AttentionOptions::from_settings(OP, settings)?)?;
        let mut rng = philox::Rng::new(seed);
        let tensors = [("q", q), ("k", k), ("v", v), ("d_o", o)].map(|(name, shape)| (name.to_string(), normal(&mut rng, &shape)));
        let boundaries = [("cu_seqlens_q", cu_q), ("cu_seqlens_k", cu_k)].map(|(name, cu)| (name.to_string(), Array::i32(&[cu.len()], cu)));
        Ok(tensors.into_iter().chain(boundaries).collect())
    }

    fn prepare(&self, gpu: &Gpu, request: &Request) -> Result<Prepared> {
        gpu::prepare(gpu, request)
    }

    fn apply(&self, call: Call) -> Result<Applied> {
        gpu::apply(call)
    }

    fn reference(&self, request: &Request, precision: Precision) -> Result<References> {
        evaluate!(cpu::run, request, precision)
    }

    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let outputs = problem.total_q * problem.heads_q * (problem.dim_v + 1);
        let flops = flops(problem.pairs(), problem.dim, problem.dim_v, request.wants_gradients());
        Ok(Cost { flops, bytes: bytes(&SPEC, request, problem.dtype, outputs) })
    }
}

/// The running sums of `"17/0/5"`: `[0, 17, 17, 22]`.
fn boundaries(lengths: &str) -> Option<Vec<i32>> {
    let mut sums = vec![0i32];
    for length in lengths.split('/') {
        let length: i32 = length.trim().parse().ok().filter(|&n| n >= 0)?;
        sums.push(sums.last()?.checked_add(length)?);
    }
    Some(sums)
}
