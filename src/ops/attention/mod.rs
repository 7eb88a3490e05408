//! Scaled dot-product attention with masks, bias, softcap, ALiBi, windows, grouped heads and dropout, forward and backward.
//!
//! Shapes: q `[batch, heads_q, seq_q, dim]`, k `[batch, heads_kv, seq_k, dim]`, v `[batch, heads_kv, seq_k, dim_v]`. Query
//! head h reads key and value head h / (heads_q / heads_kv). For each batch element and head, query i stands at key position
//! p = i + offset:
//!
//! ```text
//! S_ij  = scale · q_i·k_j                                        scale is 1/√dim by default
//! S_ij  = c · tanh(S_ij / c)                                     with softcap c
//! S_ij += bias_ij − slope_h · |p − j|                            with bias, with ALiBi
//! visible(i,j): j <= p when causal;  p − window_left <= j <= p + window_right;  j < kv_lengths[b];  mask_ij ≠ 0;  bias_ij ≠ −∞
//! m_i   = max S_ij,  l_i = Σ exp(S_ij − m_i)                     over the visible j
//! P_ij  = exp(S_ij − m_i) / l_i                                  0 when hidden
//! P̃_ij  = P_ij · keep_ij / (1 − p_drop)                          with dropout
//! o_i   = Σ_j P̃_ij v_j
//! lse_i = m_i + log l_i                                          of the logits as they are before dropout
//! ```
//!
//! A row with nothing visible has o = 0, lse = −∞ and gradients of 0. What a hidden pair holds, NaN and infinities included,
//! reaches nothing. A NaN in the bias is visible and does what NaN does. The output `weights` is P̃: what o was made with.
//!
//! Dropout keeps pair (b, h, i, j) when the Philox word of element ((b·heads_q + h)·seq_q + i)·seq_k + j under `seed` is at
//! least p_drop·2³² ([`philox::element`]), or where `dropout_keep` says so.
//!
//! Backward, for the upstream gradient dO; no gradient flows through lse and weights:
//!
//! ```text
//! dV  = P̃ᵀ dO        dP̃ = dO Vᵀ        dP = dP̃ · keep / (1 − p_drop)
//! delta_i = Σ_j P_ij dP_ij              dS = P ∘ (dP − delta)
//! d_bias = dS, summed to bias's own shape            d_slope_h = −Σ dS_ij |p − j|
//! dS' = dS · (1 − tanh²)  with softcap               dQ = scale · dS' K        dK = scale · dS'ᵀ Q, summed over the group's heads
//! ```
//!
//! With `dtype=f16`, q, k, v and dO are rounded to f16; everything else is computed as with f32.
//!
//! To decode a sequence a few tokens at a time, [`KvCache`] keeps the keys and values of those before on the device.
//!
//! Time: O(batch · heads_q · visible pairs · (dim + dim_v)). When not to use it: for sequences of different lengths that
//! would be padded, [`attention_varlen`](crate::ops::attention_varlen) does no work for the padding.
//!
//! Sources: Vaswani et al. 2017, arXiv:1706.03762; multi-query Shazeer 2019, arXiv:1911.02150; grouped Ainslie et al. 2023,
//! arXiv:2305.13245; window Beltagy et al. 2020, arXiv:2004.05150; ALiBi Press et al. 2021, arXiv:2108.12409; softcap Gemma
//! Team 2024, arXiv:2408.00118; the backward with delta Dao et al. 2022, arXiv:2205.14135.

pub(crate) mod blocks;
mod cache;
mod cases;
pub(crate) mod composed;
mod copy;
pub(crate) mod cpu;
pub(crate) mod fused;
mod gpu;
mod kernels;
mod options;
mod problem;
#[cfg(test)]
mod tests;

pub use cache::{CacheOptions, CacheShape, KvCache};
pub use gpu::{Attended, Gradients, Inputs, backward, forward};
pub use options::{AttentionOptions, Path};
pub use problem::{Broadcast, Problem, Shapes};

pub(crate) use options::flops;
pub(crate) use problem::{check_float, check_sizes};

use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::ops::host::{normal, wrong_shape};
use crate::ops::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
    matmul, parse_shape, philox, softmax::Rows,
};
use crate::{Array, Result, evaluate};

const OP: &str = "attention";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "o = dropout(softmax(scale·q·kᵀ, softcapped, + bias − alibi, over the visible keys)) v; lse = log-sum-exp of the logits",
    shape: "B,H,L,D or B,Hq/Hkv,Lq/Lk,D/Dv",
    inputs: &[
        Input::new("q", "[B,Hq,Lq,D]"),
        Input::new("k", "[B,Hkv,Lk,D]"),
        Input::new("v", "[B,Hkv,Lk,Dv]"),
        Input::mask("mask", "broadcastable to [B,Hq,Lq,Lk]"),
        Input::new("bias", "broadcastable to [B,Hq,Lq,Lk]").optional(),
        Input::index("kv_lengths", "[B]").optional(),
        Input::new("alibi_slopes", "[Hq]").optional(),
        Input::mask("dropout_keep", "[B,Hq,Lq,Lk]"),
    ],
    outputs: &[
        Output::new("o", "[B,Hq,Lq,Dv]"),
        Output::new("lse", "[B,Hq,Lq]").aside(),
        Output::new("weights", "[B,Hq,Lq,Lk], with weights=true").aside(),
    ],
    keys: &[
        SCALE,
        CAUSAL,
        Key::new("offset", "0", "query i stands at key position i + offset; may be negative"),
        WINDOW_LEFT,
        WINDOW_RIGHT,
        SOFTCAP,
        DROPOUT_P,
        SEED,
        Key::new("weights", "false", "also output the attention weights after dropout"),
        DTYPE,
        PATH,
    ],
};

// The keys that attention and attention_varlen have in common.
pub(crate) const SCALE: Key = Key::new("scale", "1/sqrt(D)", "what q·k is multiplied by");
pub(crate) const CAUSAL: Key = Key::new("causal", "false", "a query sees no key after its own position");
pub(crate) const WINDOW_LEFT: Key = Key::new("window_left", "none", "a query at p sees no key before p - window_left");
pub(crate) const WINDOW_RIGHT: Key = Key::new("window_right", "none", "a query at p sees no key after p + window_right");
pub(crate) const SOFTCAP: Key = Key::new("softcap", "0", "c in c·tanh(s/c), applied before bias and ALiBi; 0 is off");
pub(crate) const DROPOUT_P: Key = Key::new("dropout_p", "0", "the probability that an attention weight is dropped, below 1");
pub(crate) const SEED: Key = Key::new("seed", "0", "the seed of dropout's random numbers");
pub(crate) const DTYPE: Key = Key::new("dtype", "f32", "f32 or f16: how q, k and v are stored on the device");
pub(crate) const PATH: Key = Key::new("path", "auto", "auto, fused or composed; a path that does not serve the request is an error");

/// The operation as the registry lists it.
pub struct Attention;

impl Operation for Attention {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels(caps)
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        tunings(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let fields = parse_shape(OP, SPEC.shape, shape)?;
        let [batch, heads, seq, dim] = fields.as_slice() else { return Err(wrong_shape(OP, SPEC.shape, shape)) };
        let (&[batch], Some([heads_q, heads_kv]), Some([seq_q, seq_k]), Some([dim, dim_v])) =
            (batch.as_slice(), pair(heads), pair(seq), pair(dim))
        else {
            return Err(wrong_shape(OP, SPEC.shape, shape));
        };
        let (q, k) = ([batch, heads_q, seq_q, dim], [batch, heads_kv, seq_k, dim]);
        let (v, o) = ([batch, heads_kv, seq_k, dim_v], [batch, heads_q, seq_q, dim_v]);
        // Sizes that cannot be run are refused before they are drawn.
        Problem::new(&Shapes::new(&q, &k, &v), &AttentionOptions::from_settings(OP, settings)?)?;
        let mut rng = philox::Rng::new(seed);
        let tensors = [("q", q), ("k", k), ("v", v), ("d_o", o)];
        Ok(tensors.map(|(name, shape)| (name.to_string(), normal(&mut rng, &shape))).into())
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
        let backward = request.wants_gradients();
        let rows = problem.batch * problem.heads_q * problem.seq_q;
        let weights = if problem.options.weights { problem.seq_k } else { 0 };
        let outputs = rows * (problem.dim_v + 1 + weights);
        let flops = flops(problem.pairs(), problem.dim, problem.dim_v, backward);
        Ok(Cost { flops, bytes: bytes(&SPEC, request, problem.dtype, outputs) })
    }
}

/// The fused path where it serves a case, and the composed path with every way of reducing a row.
pub(crate) fn tunings(caps: &Caps) -> Vec<Tuning> {
    let composed = Tuning::all::<Rows>(caps).into_iter().skip(1).map(|rows| {
        let pin = rows.pin.clone();
        Tuning { label: format!("composed {}", rows.label), pin: std::sync::Arc::new(move |gpu| pin(gpu).pin(Path::Composed)) }
    });
    let fused = Tuning { label: "fused".into(), pin: std::sync::Arc::new(|gpu: &Gpu| gpu.pin(Path::Fused)) };
    // Where `auto` always is the fused path, that is no other way.
    let fused = matmul::gpu::passes_registers(caps).then_some(fused);
    fused::Tile::tunings(caps).into_iter().chain(fused).chain(composed).collect()
}

/// `[n]` as `[n, n]`, `[a, b]` as it is.
pub(crate) fn pair(field: &[usize]) -> Option<[usize; 2]> {
    match *field {
        [n] => Some([n, n]),
        [a, b] => Some([a, b]),
        _ => None,
    }
}

/// Bytes of every tensor of the request, of `outputs` f32 elements, and of the gradients, each moved once. q, k, v and dO
/// are stored as `dtype`.
pub(crate) fn bytes(spec: &Spec, request: &Request, dtype: crate::DType, outputs: usize) -> f64 {
    let stored = |name: &str, array: &Array| match name {
        "q" | "k" | "v" | "d_o" => array.len() * dtype.bytes(),
        _ => array.len() * array.dtype().bytes(),
    };
    let read: usize = request.tensors.iter().map(|(name, array)| stored(name, array)).sum();
    let differentiable = spec.inputs.iter().filter(|input| input.differentiable && request.wants_gradients());
    let gradients: usize = differentiable.filter_map(|input| request.tensor(input.name)).map(Array::len).sum();
    (read + 4 * (outputs + gradients)) as f64
}
