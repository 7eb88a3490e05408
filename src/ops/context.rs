//! The second half of attention where its weights are stored: from scores to weights and the sum of values under them, and back, with
//! the gradients of both. Shared by additive, Luong and multi-head attention.

use super::attention::composed::fill;
use super::product::{Extra, Matrices, Product};
use super::softmax::{self, SoftmaxOptions};
use super::strided::contiguous;
use super::{matmul, weighted_sum};
use crate::gpu::{Gpu, Tensor};
use crate::{DType, Result};

/// Queries against keys, with the keys that a mask hides the same for all queries of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub op: &'static str,
    /// `[batch]` or `[batch, heads]`
    pub batch: &'a [usize],
    pub queries: usize,
    pub keys: usize,
    /// Elements of a value.
    pub columns: usize,
    /// u8 `[batch, keys]`, 0 = hidden.
    pub mask: Option<&'a Tensor>,
}

/// From one batch element of `[batch, rows, columns]` to the next.
pub(crate) fn stride(tensor: &Tensor) -> [usize; 1] {
    [tensor.shape()[1..].iter().product()]
}

/// The rows of `[batch, rows, columns]`.
pub(crate) fn rows<'a>(tensor: &'a Tensor, stride: &'a [usize; 1]) -> Matrices<'a> {
    Matrices { tensor, start: 0, row: tensor.shape()[2], col: 1, batch: stride }
}

impl<'a> Context<'a> {
    /// The shape of scores and weights.
    fn shape(&self) -> Vec<usize> {
        [self.batch, &[self.queries, self.keys]].concat()
    }

    /// Those of scores and weights along the batch dimensions.
    pub fn strides(&self) -> Vec<usize> {
        contiguous(self.batch, self.queries * self.keys)
    }

    /// The mask's strides along the batch dimensions: it has no heads.
    fn mask_strides(&self) -> Vec<usize> {
        (0..self.batch.len()).map(|axis| if axis == 0 { self.keys } else { 0 }).collect()
    }

    /// The mask in a shape that broadcasts to that of the scores.
    fn shaped_mask(&self) -> Result<Option<Tensor>> {
        let shape = [&self.batch[..1], &vec![1; self.batch.len()], &[self.keys]].concat();
        self.mask.map(|mask| mask.reshape(&shape)).transpose()
    }

    /// A product of matrices of these batches.
    pub fn product<'p>(&'p self, [m, n, k]: [usize; 3], a: Matrices<'p>, b: Matrices<'p>, y: Matrices<'p>) -> Product<'p> {
        Product { op: self.op, batch: self.batch, m, n, k, scale: 1.0, accumulate: false, a, b, extra: Extra::None, y }
    }

    /// Scores, weights or a gradient of either as matrices.
    pub fn matrices<'p>(&self, tensor: &'p Tensor, strides: &'p [usize]) -> Matrices<'p> {
        Matrices { tensor, start: 0, row: self.keys, col: 1, batch: strides }
    }

    /// y = a b where a has a column for each key: what is hidden of b is not used. With `turned` a has a row for each key, and what is hidden
    /// becomes 0.
    pub fn guarded(&self, gpu: &Gpu, product: &Product, turned: bool) -> Result<()> {
        let Some(tensor) = self.mask else { return matmul::gpu::run(gpu, product) };
        let strides = self.mask_strides();
        let mask = Matrices { tensor, start: 0, row: 0, col: 1, batch: &strides };
        let mask = if turned { mask.transposed() } else { mask };
        // Not `..*product`: the mask lives shorter than what the product reads.
        let Product { op, batch, m, n, k, scale, accumulate, a, b, y, .. } = *product;
        weighted_sum::gpu::run(gpu, &Product { op, batch, m, n, k, scale, accumulate, a, b, extra: Extra::OfA(mask), y })
    }

    /// The weights of scores: softmax over the visible keys, 0 for a query that sees none.
    pub fn weights(&self, gpu: &Gpu, scores: &Tensor) -> Result<Tensor> {
        Ok(softmax::forward(gpu, scores, self.shaped_mask()?.as_ref(), &SoftmaxOptions::default())?.y)
    }

    /// Writes context = weights values.
    pub fn sum(&self, gpu: &Gpu, weights: &Tensor, values: Matrices, context: Matrices) -> Result<()> {
        let strides = self.strides();
        let weights = self.matrices(weights, &strides);
        let Context { queries, keys, columns, .. } = *self;
        self.guarded(gpu, &self.product([queries, columns, keys], weights, values, context), false)
    }

    /// The gradient of the scores; and writes that of the values, a tensor of its own. An upstream gradient that is absent counts as zero.
    pub fn backward(
        &self,
        gpu: &Gpu,
        weights: &Tensor,
        [values, d_values]: [Matrices; 2],
        d_context: Option<Matrices>,
        d_weights: Option<&Tensor>,
    ) -> Result<Tensor> {
        let Context { queries, keys, columns, .. } = *self;
        let (shape, strides) = (self.shape(), self.strides());
        let all = match (d_context, d_weights) {
            (None, Some(d_weights)) => d_weights.clone(),
            (None, None) => {
                let zeros = gpu.empty(DType::F32, &shape)?;
                fill(gpu, &zeros, 0, zeros.len(), 0.0)?;
                zeros
            }
            (Some(d_context), d_weights) => {
                // context = weights values:  d_weights += d_context valuesᵀ
                let all = gpu.empty(DType::F32, &shape)?;
                let extra = d_weights.map_or(Extra::None, |upstream| Extra::OfY(self.matrices(upstream, &strides)));
                let product = self.product([queries, keys, columns], d_context, values.transposed(), self.matrices(&all, &strides));
                matmul::gpu::run(gpu, &Product { extra, ..product })?;
                all
            }
        };
        match d_context {
            None => fill(gpu, d_values.tensor, 0, d_values.tensor.len(), 0.0)?,
            Some(d_context) => {
                // context = weights values:  d_values = weightsᵀ d_context
                let weights = self.matrices(weights, &strides).transposed();
                self.guarded(gpu, &self.product([keys, columns, queries], weights, d_context, d_values), true)?;
            }
        }
        softmax::backward(gpu, weights, self.shaped_mask()?.as_ref(), &all, &SoftmaxOptions::default())
    }
}
