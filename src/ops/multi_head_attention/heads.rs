//! Attention between the projections, with its heads found by strides: attention's own paths or, with probabilities, step by step.

use super::{MultiHeadOptions, OP, Problem};
use crate::gpu::{Gpu, Tensor};
use crate::ops::attention::AttentionOptions;
use crate::ops::attention::blocks::{Composed, Elements, Plane, Strided};
use crate::ops::attention::composed::Upstream;
use crate::ops::attention::fused::{self, Fused};
use crate::ops::context::gpu::Context;
use crate::ops::product::Matrices;
use crate::{DType, Result};

/// The log-sum-exp of every query and head.
#[derive(Clone, Debug)]
pub(super) enum Lse {
    /// `[B, Lq, heads]`, of the fused path.
    Fused(Tensor),
    /// `[B, heads, Lq]`, of the composed one.
    Composed(Tensor),
}

/// The heads of projected tensors, found by strides.
pub(super) struct Heads<'a> {
    p: &'a Problem,
    mask: Option<&'a Tensor>,
    batch: [usize; 2],
    options: AttentionOptions,
}

impl<'a> Heads<'a> {
    pub fn new(p: &'a Problem, mask: Option<&'a Tensor>) -> Self {
        Heads { p, mask, batch: [p.batch, p.options.heads], options: AttentionOptions::default() }
    }

    /// From one batch element and from one head to the next, in a tensor of queries and in one of keys.
    fn strides(&self) -> [[usize; 2]; 2] {
        [self.p.queries, self.p.keys].map(|count| [count * self.p.embed, self.p.dim])
    }

    fn context(&self) -> Context<'_> {
        let Problem { queries, keys, dim, .. } = *self.p;
        Context { op: OP, batch: &self.batch, queries, keys, columns: dim, mask: self.mask }
    }

    fn matrices<'m>(&self, tensor: &'m Tensor, strides: &'m [usize; 2]) -> Matrices<'m> {
        Matrices { tensor, start: 0, row: self.p.embed, col: 1, batch: strides }
    }

    /// Probabilities, and writes the heads.
    pub fn probs(&self, gpu: &Gpu, [q, k, v]: [&Tensor; 3], heads: &Tensor) -> Result<Tensor> {
        let (context, [of_q, of_k]) = (self.context(), self.strides());
        let scores = context.dots(gpu, self.p.scale(), self.p.dim, [self.matrices(q, &of_q), self.matrices(k, &of_k)])?;
        context.forward(gpu, &scores, self.matrices(v, &of_k), self.matrices(heads, &of_q))
    }

    /// The gradients of q, k and v, from the probabilities.
    pub fn probs_backward(
        &self,
        gpu: &Gpu,
        [q, k, v]: [&Tensor; 3],
        probs: &Tensor,
        d_heads: Option<&Tensor>,
        d_probs: Option<&Tensor>,
    ) -> Result<[Tensor; 3]> {
        let (context, [of_q, of_k]) = (self.context(), self.strides());
        let like = |tensor: &Tensor| gpu.empty(DType::F32, tensor.shape());
        let [d_q, d_k, d_v] = [like(q)?, like(k)?, like(v)?];
        let values = [self.matrices(v, &of_k), self.matrices(&d_v, &of_k)];
        let d_scores = context.backward(gpu, probs, values, d_heads.map(|d| self.matrices(d, &of_q)), d_probs)?;
        let pair = |q, k| [self.matrices(q, &of_q), self.matrices(k, &of_k)];
        context.dots_backward(gpu, self.p.scale(), self.p.dim, &d_scores, pair(q, k), pair(&d_q, &d_k))?;
        Ok([d_q, d_k, d_v])
    }

    fn plane(&self) -> Option<Plane<'a>> {
        self.mask.map(|tensor| Plane { tensor, strides: [self.p.keys, 0, 0, 1] })
    }

    /// The call as the fused path takes it: a row is a head of a token. `None` where the composed path serves it.
    fn fused<'b>(&'b self, gpu: &Gpu, [q, k, v]: [&'b Tensor; 3], d_o: Option<&Tensor>) -> Result<Option<Fused<'b>>> {
        let Problem { batch, queries, keys, dim, options: MultiHeadOptions { heads, .. }, .. } = *self.p;
        let Some(tile) = fused::choose(gpu, OP, &self.options, [q, k, v], d_o)? else { return Ok(None) };
        let sequence = |b| fused::Sequence {
            q_first: b * queries,
            q_count: queries,
            k_first: b * keys,
            k_count: keys,
            k_rows: keys,
            offset: 0,
            random: 0,
        };
        let rows = |tensor| fused::Rows { tensor, dim };
        Ok(Some(Fused {
            op: OP,
            tile,
            heads_q: heads,
            heads_kv: heads,
            scale: self.p.scale(),
            options: &self.options,
            sequences: (0..batch).map(sequence).collect(),
            q_head: 1,
            q_row: heads,
            k_head: 1,
            k_row: heads,
            q: rows(q),
            k: rows(k),
            v: rows(v),
            mask: self.plane(),
            bias: None,
            alibi_slopes: None,
            random_head: 0,
            random_row: 0,
        }))
    }

    fn queries<'b>(&self, tensor: &'b Tensor) -> Strided<'b> {
        Strided::queries(tensor, 0, [self.p.queries * self.p.embed, self.p.dim, self.p.embed], 1)
    }

    fn keys<'b>(&self, tensor: &'b Tensor) -> Strided<'b> {
        Strided::keys(tensor, 0, [self.p.keys * self.p.embed, self.p.dim, self.p.embed])
    }

    fn lse<'b>(&self, tensor: &'b Tensor) -> Strided<'b> {
        Strided::queries(tensor, 0, [self.p.options.heads * self.p.queries, self.p.queries, 1], 1)
    }

    /// The call as the composed path takes it.
    fn composed<'b>(&'b self, [q, k, v]: [&'b Tensor; 3]) -> Composed<'b> {
        let Problem { batch, queries, keys, dim, options: MultiHeadOptions { heads, .. }, .. } = *self.p;
        Composed {
            op: OP,
            batch,
            heads_q: heads,
            heads_kv: heads,
            seq_q: queries,
            seq_k: keys,
            dim,
            dim_v: dim,
            scale: self.p.scale(),
            options: &self.options,
            offset: 0,
            q: self.queries(q),
            k: self.keys(k),
            v: self.keys(v),
            mask: self.plane(),
            bias: None,
            kv_lengths: None,
            alibi_slopes: None,
            dropout_keep: None,
            elements: Elements { start: 0, head: 0, row: 0 },
        }
    }

    fn attend_composed(&self, gpu: &Gpu, qkv: [&Tensor; 3], heads: &Tensor) -> Result<Tensor> {
        let lse = gpu.empty(DType::F32, &[self.p.batch, self.p.options.heads, self.p.queries])?;
        self.composed(qkv).forward(gpu, self.queries(heads), self.lse(&lse), None)?;
        Ok(lse)
    }

    /// Writes the heads, without probabilities.
    pub fn attend(&self, gpu: &Gpu, qkv: [&Tensor; 3], heads: &Tensor) -> Result<Lse> {
        let rows = self.rows(qkv)?;
        if let Some(call) = self.fused(gpu, rows.each_ref(), None)? {
            let lse = gpu.empty(DType::F32, &[self.p.batch, self.p.queries, self.p.options.heads])?;
            if fused::served(&self.options, call.forward(gpu, heads, &lse))? {
                return Ok(Lse::Fused(lse));
            }
        }
        self.attend_composed(gpu, qkv, heads).map(Lse::Composed)
    }

    /// q, k and v with a dimension for the heads, which the choice of a tile looks at.
    fn rows(&self, qkv: [&Tensor; 3]) -> Result<[Tensor; 3]> {
        let shaped = |tensor: &Tensor| tensor.reshape(&[tensor.len() / self.p.embed, self.p.options.heads, self.p.dim]);
        Ok([shaped(qkv[0])?, shaped(qkv[1])?, shaped(qkv[2])?])
    }

    /// The gradients of q, k and v, without probabilities.
    pub fn attend_backward(&self, gpu: &Gpu, qkv: [&Tensor; 3], heads: &Tensor, lse: &Lse, d_heads: &Tensor) -> Result<[Tensor; 3]> {
        let like = |tensor: &Tensor| gpu.empty(DType::F32, tensor.shape());
        let [d_q, d_k, d_v] = [like(qkv[0])?, like(qkv[1])?, like(qkv[2])?];
        let shaped = self.rows(qkv)?;
        if let Lse::Fused(lse) = lse
            && let Some(call) = self.fused(gpu, shaped.each_ref(), Some(d_heads))?
        {
            let rows = |tensor| fused::Rows { tensor, dim: self.p.dim };
            let (o, d_o) = (rows(heads), rows(d_heads));
            let (d_q, d_k, d_v) = (&d_q, &d_k, &d_v);
            let results = fused::Upstream { o, lse, d_o, d_q, d_k, d_v, d_bias: None, d_alibi_slopes: None };
            if fused::served(&self.options, call.backward(gpu, &results))? {
                return Ok([d_q.clone(), d_k.clone(), d_v.clone()]);
            }
        }
        // lse lies otherwise here: where only the forward was fused it is made again.
        let lse = match lse {
            Lse::Composed(lse) => lse.clone(),
            Lse::Fused(_) => self.attend_composed(gpu, qkv, &like(heads)?)?,
        };
        let upstream = Upstream {
            o: self.queries(heads),
            lse: self.lse(&lse),
            d_o: self.queries(d_heads),
            d_q: self.queries(&d_q),
            d_k: self.keys(&d_k),
            d_v: self.keys(&d_v),
            d_bias: None,
            d_alibi_slopes: None,
        };
        self.composed(qkv).backward(gpu, &upstream)?;
        Ok([d_q, d_k, d_v])
    }
}
