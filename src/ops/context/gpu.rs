//! What follows the scores on a device: to weights and the sum of values under them, and back.

use super::Sequences;
use crate::gpu::{Gpu, Tensor};
use crate::ops::attention::composed::fill;
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::product::{Extra, Matrices, Product};
use crate::ops::softmax::{self, SoftmaxOptions};
use crate::ops::strided::contiguous;
use crate::ops::{matmul, weighted_sum};
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
    /// Of tensors with one batch dimension.
    pub fn of(op: &'static str, sizes: &'a Sequences, mask: Option<&'a Tensor>) -> Self {
        let Sequences { ref batch, queries, keys, dim_v: columns, .. } = *sizes;
        Context { op, batch: std::slice::from_ref(batch), queries, keys, columns, mask }
    }

    /// Those of scores and weights along the batch dimensions.
    fn strides(&self) -> Vec<usize> {
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
    fn product<'p>(&'p self, [m, n, k]: [usize; 3], a: Matrices<'p>, b: Matrices<'p>, y: Matrices<'p>) -> Product<'p> {
        Product { op: self.op, batch: self.batch, m, n, k, scale: 1.0, accumulate: false, a, b, extra: Extra::None, y }
    }

    /// Scores, weights or a gradient of either as matrices.
    fn matrices<'p>(&self, tensor: &'p Tensor, strides: &'p [usize]) -> Matrices<'p> {
        Matrices { tensor, start: 0, row: self.keys, col: 1, batch: strides }
    }

    /// y = a b where a has a column for each key: what is hidden of b is not used. With `turned` a has a row for each key, and what is hidden
    /// becomes 0.
    fn guarded(&self, gpu: &Gpu, product: &Product, turned: bool) -> Result<()> {
        let Some(tensor) = self.mask else { return matmul::gpu::run(gpu, product) };
        let strides = self.mask_strides();
        let mask = Matrices { tensor, start: 0, row: 0, col: 1, batch: &strides };
        let mask = if turned { mask.transposed() } else { mask };
        // Not `..*product`: the mask lives shorter than what the product reads.
        let Product { op, batch, m, n, k, scale, accumulate, a, b, y, .. } = *product;
        weighted_sum::gpu::run(gpu, &Product { op, batch, m, n, k, scale, accumulate, a, b, extra: Extra::OfA(mask), y })
    }

    /// The scores q kᵀ · scale, for q and k of `dim` columns.
    pub fn dots(&self, gpu: &Gpu, scale: f32, dim: usize, [q, k]: [Matrices; 2]) -> Result<Tensor> {
        let scores = gpu.empty(DType::F32, &[self.batch, &[self.queries, self.keys]].concat())?;
        let strides = self.strides();
        let product = self.product([self.queries, self.keys, dim], q, k.transposed(), self.matrices(&scores, &strides));
        matmul::gpu::run(gpu, &Product { scale, ..product })?;
        Ok(scores)
    }

    /// Writes the gradients of the same q and k, tensors of their own.
    pub fn dots_backward(
        &self,
        gpu: &Gpu,
        scale: f32,
        dim: usize,
        d_scores: &Tensor,
        [q, k]: [Matrices; 2],
        [d_q, d_k]: [Matrices; 2],
    ) -> Result<()> {
        let Context { queries, keys, .. } = *self;
        let strides = self.strides();
        let d_s = self.matrices(d_scores, &strides);
        // s = scale q kᵀ:  d_q = scale ds k,  d_k = scale dsᵀ q
        self.guarded(gpu, &Product { scale, ..self.product([queries, dim, keys], d_s, k, d_q) }, false)?;
        self.guarded(gpu, &Product { scale, ..self.product([keys, dim, queries], d_s.transposed(), q, d_k) }, true)
    }

    /// The weights of scores, 0 for a query that sees nothing; and writes context = weights values.
    pub fn forward(&self, gpu: &Gpu, scores: &Tensor, values: Matrices, context: Matrices) -> Result<Tensor> {
        let weights = softmax::forward(gpu, scores, self.shaped_mask()?.as_ref(), &SoftmaxOptions::default())?.y;
        let strides = self.strides();
        let Context { queries, keys, columns, .. } = *self;
        self.guarded(gpu, &self.product([queries, columns, keys], self.matrices(&weights, &strides), values, context), false)?;
        Ok(weights)
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
        let (shape, strides) = (weights.shape(), self.strides());
        let all = match (d_context, d_weights) {
            (None, Some(d_weights)) => d_weights.clone(),
            (None, None) => {
                let zeros = gpu.empty(DType::F32, shape)?;
                fill(gpu, &zeros, 0, zeros.len(), 0.0)?;
                zeros
            }
            (Some(d_context), d_weights) => {
                // context = weights values:  d_weights += d_context valuesᵀ
                let all = gpu.empty(DType::F32, shape)?;
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

    /// Checks the weights of a forward and the upstream gradients, all of which have one batch dimension.
    fn check(&self, weights: &Tensor, d_context: Option<&Tensor>, d_weights: Option<&Tensor>) -> Result<()> {
        let (of_weights, of_context) = ([self.batch[0], self.queries, self.keys], [self.batch[0], self.queries, self.columns]);
        let given = [("weights", Some(weights), of_weights), ("d_context", d_context, of_context), ("d_weights", d_weights, of_weights)];
        for (name, tensor, shape) in given {
            let Some(tensor) = tensor else { continue };
            expect_dtype(self.op, name, tensor, DType::F32)?;
            expect_shape(self.op, name, tensor.shape(), &shape)?;
        }
        Ok(())
    }

    /// [`forward`](Self::forward) of values `[batch, keys, columns]`: context `[batch, queries, columns]` and weights `[batch, queries, keys]`.
    pub fn attend(&self, gpu: &Gpu, scores: &Tensor, values: &Tensor) -> Result<[Tensor; 2]> {
        let context = gpu.empty(DType::F32, &[self.batch[0], self.queries, self.columns])?;
        let weights = self.forward(gpu, scores, rows(values, &stride(values)), rows(&context, &stride(&context)))?;
        Ok([context, weights])
    }

    /// [`backward`](Self::backward) of the same: the gradients of scores and values.
    pub fn attend_backward(
        &self,
        gpu: &Gpu,
        weights: &Tensor,
        values: &Tensor,
        d_context: Option<&Tensor>,
        d_weights: Option<&Tensor>,
    ) -> Result<[Tensor; 2]> {
        self.check(weights, d_context, d_weights)?;
        let d_values = gpu.empty(DType::F32, values.shape())?;
        let (of_values, of_context) = (stride(values), [self.queries * self.columns]);
        let d_context = d_context.map(|d_context| rows(d_context, &of_context));
        let d_scores = self.backward(gpu, weights, [rows(values, &of_values), rows(&d_values, &of_values)], d_context, d_weights)?;
        Ok([d_scores, d_values])
    }
}
