//! The layer on a device: projections, and between them attention or, with probabilities, its steps one by one.

use super::heads::{Heads, Lse};
use super::{MultiHeadOptions, OP, Problem, Shapes};
use crate::gpu::{Gpu, Tensor};
use crate::ops::attention::composed::fill;
use crate::ops::call::{self, Applied, Call};
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::product::Matrices;
use crate::ops::projection::Projection;
use crate::ops::{Prepared, Request};
use crate::{DType, Error, Result};

/// What multi-head attention reads, f32.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `[B, Lq, E]`
    pub query: &'a Tensor,
    /// `[B, Lk, E]`
    pub key: &'a Tensor,
    /// `[B, Lk, E]`
    pub value: &'a Tensor,
    /// `[3E, E]`: the blocks of q, k and v.
    pub in_proj_weight: &'a Tensor,
    /// `[3E]`
    pub in_proj_bias: Option<&'a Tensor>,
    /// `[E, E]`
    pub out_proj_weight: &'a Tensor,
    /// `[E]`
    pub out_proj_bias: Option<&'a Tensor>,
    /// u8 `[B, Lk]`, 0 = hidden.
    pub key_keep: Option<&'a Tensor>,
}

/// What multi-head attention returns, f32.
#[derive(Clone, Debug)]
pub struct Attended {
    /// `[B, Lq, E]`
    pub o: Tensor,
    /// `[B, heads, Lq, Lk]`, with [`MultiHeadOptions::probs`].
    pub probs: Option<Tensor>,
    /// What the backward reads again.
    saved: Saved,
}

/// What the forward made on its way.
#[derive(Clone, Debug)]
struct Saved {
    /// `[B, Lq, E]`, `[B, Lk, E]`, `[B, Lk, E]`
    qkv: [Tensor; 3],
    /// The heads side by side, before the last projection: `[B, Lq, E]`.
    heads: Tensor,
    /// Of attention, where probabilities are not kept.
    lse: Option<Lse>,
}

/// The gradients of multi-head attention, f32, each in the shape of its tensor.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Of query.
    pub d_query: Tensor,
    /// Of key.
    pub d_key: Tensor,
    /// Of value.
    pub d_value: Tensor,
    /// Of in_proj_weight.
    pub d_in_proj_weight: Tensor,
    /// Of in_proj_bias, when there is one.
    pub d_in_proj_bias: Option<Tensor>,
    /// Of out_proj_weight.
    pub d_out_proj_weight: Tensor,
    /// Of out_proj_bias, when there is one.
    pub d_out_proj_bias: Option<Tensor>,
}

impl<'a> Inputs<'a> {
    fn problem(&self, options: &MultiHeadOptions) -> Result<Problem> {
        let required = [
            ("query", self.query),
            ("key", self.key),
            ("value", self.value),
            ("in_proj_weight", self.in_proj_weight),
            ("out_proj_weight", self.out_proj_weight),
        ];
        let optional = [("in_proj_bias", self.in_proj_bias), ("out_proj_bias", self.out_proj_bias)];
        let optional = optional.into_iter().filter_map(|(name, tensor)| Some((name, tensor?)));
        required.into_iter().chain(optional).try_for_each(|(name, tensor)| expect_dtype(OP, name, tensor, DType::F32))?;
        self.key_keep.map_or(Ok(()), |mask| expect_dtype(OP, "key_keep", mask, DType::U8))?;
        let shapes = Shapes {
            query: self.query.shape(),
            key: self.key.shape(),
            value: self.value.shape(),
            in_proj_weight: self.in_proj_weight.shape(),
            in_proj_bias: self.in_proj_bias.map(Tensor::shape),
            out_proj_weight: self.out_proj_weight.shape(),
            out_proj_bias: self.out_proj_bias.map(Tensor::shape),
            key_keep: self.key_keep.map(Tensor::shape),
        };
        Problem::new(&shapes, options)
    }

    /// The projections to q, k and v: blocks of rows of one weight.
    fn projections(&self) -> [Projection<'a>; 3] {
        let embed = self.query.shape()[2];
        let of = |block: usize, x, mask| Projection {
            op: OP,
            x,
            weight: Matrices { tensor: self.in_proj_weight, start: block * embed * embed, row: embed, col: 1, batch: &[] },
            outputs: embed,
            bias: self.in_proj_bias.map(|bias| (bias, block * embed)),
            mask,
        };
        [of(0, self.query, None), of(1, self.key, self.key_keep), of(2, self.value, self.key_keep)]
    }

    /// The last projection, of the heads.
    fn last<'b>(&self, heads: &'b Tensor) -> Projection<'b>
    where
        'a: 'b,
    {
        let outputs = heads.shape()[2];
        let weight = Matrices { tensor: self.out_proj_weight, start: 0, row: outputs, col: 1, batch: &[] };
        Projection { op: OP, x: heads, weight, outputs, bias: self.out_proj_bias.map(|bias| (bias, 0)), mask: None }
    }
}

/// o and, when they are asked for, the probabilities. O(B · (Lq + Lk) · E² + B · Lq · Lk · E). Memory beyond the results: the projected
/// tensors and the heads, which the backward reads, and with probabilities the scores until it returns.
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`] for tensors of other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, inputs: &Inputs, options: &MultiHeadOptions) -> Result<Attended> {
    let p = inputs.problem(options)?;
    let attention = Heads::new(&p, inputs.key_keep);
    let [q, k, v] = inputs.projections();
    let qkv = [q.forward(gpu)?, k.forward(gpu)?, v.forward(gpu)?];
    let heads = gpu.empty(DType::F32, inputs.query.shape())?;
    let (probs, lse) = if options.probs {
        (Some(attention.probs(gpu, qkv.each_ref(), &heads)?), None)
    } else {
        (None, Some(attention.attend(gpu, qkv.each_ref(), &heads)?))
    };
    let o = inputs.last(&heads).forward(gpu)?;
    Ok(Attended { o, probs, saved: Saved { qkv, heads, lse } })
}

/// The gradients of every differentiable input, from what [`forward`] returned with the same options, and the upstream gradients of o and, where
/// there are probabilities, of these; one that is absent counts as zero.
///
/// # Errors
/// As [`forward`]; [`Error::Argument`] when `attended` is of other inputs or options, and for d_probs without probabilities.
pub fn backward(
    gpu: &Gpu,
    inputs: &Inputs,
    attended: &Attended,
    d_o: Option<&Tensor>,
    d_probs: Option<&Tensor>,
    options: &MultiHeadOptions,
) -> Result<Gradients> {
    let p = inputs.problem(options)?;
    let Saved { qkv, heads, lse } = &attended.saved;
    attended.check(inputs, &p)?;
    let (of_o, of_probs) = (inputs.query.shape(), p.probs_shape());
    for (name, tensor, shape) in [("d_o", d_o, of_o), ("d_probs", d_probs, &of_probs)] {
        let Some(tensor) = tensor else { continue };
        expect_dtype(OP, name, tensor, DType::F32)?;
        expect_shape(OP, name, tensor.shape(), shape)?;
    }
    let like = |tensor: &Tensor| gpu.empty(DType::F32, tensor.shape());
    let zero = |tensor: &Tensor| fill(gpu, tensor, 0, tensor.len(), 0.0);
    let last = inputs.last(heads);
    let d_out_proj_weight = like(inputs.out_proj_weight)?;
    let d_out_proj_bias = inputs.out_proj_bias.map(like).transpose()?;
    let d_heads = match d_o {
        Some(d_o) => {
            last.d_weight(gpu, d_o, &d_out_proj_weight)?;
            d_out_proj_bias.as_ref().map_or(Ok(()), |into| last.d_bias(gpu, d_o, into))?;
            Some(last.d_x(gpu, d_o)?)
        }
        None => {
            zero(&d_out_proj_weight)?;
            d_out_proj_bias.as_ref().map_or(Ok(()), zero)?;
            None
        }
    };
    let attention = Heads::new(&p, inputs.key_keep);
    let d_qkv = match (&attended.probs, lse, &d_heads) {
        (Some(probs), ..) => attention.probs_backward(gpu, qkv.each_ref(), probs, d_heads.as_ref(), d_probs)?,
        (None, Some(lse), Some(d_heads)) if d_probs.is_none() => attention.attend_backward(gpu, qkv.each_ref(), heads, lse, d_heads)?,
        _ => {
            let expected = "d_o, and d_probs beside the probabilities of a forward with probs".to_string();
            let got = if d_probs.is_some() { "d_probs without probabilities" } else { "none" };
            return Err(Error::Argument { op: OP, key: "upstream gradients".into(), expected, got: got.into() });
        }
    };
    let (d_in_proj_weight, d_in_proj_bias) = (like(inputs.in_proj_weight)?, inputs.in_proj_bias.map(like).transpose()?);
    let input = |projection: &Projection, d_y: &Tensor| {
        projection.d_weight(gpu, d_y, &d_in_proj_weight)?;
        d_in_proj_bias.as_ref().map_or(Ok(()), |into| projection.d_bias(gpu, d_y, into))?;
        projection.d_x(gpu, d_y)
    };
    let [q, k, v] = inputs.projections();
    let (d_query, d_key, d_value) = (input(&q, &d_qkv[0])?, input(&k, &d_qkv[1])?, input(&v, &d_qkv[2])?);
    Ok(Gradients { d_query, d_key, d_value, d_in_proj_weight, d_in_proj_bias, d_out_proj_weight, d_out_proj_bias })
}

impl Attended {
    /// That it is what the forward of these inputs and options returned.
    fn check(&self, inputs: &Inputs, p: &Problem) -> Result<()> {
        let Saved { qkv: [q, k, _], lse, .. } = &self.saved;
        let heads = match lse {
            Some(Lse::Fused(lse)) => lse.shape()[2],
            Some(Lse::Composed(lse)) => lse.shape()[1],
            None => self.probs.as_ref().map_or(0, |probs| probs.shape()[1]),
        };
        let same = q.shape() == inputs.query.shape() && k.shape() == inputs.key.shape();
        if same && heads == p.options.heads && self.probs.is_some() == p.options.probs {
            return Ok(());
        }
        let expected = "what the forward of the same inputs and options returned".to_string();
        Err(Error::Argument { op: OP, key: "attended".into(), expected, got: "that of others".into() })
    }
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_f32)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = MultiHeadOptions::of(&call.settings)?;
    let attended = forward(&call.gpu, &inputs(&call)?, &options)?;
    let outputs = [("o", Some(attended.o.clone())), ("probs", attended.probs.clone())];
    Ok(Applied::new(outputs, move |d| {
        let d = backward(&call.gpu, &inputs(&call)?, &attended, d.get("d_o"), d.get("d_probs"), &options)?;
        let sides = [("d_query", Some(d.d_query)), ("d_key", Some(d.d_key)), ("d_value", Some(d.d_value))];
        let weights = [("d_in_proj_weight", Some(d.d_in_proj_weight)), ("d_out_proj_weight", Some(d.d_out_proj_weight))];
        let biases = [("d_in_proj_bias", d.d_in_proj_bias), ("d_out_proj_bias", d.d_out_proj_bias)];
        Ok(sides.into_iter().chain(weights).chain(biases))
    }))
}

fn inputs(call: &Call) -> Result<Inputs<'_>> {
    Ok(Inputs {
        query: call.tensor("query")?,
        key: call.tensor("key")?,
        value: call.tensor("value")?,
        in_proj_weight: call.tensor("in_proj_weight")?,
        in_proj_bias: call.optional("in_proj_bias"),
        out_proj_weight: call.tensor("out_proj_weight")?,
        out_proj_bias: call.optional("out_proj_bias"),
        key_keep: call.optional("key_keep"),
    })
}
