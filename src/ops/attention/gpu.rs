//! Attention on a device: the public functions, and which path serves a call.

use super::blocks::{Composed, Elements, Plane, Strided};
use super::composed::Upstream;
use super::fused::Fused;
use super::{AttentionOptions, Broadcast, OP, Path, Problem, Shapes, fused, kernels};
use crate::gpu::{AnyVariant, Caps, Gpu, Tensor};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_dtype, expect_float, expect_shape};
use crate::ops::{Prepared, Request, matmul};
use crate::{DType, Result};

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    kernels::all(caps)
}

/// What attention reads. q, k and v are f32 or f16.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `[batch, heads_q, seq_q, dim]`
    pub q: &'a Tensor,
    /// `[batch, heads_kv, seq_k, dim]`
    pub k: &'a Tensor,
    /// `[batch, heads_kv, seq_k, dim_v]`
    pub v: &'a Tensor,
    /// u8, 0 = hidden, broadcastable to `[batch, heads_q, seq_q, seq_k]`.
    pub mask: Option<&'a Tensor>,
    /// f32, added to the logits, broadcastable likewise; −∞ hides.
    pub bias: Option<&'a Tensor>,
    /// Keys from here on are hidden, one length for each batch element.
    pub kv_lengths: Option<&'a [i32]>,
    /// f32 `[heads_q]`
    pub alibi_slopes: Option<&'a Tensor>,
    /// u8 `[batch, heads_q, seq_q, seq_k]`: an explicit dropout mask instead of random numbers.
    pub dropout_keep: Option<&'a Tensor>,
}

impl<'a> Inputs<'a> {
    /// q, k and v, and nothing else.
    pub fn new(q: &'a Tensor, k: &'a Tensor, v: &'a Tensor) -> Self {
        Inputs { q, k, v, mask: None, bias: None, kv_lengths: None, alibi_slopes: None, dropout_keep: None }
    }

    fn problem(&self, d_o: Option<&[usize]>, options: &AttentionOptions) -> Result<Problem> {
        let shape = |tensor: Option<&'a Tensor>| tensor.map(Tensor::shape);
        for (name, tensor) in [("q", self.q), ("k", self.k), ("v", self.v)] {
            expect_float(OP, name, tensor)?;
        }
        let typed = [
            ("mask", self.mask, DType::U8),
            ("bias", self.bias, DType::F32),
            ("alibi_slopes", self.alibi_slopes, DType::F32),
            ("dropout_keep", self.dropout_keep, DType::U8),
        ];
        for (name, tensor, dtype) in typed {
            tensor.map_or(Ok(()), |tensor| expect_dtype(OP, name, tensor, dtype))?;
        }
        let shapes = Shapes {
            dtype: self.q.dtype(),
            q: self.q.shape(),
            k: self.k.shape(),
            v: self.v.shape(),
            mask: shape(self.mask),
            bias: shape(self.bias),
            kv_lengths: self.kv_lengths,
            alibi_slopes: shape(self.alibi_slopes),
            dropout_keep: shape(self.dropout_keep),
            d_o,
        };
        Problem::new(&shapes, options)
    }

    /// Whether `auto` stands for the composed path: for wide heads on a driver that runs on the CPU and passes operands of products from
    /// register to register, for which the fused path has no registers left. On lavapipe 25 the composed path takes a quarter to half of
    /// the fused path's time with heads of 128. It works on all pairs where the fused one leaves out what causality, windows and lengths
    /// hide.
    fn is_faster_composed(&self, gpu: &Gpu, p: &Problem) -> bool {
        /// Widest heads whose sums stay in registers.
        const NARROW: usize = 64;
        /// The part of the pairs that must be visible.
        const SHARE: f64 = 0.15;
        let dim = p.dim.max(p.dim_v);
        let open = p.options.path == Path::Auto && gpu.pinned::<Path>().is_none() && !fused::Tile::is_chosen(gpu, dim);
        let float = [self.q, self.k, self.v].iter().all(|tensor| tensor.dtype() == DType::F32);
        let serves = float && dim > NARROW && p.seq_q > fused::FEW && matmul::gpu::passes_registers(gpu.caps());
        open && serves && p.pairs() > SHARE * (p.batch * p.heads_q * p.seq_q * p.seq_k) as f64
    }

    /// The call as the fused path takes it; `None` where the composed path serves it.
    fn fused<'b>(&'b self, gpu: &Gpu, p: &'b Problem, d_o: Option<&Tensor>) -> Result<Option<Fused<'b>>> {
        if self.dropout_keep.is_some() || self.is_faster_composed(gpu, p) {
            return Ok(None);
        }
        let Some(tile) = fused::choose(gpu, OP, &p.options, [self.q, self.k, self.v], d_o)? else { return Ok(None) };
        let sequence = |b| fused::Sequence {
            q_first: b * p.heads_q * p.seq_q,
            q_count: p.seq_q,
            k_first: b * p.heads_kv * p.seq_k,
            k_count: p.keys_of(b),
            k_rows: p.seq_k,
            offset: i64::from(p.options.offset),
            random: (b * p.heads_q) as u64 * p.seq_q as u64 * p.seq_k as u64,
        };
        let call = Fused {
            op: OP,
            tile,
            heads_q: p.heads_q,
            heads_kv: p.heads_kv,
            scale: p.scale,
            options: &p.options,
            sequences: (0..p.batch).map(sequence).collect(),
            q_head: p.seq_q,
            q_row: 1,
            k_head: p.seq_k,
            k_row: 1,
            q: fused::Rows { tensor: self.q, dim: p.dim },
            k: fused::Rows { tensor: self.k, dim: p.dim },
            v: fused::Rows { tensor: self.v, dim: p.dim_v },
            mask: plane(self.mask, &p.mask),
            bias: plane(self.bias, &p.bias),
            alibi_slopes: self.alibi_slopes,
            random_head: p.seq_q as u64 * p.seq_k as u64,
            random_row: p.seq_k as u32,
        };
        Ok(Some(call))
    }

    /// The call as the composed path takes it.
    fn composed<'b>(&self, problem: &'b Problem, kv_lengths: Option<&'b Tensor>) -> Composed<'b>
    where
        'a: 'b,
    {
        let p = problem;
        Composed {
            op: OP,
            batch: p.batch,
            heads_q: p.heads_q,
            heads_kv: p.heads_kv,
            seq_q: p.seq_q,
            seq_k: p.seq_k,
            dim: p.dim,
            dim_v: p.dim_v,
            scale: p.scale,
            options: &p.options,
            offset: i64::from(p.options.offset),
            q: p.queries(self.q, p.dim),
            k: p.keys(self.k, p.dim),
            v: p.keys(self.v, p.dim_v),
            mask: plane(self.mask, &p.mask),
            bias: plane(self.bias, &p.bias),
            kv_lengths,
            alibi_slopes: self.alibi_slopes,
            dropout_keep: self.dropout_keep,
            elements: Elements { start: 0, head: p.seq_q as u64 * p.seq_k as u64, row: p.seq_k as u32 },
        }
    }
}

fn plane<'a>(tensor: Option<&'a Tensor>, broadcast: &Option<Broadcast>) -> Option<Plane<'a>> {
    tensor.zip(broadcast.as_ref()).map(|(tensor, broadcast)| Plane { tensor, strides: broadcast.strides })
}

impl Problem {
    /// A contiguous tensor of rows of queries.
    fn queries<'a>(&self, tensor: &'a Tensor, dim: usize) -> Strided<'a> {
        let head = self.seq_q * dim;
        Strided::queries(tensor, 0, [self.heads_q * head, head, dim], self.heads_q / self.heads_kv)
    }

    /// A contiguous tensor of rows of keys.
    fn keys<'a>(&self, tensor: &'a Tensor, dim: usize) -> Strided<'a> {
        let head = self.seq_k * dim;
        Strided::keys(tensor, 0, [self.heads_kv * head, head, dim])
    }
}

/// What attention returns, f32.
#[derive(Clone, Debug)]
pub struct Attended {
    /// `[batch, heads_q, seq_q, dim_v]`
    pub o: Tensor,
    /// `[batch, heads_q, seq_q]`: the log-sum-exp of the visible logits; −∞ for a row with none.
    pub lse: Tensor,
    /// `[batch, heads_q, seq_q, seq_k]`, with [`AttentionOptions::weights`]: what v was multiplied with.
    pub weights: Option<Tensor>,
}

/// The gradients of attention, f32, each in the shape of its tensor.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// Of q.
    pub d_q: Tensor,
    /// Of k.
    pub d_k: Tensor,
    /// Of v.
    pub d_v: Tensor,
    /// Of the bias, when there is one.
    pub d_bias: Option<Tensor>,
    /// Of the slopes, when there are any.
    pub d_alibi_slopes: Option<Tensor>,
}

/// o and lse. O(batch · heads_q · visible pairs · (dim + dim_v)) by tiles. Memory beyond the results: a few bytes for each sequence and an
/// eighth of the mask's; for up to 16 queries as many results as the keys are split into parts; copies of what is not whole quads, rows of
/// a multiple of 4 elements. The composed path takes up to 64 MiB.
///
/// ```
/// use wattn::ops::attention::{self, AttentionOptions, Inputs};
/// # let gpu = wattn::Gpu::new(&wattn::GpuOptions::default())?;
/// let q = gpu.tensor(&[1.0f32, 0.0], &[1, 1, 1, 2])?;
/// let k = gpu.tensor(&[0.0f32, 1.0, 0.0, 1.0], &[1, 1, 2, 2])?;
/// let v = gpu.tensor(&[2.0f32, 4.0], &[1, 1, 2, 1])?;
/// let attended = attention::forward(&gpu, &Inputs::new(&q, &k, &v), &AttentionOptions::default())?;
/// assert_eq!(attended.o.read_blocking::<f32>()?, [3.0]); // both keys alike: the mean
/// # Ok::<(), wattn::Error>(())
/// ```
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for tensors of other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, inputs: &Inputs, options: &AttentionOptions) -> Result<Attended> {
    let p = inputs.problem(None, options)?;
    let o = gpu.empty(DType::F32, &[p.batch, p.heads_q, p.seq_q, p.dim_v])?;
    let lse = gpu.empty(DType::F32, &[p.batch, p.heads_q, p.seq_q])?;
    let weights = options.weights.then(|| gpu.empty(DType::F32, &[p.batch, p.heads_q, p.seq_q, p.seq_k])).transpose()?;
    if let Some(call) = inputs.fused(gpu, &p, None)?
        && fused::served(options, call.forward(gpu, &o, &lse))?
    {
        return Ok(Attended { o, lse, weights });
    }
    let kv_lengths = lengths(gpu, inputs)?;
    inputs.composed(&p, kv_lengths.as_ref()).forward(gpu, p.queries(&o, p.dim_v), p.queries(&lse, 1), weights.as_ref())?;
    Ok(Attended { o, lse, weights })
}

/// The gradients of every differentiable input, from what [`forward`] returned and d_o `[batch, heads_q, seq_q, dim_v]`. With the options
/// of the forward, the seed included: dropout is drawn again. Memory beyond the gradients: 16 bytes for each query and head.
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, inputs: &Inputs, attended: &Attended, d_o: &Tensor, options: &AttentionOptions) -> Result<Gradients> {
    let p = inputs.problem(Some(d_o.shape()), options)?;
    let (o, lse) = (&attended.o, &attended.lse);
    expect_float(OP, "d_o", d_o)?;
    expect_shape(OP, "o", o.shape(), d_o.shape())?;
    expect_shape(OP, "lse", lse.shape(), &d_o.shape()[..3])?;
    let like = |tensor: &Tensor| gpu.empty(DType::F32, tensor.shape());
    let (d_q, d_k, d_v) = (like(inputs.q)?, like(inputs.k)?, like(inputs.v)?);
    let d_bias = inputs.bias.map(like).transpose()?;
    let d_alibi_slopes = inputs.alibi_slopes.map(like).transpose()?;
    let rows = |tensor| fused::Rows { tensor, dim: p.dim_v };
    let results = fused::Upstream {
        o: rows(o),
        lse,
        d_o: rows(d_o),
        d_q: &d_q,
        d_k: &d_k,
        d_v: &d_v,
        d_bias: d_bias.as_ref(),
        d_alibi_slopes: d_alibi_slopes.as_ref(),
    };
    if let Some(call) = inputs.fused(gpu, &p, Some(d_o))?
        && fused::served(options, call.backward(gpu, &results))?
    {
        return Ok(Gradients { d_q, d_k, d_v, d_bias, d_alibi_slopes });
    }
    let kv_lengths = lengths(gpu, inputs)?;
    let upstream = Upstream {
        o: p.queries(o, p.dim_v),
        lse: p.queries(lse, 1),
        d_o: p.queries(d_o, p.dim_v),
        d_q: p.queries(&d_q, p.dim),
        d_k: p.keys(&d_k, p.dim),
        d_v: p.keys(&d_v, p.dim_v),
        d_bias: d_bias.as_ref(),
        d_alibi_slopes: d_alibi_slopes.as_ref(),
    };
    inputs.composed(&p, kv_lengths.as_ref()).backward(gpu, &upstream)?;
    Ok(Gradients { d_q, d_k, d_v, d_bias, d_alibi_slopes })
}

fn lengths(gpu: &Gpu, inputs: &Inputs) -> Result<Option<Tensor>> {
    inputs.kv_lengths.map(|lengths| gpu.tensor(lengths, &[lengths.len()])).transpose()
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    let dtype = request.settings.dtype(OP)?;
    call::prepare(gpu, OP, request, apply, |name, array| match name {
        "q" | "k" | "v" | "d_o" => array.to_float(dtype),
        _ => array.to_float(DType::F32),
    })
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = AttentionOptions::from_settings(OP, &call.settings)?;
    let attended = forward(&call.gpu, &inputs(&call)?, &options)?;
    let outputs = [("o", Some(attended.o.clone())), ("lse", Some(attended.lse.clone())), ("weights", attended.weights.clone())];
    Ok(Applied::new(outputs, move |d| {
        let d = backward(&call.gpu, &inputs(&call)?, &attended, upstream(OP, d, "d_o")?, &options)?;
        let added = [("d_bias", d.d_bias), ("d_alibi_slopes", d.d_alibi_slopes)];
        Ok([("d_q", Some(d.d_q)), ("d_k", Some(d.d_k)), ("d_v", Some(d.d_v))].into_iter().chain(added))
    }))
}

fn inputs(call: &Call) -> Result<Inputs<'_>> {
    Ok(Inputs {
        mask: call.optional("mask"),
        bias: call.optional("bias"),
        kv_lengths: call.list("kv_lengths"),
        alibi_slopes: call.optional("alibi_slopes"),
        dropout_keep: call.optional("dropout_keep"),
        ..Inputs::new(call.tensor("q")?, call.tensor("k")?, call.tensor("v")?)
    })
}
