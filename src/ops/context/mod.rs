//! What follows the scores in [`additive_attention`](super::additive_attention), [`luong_attention`](super::luong_attention) and
//! [`multi_head_attention`](super::multi_head_attention) with its probabilities, where the weights of all pairs are stored.
//!
//! ```text
//! weights_ij = exp(s_ij − m_i) / Σ_j exp(s_ij − m_i),  m_i = max_j s_ij      over the visible keys; 0 for a hidden one
//! context_i = Σ_j weights_ij values_j
//! ```
//!
//! A key is visible where the mask is not 0. What a hidden key and its value hold reaches nothing, NaN and infinities included. Queries that
//! see nothing have context and weights of 0, and give no gradients.
//!
//! Backward, for upstream gradients of context and of weights (one that is absent counts as zero):
//!
//! ```text
//! d_values_j = Σ_i weights_ij d_context_i         dW_ij = d_weights_ij + d_context_i·values_j
//! ds_ij = weights_ij (dW_ij − Σ_j weights_ij dW_ij)
//! ```

pub(crate) mod cases;
pub(crate) mod cpu;
pub(crate) mod gpu;

use super::Request;
use super::host::{elements, expect_shape, expect_upstream, misfit};
use crate::Result;

/// The sizes of queries, keys and values that fit one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequences {
    /// B: independent sequences.
    pub batch: usize,
    /// Lq: queries of a sequence.
    pub queries: usize,
    /// Lk: keys of a sequence.
    pub keys: usize,
    /// Dq: elements of a query.
    pub dim_q: usize,
    /// Dk: elements of a key.
    pub dim_k: usize,
    /// Dv: elements of a value.
    pub dim_v: usize,
}

impl Sequences {
    /// Of query `[B, Lq, Dq]`, keys `[B, Lk, Dk]`, values `[B, Lk, Dv]` and key_mask `[B, Lk]`.
    pub(crate) fn new(op: &'static str, [query, keys, values]: [&[usize]; 3], key_mask: Option<&[usize]>) -> Result<Self> {
        let &[batch, queries, dim_q] = query else { return Err(misfit(op, "query", query, "[B,Lq,Dq]")) };
        let (count, dim_k) = match *keys {
            [b, count, dim_k] if b == batch => (count, dim_k),
            _ => return Err(misfit(op, "keys", keys, format!("[{batch},Lk,Dk], with as many batches as query"))),
        };
        let dim_v = match *values {
            [b, l, dim_v] if (b, l) == (batch, count) => dim_v,
            _ => return Err(misfit(op, "values", values, format!("[{batch},{count},Dv]"))),
        };
        if let Some(mask) = key_mask {
            expect_shape(op, "key_mask", mask, &[batch, count])?;
        }
        let sizes = Sequences { batch, queries, keys: count, dim_q, dim_k, dim_v };
        let (context, weights) = (sizes.context_shape(), sizes.weights_shape());
        for (name, shape) in [("query", query), ("keys", keys), ("values", values), ("context", &context), ("weights", &weights)] {
            elements(op, name, shape)?;
        }
        Ok(sizes)
    }

    /// Of the fields B, Lq/Lk and Dq/Dk/Dv of a `--shape`.
    pub(crate) fn parse(fields: &[Vec<usize>]) -> Option<Self> {
        let [batch, seq, dims] = fields else { return None };
        let ([batch], [queries, keys], [dim_q, dim_k, dim_v]) = (each(batch)?, each(seq)?, each(dims)?);
        Some(Sequences { batch, queries, keys, dim_q, dim_k, dim_v })
    }

    /// Checks the upstream gradients of a request.
    pub(crate) fn expect_upstream(&self, op: &'static str, request: &Request) -> Result<()> {
        expect_upstream(op, request, "context", &self.context_shape())?;
        expect_upstream(op, request, "weights", &self.weights_shape())
    }

    /// `[B, Lq, Dq]`
    pub fn query_shape(&self) -> [usize; 3] {
        [self.batch, self.queries, self.dim_q]
    }

    /// `[B, Lk, Dk]`
    pub fn keys_shape(&self) -> [usize; 3] {
        [self.batch, self.keys, self.dim_k]
    }

    /// `[B, Lk, Dv]`
    pub fn values_shape(&self) -> [usize; 3] {
        [self.batch, self.keys, self.dim_v]
    }

    /// `[B, Lq, Dv]`
    pub fn context_shape(&self) -> [usize; 3] {
        [self.batch, self.queries, self.dim_v]
    }

    /// `[B, Lq, Lk]`
    pub fn weights_shape(&self) -> [usize; 3] {
        [self.batch, self.queries, self.keys]
    }

    /// Queries times keys, of all batch elements.
    pub(crate) fn pairs(&self) -> f64 {
        (self.batch * self.queries * self.keys) as f64
    }

    /// Elements of context and weights.
    pub(crate) fn output_elements(&self) -> usize {
        self.batch * self.queries * (self.dim_v + self.keys)
    }
}

/// N sizes of a field of a `--shape`: one for all of them, or one for each.
pub(crate) fn each<const N: usize>(field: &[usize]) -> Option<[usize; N]> {
    match *field {
        [size] => Some([size; N]),
        _ => field.try_into().ok(),
    }
}

/// Floating-point operations of the softmax over `pairs` and of the sum of values of `columns` elements; with `backward` those of their
/// gradients as well.
pub(crate) fn flops(pairs: f64, columns: usize, backward: bool) -> f64 {
    let sum = 2.0 * columns as f64;
    pairs * if backward { 11.0 + 3.0 * sum } else { 6.0 + sum }
}
