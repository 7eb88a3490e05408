//! Additive attention on a device: the projections, the scores, and what becomes of them.

use super::{Additive, AdditiveGradients, OP, Problem, Projected, Shapes};
use crate::gpu::{Gpu, Tensor};
use crate::ops::call::{self, Applied, Call};
use crate::ops::context::Sequences;
use crate::ops::context::gpu::Context;
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::product::Matrices;
use crate::ops::projection::Projection;
use crate::ops::{Prepared, Request};
use crate::{DType, Result};

/// What additive attention reads, f32.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `[B, Lq, Dq]`
    pub query: &'a Tensor,
    /// `[B, Lk, Dk]`
    pub keys: &'a Tensor,
    /// `[B, Lk, Dv]`
    pub values: &'a Tensor,
    /// `[A, Dq]`
    pub wq: &'a Tensor,
    /// `[A, Dk]`
    pub wk: &'a Tensor,
    /// `[A]`
    pub b: &'a Tensor,
    /// `[A]`
    pub v: &'a Tensor,
    /// u8 `[B, Lk]`, 0 = hidden.
    pub key_mask: Option<&'a Tensor>,
}

/// What additive attention returns, f32.
#[derive(Clone, Debug)]
pub struct Attended {
    /// `[B, Lq, Dv]`
    pub context: Tensor,
    /// `[B, Lq, Lk]`
    pub weights: Tensor,
    /// What the backward reads again.
    pub projected: Projected,
}

/// The gradients of additive attention, f32, each in the shape of its tensor.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Of query.
    pub d_query: Tensor,
    /// Of keys.
    pub d_keys: Tensor,
    /// Of values.
    pub d_values: Tensor,
    /// Of wq.
    pub d_wq: Tensor,
    /// Of wk.
    pub d_wk: Tensor,
    /// Of b.
    pub d_b: Tensor,
    /// Of v.
    pub d_v: Tensor,
}

impl<'a> Inputs<'a> {
    fn problem(&self) -> Result<Problem> {
        let named = [
            ("query", self.query),
            ("keys", self.keys),
            ("values", self.values),
            ("wq", self.wq),
            ("wk", self.wk),
            ("b", self.b),
            ("v", self.v),
        ];
        named.into_iter().try_for_each(|(name, tensor)| expect_dtype(OP, name, tensor, DType::F32))?;
        self.key_mask.map_or(Ok(()), |mask| expect_dtype(OP, "key_mask", mask, DType::U8))?;
        Problem::new(&Shapes {
            query: self.query.shape(),
            keys: self.keys.shape(),
            values: self.values.shape(),
            wq: self.wq.shape(),
            wk: self.wk.shape(),
            b: self.b.shape(),
            v: self.v.shape(),
            key_mask: self.key_mask.map(Tensor::shape),
        })
    }

    fn additive(&self, p: &Problem) -> Additive<'a> {
        let matrix = |tensor: &'a Tensor, columns: usize| Matrices { tensor, start: 0, row: columns, col: 1, batch: &[] };
        let of = |x, weight, bias, mask| Projection { op: OP, x, weight, outputs: p.features, bias, mask };
        Additive {
            query: of(self.query, matrix(self.wq, p.sizes.dim_q), Some((self.b, 0)), None),
            keys: of(self.keys, matrix(self.wk, p.sizes.dim_k), None, self.key_mask),
            v: self.v,
        }
    }
}

/// Context and weights. O(B · Lq · Lk · A). Memory beyond the results: the scores, as large as the weights, until it returns.
///
/// ```
/// use wattn::ops::additive_attention::{self, Inputs};
/// # let gpu = wattn::Gpu::new(&wattn::GpuOptions::default())?;
/// let query = gpu.tensor(&[1.0f32, 0.0], &[1, 1, 2])?;
/// let keys = gpu.tensor(&[0.5f32, 0.5], &[1, 2, 1])?;
/// let values = gpu.tensor(&[2.0f32, 4.0], &[1, 2, 1])?;
/// let (wq, wk) = (gpu.tensor(&[1.0f32, 1.0], &[1, 2])?, gpu.tensor(&[1.0f32], &[1, 1])?);
/// let one = gpu.tensor(&[1.0f32], &[1])?;
/// let inputs = Inputs { query: &query, keys: &keys, values: &values, wq: &wq, wk: &wk, b: &one, v: &one, key_mask: None };
/// let attended = additive_attention::forward(&gpu, &inputs)?;
/// assert_eq!(attended.context.read_blocking::<f32>()?, [3.0]); // both keys alike: the mean
/// # Ok::<(), wattn::Error>(())
/// ```
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for tensors of other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, inputs: &Inputs) -> Result<Attended> {
    let p = inputs.problem()?;
    let additive = inputs.additive(&p);
    let projected = additive.project(gpu)?;
    let scores = additive.forward(gpu, &projected)?;
    let [context, weights] = Context::of(OP, &p.sizes, inputs.key_mask).attend(gpu, &scores, inputs.values)?;
    Ok(Attended { context, weights, projected })
}

/// The gradients of every differentiable input, from what [`forward`] returned and the upstream gradients of context and of weights; one that
/// is absent counts as zero. O(B · Lq · Lk · A), with two tanh for the forward's one. Memory beyond the gradients: two tensors like the
/// weights, and two like a projection.
///
/// # Errors
/// As [`forward`].
pub fn backward(
    gpu: &Gpu,
    inputs: &Inputs,
    attended: &Attended,
    d_context: Option<&Tensor>,
    d_weights: Option<&Tensor>,
) -> Result<Gradients> {
    let p = inputs.problem()?;
    let Sequences { batch, queries, keys, .. } = p.sizes;
    let Projected { query, keys: projected_keys } = &attended.projected;
    for (name, tensor, count) in [("wq query", query, queries), ("wk keys", projected_keys, keys)] {
        expect_dtype(OP, name, tensor, DType::F32)?;
        expect_shape(OP, name, tensor.shape(), &[batch, count, p.features])?;
    }
    let context = Context::of(OP, &p.sizes, inputs.key_mask);
    let [d_scores, d_values] = context.attend_backward(gpu, &attended.weights, inputs.values, d_context, d_weights)?;
    let like = |tensor: &Tensor| gpu.empty(DType::F32, tensor.shape());
    let (d_wq, d_wk, d_b) = (like(inputs.wq)?, like(inputs.wk)?, like(inputs.b)?);
    let d = inputs.additive(&p).backward(gpu, &attended.projected, &d_scores, [&d_wq, &d_wk], Some(&d_b))?;
    let AdditiveGradients { d_query, d_keys, d_v } = d;
    Ok(Gradients { d_query, d_keys, d_values, d_wq, d_wk, d_b, d_v })
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_f32)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let attended = forward(&call.gpu, &inputs(&call)?)?;
    let outputs = [("context", attended.context.clone()), ("weights", attended.weights.clone())];
    Ok(Applied::new(outputs, move |d| {
        let d = backward(&call.gpu, &inputs(&call)?, &attended, d.get("d_context"), d.get("d_weights"))?;
        let attended = [("d_query", d.d_query), ("d_keys", d.d_keys), ("d_values", d.d_values)];
        Ok(attended.into_iter().chain([("d_wq", d.d_wq), ("d_wk", d.d_wk), ("d_b", d.d_b), ("d_v", d.d_v)]))
    }))
}

fn inputs(call: &Call) -> Result<Inputs<'_>> {
    Ok(Inputs {
        query: call.tensor("query")?,
        keys: call.tensor("keys")?,
        values: call.tensor("values")?,
        wq: call.tensor("wq")?,
        wk: call.tensor("wk")?,
        b: call.tensor("b")?,
        v: call.tensor("v")?,
        key_mask: call.optional("key_mask"),
    })
}
