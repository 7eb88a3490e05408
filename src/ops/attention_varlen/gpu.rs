//! Packed attention on a device: all sequences at once through attention's fused path, or one after the other through the composed one.

use super::{OP, Problem, Sequence, Shapes};
use crate::gpu::{Gpu, Tensor};
use crate::ops::attention::AttentionOptions;
use crate::ops::attention::blocks::{Composed, Elements, Strided};
use crate::ops::attention::composed::{Upstream, fill};
use crate::ops::attention::fused::{self, Fused};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_float, expect_shape};
use crate::ops::{Prepared, Request};
use crate::{DType, Result};

/// What packed attention reads. q, k and v are f32 or f16.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `[total_q, heads_q, dim]`
    pub q: &'a Tensor,
    /// `[total_k, heads_kv, dim]`
    pub k: &'a Tensor,
    /// `[total_k, heads_kv, dim_v]`
    pub v: &'a Tensor,
    /// Where the queries of each sequence start, and total_q: `[sequences + 1]`.
    pub cu_seqlens_q: &'a [i32],
    /// Where the keys of each sequence start, and total_k: `[sequences + 1]`.
    pub cu_seqlens_k: &'a [i32],
}

/// What packed attention returns, f32.
#[derive(Clone, Debug)]
pub struct Attended {
    /// `[total_q, heads_q, dim_v]`
    pub o: Tensor,
    /// `[total_q, heads_q]`: the log-sum-exp of the visible logits; −∞ for a row with none.
    pub lse: Tensor,
}

/// The gradients of packed attention, f32, each in the shape of its tensor.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Of q.
    pub d_q: Tensor,
    /// Of k.
    pub d_k: Tensor,
    /// Of v.
    pub d_v: Tensor,
}

impl<'a> Inputs<'a> {
    fn problem(&self, d_o: Option<&[usize]>, options: &AttentionOptions) -> Result<Problem> {
        for (name, tensor) in [("q", self.q), ("k", self.k), ("v", self.v)] {
            expect_float(OP, name, tensor)?;
        }
        let shapes = Shapes {
            dtype: self.q.dtype(),
            q: self.q.shape(),
            k: self.k.shape(),
            v: self.v.shape(),
            cu_seqlens_q: self.cu_seqlens_q,
            cu_seqlens_k: self.cu_seqlens_k,
            d_o,
        };
        Problem::new(&shapes, options)
    }
}

impl Problem {
    /// The rows of a sequence in a tensor with query heads.
    fn queries<'a>(&self, tensor: &'a Tensor, sequence: &Sequence, dim: usize) -> Strided<'a> {
        let row = self.heads_q * dim;
        Strided::queries(tensor, sequence.queries.start * row, [0, dim, row], self.heads_q / self.heads_kv)
    }

    /// The rows of a sequence in a tensor with key heads.
    fn keys<'a>(&self, tensor: &'a Tensor, sequence: &Sequence, dim: usize) -> Strided<'a> {
        let row = self.heads_kv * dim;
        Strided::keys(tensor, sequence.keys.start * row, [0, dim, row])
    }

    /// The call as the fused path takes it; `None` where the composed path serves it.
    fn fused<'b>(&'b self, gpu: &Gpu, inputs: &Inputs<'b>, d_o: Option<&Tensor>) -> Result<Option<Fused<'b>>> {
        let Some(tile) = fused::choose(gpu, OP, &self.options, [inputs.q, inputs.k, inputs.v], d_o)? else { return Ok(None) };
        let sequence = |s: &Sequence| fused::Sequence {
            q_first: s.queries.start,
            q_count: s.queries.len(),
            k_first: s.keys.start,
            k_count: s.keys.len(),
            k_rows: s.keys.len(),
            offset: s.offset,
            random: self.dropout_element(0, s.queries.start, s.keys.start),
        };
        let call = Fused {
            op: OP,
            tile,
            heads_q: self.heads_q,
            heads_kv: self.heads_kv,
            scale: self.scale,
            options: &self.options,
            sequences: self.sequences.iter().map(sequence).collect(),
            q_head: 1,
            q_row: self.heads_q,
            k_head: 1,
            k_row: self.heads_kv,
            q: fused::Rows { tensor: inputs.q, dim: self.dim },
            k: fused::Rows { tensor: inputs.k, dim: self.dim },
            v: fused::Rows { tensor: inputs.v, dim: self.dim_v },
            mask: None,
            bias: None,
            alibi_slopes: None,
            random_head: self.total_q as u64 * self.total_k as u64,
            random_row: self.total_k as u32,
        };
        Ok(Some(call))
    }

    /// One sequence as the composed path takes it.
    fn composed<'b>(&'b self, inputs: &Inputs<'b>, sequence: &Sequence) -> Composed<'b> {
        Composed {
            op: OP,
            batch: 1,
            heads_q: self.heads_q,
            heads_kv: self.heads_kv,
            seq_q: sequence.queries.len(),
            seq_k: sequence.keys.len(),
            dim: self.dim,
            dim_v: self.dim_v,
            scale: self.scale,
            options: &self.options,
            offset: sequence.offset,
            q: self.queries(inputs.q, sequence, self.dim),
            k: self.keys(inputs.k, sequence, self.dim),
            v: self.keys(inputs.v, sequence, self.dim_v),
            mask: None,
            bias: None,
            kv_lengths: None,
            alibi_slopes: None,
            dropout_keep: None,
            elements: Elements {
                start: self.dropout_element(0, sequence.queries.start, sequence.keys.start),
                head: self.total_q as u64 * self.total_k as u64,
                row: self.total_k as u32,
            },
        }
    }
}

/// o and lse. O(heads_q · pairs of the sequences · (dim + dim_v)).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for tensors of other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, inputs: &Inputs, options: &AttentionOptions) -> Result<Attended> {
    let p = inputs.problem(None, options)?;
    let o = gpu.empty(DType::F32, &[p.total_q, p.heads_q, p.dim_v])?;
    let lse = gpu.empty(DType::F32, &[p.total_q, p.heads_q])?;
    if let Some(call) = p.fused(gpu, inputs, None)?
        && fused::served(options, call.forward(gpu, &o, &lse))?
    {
        return Ok(Attended { o, lse });
    }
    for sequence in &p.sequences {
        if !sequence.queries.is_empty() && !sequence.keys.is_empty() {
            let (o, lse) = (p.queries(&o, sequence, p.dim_v), p.queries(&lse, sequence, 1));
            p.composed(inputs, sequence).forward(gpu, o, lse, None)?;
        } else {
            // Queries without keys see nothing.
            fill_rows(gpu, &o, sequence.queries.clone(), 0.0)?;
            fill_rows(gpu, &lse, sequence.queries.clone(), f32::NEG_INFINITY)?;
        }
    }
    Ok(Attended { o, lse })
}

/// The gradients of q, k and v, from what [`forward`] returned and d_o `[total_q, heads_q, dim_v]`, with the options of the forward.
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, inputs: &Inputs, attended: &Attended, d_o: &Tensor, options: &AttentionOptions) -> Result<Gradients> {
    let p = inputs.problem(Some(d_o.shape()), options)?;
    let (o, lse) = (&attended.o, &attended.lse);
    expect_float(OP, "d_o", d_o)?;
    expect_shape(OP, "o", o.shape(), d_o.shape())?;
    expect_shape(OP, "lse", lse.shape(), &d_o.shape()[..2])?;
    let like = |tensor: &Tensor| gpu.empty(DType::F32, tensor.shape());
    let (d_q, d_k, d_v) = (like(inputs.q)?, like(inputs.k)?, like(inputs.v)?);
    let rows = |tensor| fused::Rows { tensor, dim: p.dim_v };
    let results = fused::Upstream { o: rows(o), lse, d_o: rows(d_o), d_q: &d_q, d_k: &d_k, d_v: &d_v, d_bias: None, d_alibi_slopes: None };
    if let Some(call) = p.fused(gpu, inputs, Some(d_o))?
        && fused::served(options, call.backward(gpu, &results))?
    {
        return Ok(Gradients { d_q, d_k, d_v });
    }
    for sequence in &p.sequences {
        if !sequence.queries.is_empty() && !sequence.keys.is_empty() {
            let upstream = Upstream {
                o: p.queries(o, sequence, p.dim_v),
                lse: p.queries(lse, sequence, 1),
                d_o: p.queries(d_o, sequence, p.dim_v),
                d_q: p.queries(&d_q, sequence, p.dim),
                d_k: p.keys(&d_k, sequence, p.dim),
                d_v: p.keys(&d_v, sequence, p.dim_v),
                d_bias: None,
                d_alibi_slopes: None,
            };
            p.composed(inputs, sequence).backward(gpu, &upstream)?;
        } else {
            fill_rows(gpu, &d_q, sequence.queries.clone(), 0.0)?;
            fill_rows(gpu, &d_k, sequence.keys.clone(), 0.0)?;
            fill_rows(gpu, &d_v, sequence.keys.clone(), 0.0)?;
        }
    }
    Ok(Gradients { d_q, d_k, d_v })
}

/// Fills the tokens of a range.
fn fill_rows(gpu: &Gpu, tensor: &Tensor, tokens: std::ops::Range<usize>, value: f32) -> Result<()> {
    let row: usize = tensor.shape()[1..].iter().product();
    fill(gpu, tensor, tokens.start * row, tokens.len() * row, value)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    let dtype = request.settings.dtype(OP)?;
    call::prepare(gpu, OP, request, apply, |_, array| array.to_float(dtype))
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = AttentionOptions::from_settings(OP, &call.settings)?;
    let attended = forward(&call.gpu, &inputs(&call)?, &options)?;
    let outputs = [("o", attended.o.clone()), ("lse", attended.lse.clone())];
    Ok(Applied::new(outputs, move |d| {
        let d = backward(&call.gpu, &inputs(&call)?, &attended, upstream(OP, d, "d_o")?, &options)?;
        Ok([("d_q", d.d_q), ("d_k", d.d_k), ("d_v", d.d_v)])
    }))
}

fn inputs(call: &Call) -> Result<Inputs<'_>> {
    let boundaries = |name: &str| call.tensor(name).map(|_| call.list(name).unwrap_or_default());
    Ok(Inputs {
        q: call.tensor("q")?,
        k: call.tensor("k")?,
        v: call.tensor("v")?,
        cu_seqlens_q: boundaries("cu_seqlens_q")?,
        cu_seqlens_k: boundaries("cu_seqlens_k")?,
    })
}
