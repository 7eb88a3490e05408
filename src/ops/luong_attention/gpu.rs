//! Luong attention on a device: the scores by their kind, and what becomes of them.

use super::cosine::{self, Cosine};
use super::{LuongOptions, OP, Problem, Score, Shapes};
use crate::gpu::{Gpu, Tensor};
use crate::ops::additive_attention::{Additive, AdditiveGradients, Projected};
use crate::ops::call::{self, Applied};
use crate::ops::context::Sequences;
use crate::ops::context::gpu::{Context, rows, stride};
use crate::ops::host::expect_dtype;
use crate::ops::product::Matrices;
use crate::ops::projection::Projection;
use crate::ops::strided::Dims;
use crate::ops::sum::gpu::Reduction;
use crate::ops::{Prepared, Request};
use crate::{DType, Error, Result};

/// What Luong attention reads, f32.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `[B, Lq, Dq]`
    pub query: &'a Tensor,
    /// `[B, Lk, Dk]`
    pub keys: &'a Tensor,
    /// `[B, Lk, Dv]`
    pub values: &'a Tensor,
    /// `[Dq, Dk]` for [`Score::General`], `[A, Dq + Dk]` for [`Score::Concat`], otherwise none.
    pub w: Option<&'a Tensor>,
    /// `[A]` for [`Score::Concat`], otherwise none.
    pub v: Option<&'a Tensor>,
    /// u8 `[B, Lk]`, 0 = hidden.
    pub key_mask: Option<&'a Tensor>,
}

/// What Luong attention returns, f32.
#[derive(Clone, Debug)]
pub struct Attended {
    /// `[B, Lq, Dv]`
    pub context: Tensor,
    /// `[B, Lq, Lk]`
    pub weights: Tensor,
    /// What the backward reads again.
    saved: Saved,
}

/// What the scores were made of, beside queries and keys.
#[derive(Clone, Debug)]
enum Saved {
    Nothing,
    /// query W, `[B, Lq, Dk]`
    General(Tensor),
    Concat(Projected),
    /// The lengths of queries and keys.
    Cosine([Tensor; 2]),
}

impl Saved {
    /// That it is what the forward of this problem saves.
    fn check(&self, p: &Problem) -> Result<()> {
        let Sequences { batch, queries, keys, dim_k, .. } = p.sizes;
        let fits = match (self, p.score) {
            (Saved::Nothing, Score::Dot) | (Saved::Cosine(_), Score::Cosine) => true,
            (Saved::General(query), Score::General) => query.shape() == [batch, queries, dim_k],
            (Saved::Concat(both), Score::Concat) => {
                both.query.shape() == [batch, queries, p.features] && both.keys.shape() == [batch, keys, p.features]
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let expected = "what the forward of the same inputs and options returned".to_string();
        Err(Error::Argument { op: OP, key: "attended".into(), expected, got: "that of others".into() })
    }
}

/// The gradients of Luong attention, f32, each in the shape of its tensor.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Of query.
    pub d_query: Tensor,
    /// Of keys.
    pub d_keys: Tensor,
    /// Of values.
    pub d_values: Tensor,
    /// Of w, where the score has one.
    pub d_w: Option<Tensor>,
    /// Of v, where the score has one.
    pub d_v: Option<Tensor>,
}

/// A call and its sizes.
struct Call<'a> {
    inputs: &'a Inputs<'a>,
    p: &'a Problem,
    context: Context<'a>,
}

impl Inputs<'_> {
    fn problem(&self, options: &LuongOptions) -> Result<Problem> {
        let named = [("query", self.query), ("keys", self.keys), ("values", self.values)];
        let optional = [("w", self.w), ("v", self.v)].into_iter().filter_map(|(name, tensor)| Some((name, tensor?)));
        named.into_iter().chain(optional).try_for_each(|(name, tensor)| expect_dtype(OP, name, tensor, DType::F32))?;
        self.key_mask.map_or(Ok(()), |mask| expect_dtype(OP, "key_mask", mask, DType::U8))?;
        let shape = |tensor: Option<&Tensor>| tensor.map(|tensor| tensor.shape().to_vec());
        let (w, v, key_mask) = (shape(self.w), shape(self.v), shape(self.key_mask));
        let shapes = Shapes {
            query: self.query.shape(),
            keys: self.keys.shape(),
            values: self.values.shape(),
            w: w.as_deref(),
            v: v.as_deref(),
            key_mask: key_mask.as_deref(),
        };
        Problem::new(&shapes, options)
    }
}

impl<'a> Call<'a> {
    fn new(inputs: &'a Inputs<'a>, p: &'a Problem) -> Self {
        let context = Context::of(OP, &p.sizes, inputs.key_mask);
        Call { inputs, p, context }
    }

    /// query W as a linear layer whose weight is Wᵀ.
    fn general(&self, w: &'a Tensor) -> Projection<'a> {
        let columns = self.p.sizes.dim_k;
        let weight = Matrices { tensor: w, start: 0, row: 1, col: columns, batch: &[] };
        Projection { op: OP, x: self.inputs.query, weight, outputs: columns, bias: None, mask: None }
    }

    /// The two halves of W, side by side in its rows.
    fn concat(&self, w: &'a Tensor, v: &'a Tensor) -> Additive<'a> {
        let Sequences { dim_q, dim_k, .. } = self.p.sizes;
        let half = |start| Matrices { tensor: w, start, row: dim_q + dim_k, col: 1, batch: &[] };
        let of = |x, weight, mask| Projection { op: OP, x, weight, outputs: v.len(), bias: None, mask };
        let (query, keys) = (of(self.inputs.query, half(0), None), of(self.inputs.keys, half(dim_q), self.inputs.key_mask));
        Additive { query, keys, v }
    }

    /// The products of all queries, projected or not, with all keys.
    fn dots(&self, gpu: &Gpu, query: &Tensor) -> Result<Tensor> {
        let keys = self.inputs.keys;
        self.context.dots(gpu, 1.0, self.p.sizes.dim_k, [rows(query, &stride(query)), rows(keys, &stride(keys))])
    }

    /// The gradients of queries and keys of which the scores are products.
    fn dots_backward(&self, gpu: &Gpu, query: &Tensor, d_scores: &Tensor) -> Result<[Tensor; 2]> {
        let keys = self.inputs.keys;
        let d = [gpu.empty(DType::F32, query.shape())?, gpu.empty(DType::F32, keys.shape())?];
        let (of_q, of_k) = (stride(query), stride(keys));
        let pair = |q, k| [rows(q, &of_q), rows(k, &of_k)];
        self.context.dots_backward(gpu, 1.0, self.p.sizes.dim_k, d_scores, pair(query, keys), pair(&d[0], &d[1]))?;
        Ok(d)
    }

    fn scores(&self, gpu: &Gpu) -> Result<(Tensor, Saved)> {
        let Inputs { query, keys, w, v, key_mask, .. } = *self.inputs;
        match (self.p.score, w, v) {
            (Score::General, Some(w), _) => {
                let projected = self.general(w).forward(gpu)?;
                Ok((self.dots(gpu, &projected)?, Saved::General(projected)))
            }
            (Score::Concat, Some(w), Some(v)) => {
                let additive = self.concat(w, v);
                let projected = additive.project(gpu)?;
                Ok((additive.forward(gpu, &projected)?, Saved::Concat(projected)))
            }
            (Score::Cosine, ..) => {
                let (norms, scores) = ([cosine::norms(gpu, query)?, cosine::norms(gpu, keys)?], self.dots(gpu, query)?);
                Cosine { norms: [&norms[0], &norms[1]], mask: key_mask }.forward(gpu, &scores)?;
                Ok((scores, Saved::Cosine(norms)))
            }
            _ => Ok((self.dots(gpu, query)?, Saved::Nothing)),
        }
    }

    /// The gradients but that of the values, in the order of the inputs.
    fn scores_backward(&self, gpu: &Gpu, saved: &Saved, d_scores: &Tensor) -> Result<(Tensor, Tensor, [Option<Tensor>; 2])> {
        let Inputs { query, keys, w, v, key_mask, .. } = *self.inputs;
        match (saved, w, v) {
            (Saved::General(projected), Some(w), _) => {
                let [d_projected, d_keys] = self.dots_backward(gpu, projected, d_scores)?;
                let (general, d_w) = (self.general(w), gpu.empty(DType::F32, w.shape())?);
                general.d_weight(gpu, &d_projected, &d_w)?;
                Ok((general.d_x(gpu, &d_projected)?, d_keys, [Some(d_w), None]))
            }
            (Saved::Concat(projected), Some(w), Some(v)) => {
                let d_w = gpu.empty(DType::F32, w.shape())?;
                let AdditiveGradients { d_query, d_keys, d_v } =
                    self.concat(w, v).backward(gpu, projected, d_scores, [&d_w, &d_w], None)?;
                Ok((d_query, d_keys, [Some(d_w), Some(d_v)]))
            }
            (Saved::Cosine(norms), ..) => {
                let dots = self.dots(gpu, query)?;
                // From here on `d_scores` is the gradient of the dot products, and `dots` what goes through the lengths.
                Cosine { norms: [&norms[0], &norms[1]], mask: key_mask }.backward(gpu, &dots, d_scores)?;
                let [d_query, d_keys] = self.dots_backward(gpu, query, d_scores)?;
                for (x, norms, d_x, of_queries) in [(query, &norms[0], &d_query, true), (keys, &norms[1], &d_keys, false)] {
                    let sums = self.sums(gpu, &dots, of_queries)?;
                    cosine::subtract(gpu, [x, &sums, norms, d_x])?;
                }
                Ok((d_query, d_keys, [None, None]))
            }
            _ => {
                let [d_query, d_keys] = self.dots_backward(gpu, query, d_scores)?;
                Ok((d_query, d_keys, [None, None]))
            }
        }
    }

    /// The sums over all keys of each query, or over all queries of each key.
    fn sums(&self, gpu: &Gpu, x: &Tensor, of_queries: bool) -> Result<Tensor> {
        let Sequences { batch, queries, keys, .. } = self.p.sizes;
        let [kept, summed] = if of_queries { [(queries, keys), (keys, 1)] } else { [(keys, 1), (queries, keys)] };
        let y = gpu.empty(DType::F32, &[batch, kept.0])?;
        let dims = Dims::new([(batch, [queries * keys, kept.0]), (kept.0, [kept.1, 1])]);
        let summed = Dims::new([(summed.0, [summed.1])]);
        Reduction { x, y: &y, start: [0, 0], kept: dims, summed, scale: 1.0, accumulate: false }.run(gpu)?;
        Ok(y)
    }
}

/// Context and weights. Dot, general and cosine are products: O(B · Lq · Lk · Dk); concat is O(B · Lq · Lk · A), each step a tanh. Memory
/// beyond the results: the scores, as large as the weights, until it returns.
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for tensors of other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, inputs: &Inputs, options: &LuongOptions) -> Result<Attended> {
    let p = inputs.problem(options)?;
    let call = Call::new(inputs, &p);
    let (scores, saved) = call.scores(gpu)?;
    let [context, weights] = call.context.attend(gpu, &scores, inputs.values)?;
    Ok(Attended { context, weights, saved })
}

/// The gradients of every differentiable input, from what [`forward`] returned with the same options, and the upstream gradients of context
/// and of weights; one that is absent counts as zero.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    gpu: &Gpu,
    inputs: &Inputs,
    attended: &Attended,
    d_context: Option<&Tensor>,
    d_weights: Option<&Tensor>,
    options: &LuongOptions,
) -> Result<Gradients> {
    let p = inputs.problem(options)?;
    attended.saved.check(&p)?;
    let call = Call::new(inputs, &p);
    let [d_scores, d_values] = call.context.attend_backward(gpu, &attended.weights, inputs.values, d_context, d_weights)?;
    let (d_query, d_keys, [d_w, d_v]) = call.scores_backward(gpu, &attended.saved, &d_scores)?;
    Ok(Gradients { d_query, d_keys, d_values, d_w, d_v })
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_f32)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: call::Call) -> Result<Applied> {
    let options = LuongOptions::of(&call.settings)?;
    let attended = forward(&call.gpu, &inputs(&call)?, &options)?;
    let outputs = [("context", attended.context.clone()), ("weights", attended.weights.clone())];
    Ok(Applied::new(outputs, move |d| {
        let d = backward(&call.gpu, &inputs(&call)?, &attended, d.get("d_context"), d.get("d_weights"), &options)?;
        let sides = [("d_query", Some(d.d_query)), ("d_keys", Some(d.d_keys)), ("d_values", Some(d.d_values))];
        Ok(sides.into_iter().chain([("d_w", d.d_w), ("d_v", d.d_v)]))
    }))
}

fn inputs(call: &call::Call) -> Result<Inputs<'_>> {
    Ok(Inputs {
        query: call.tensor("query")?,
        keys: call.tensor("keys")?,
        values: call.tensor("values")?,
        w: call.optional("w"),
        v: call.optional("v"),
        key_mask: call.optional("key_mask"),
    })
}
