//! A linear map of all rows of a tensor whose weight may be a part of a larger one, or lie transposed: what additive, Luong and multi-head
//! attention make of queries, keys and values. Masked rows may hold anything.

use super::product::{Extra, Matrices, Product};
use super::strided::Dims;
use super::sum::gpu::Reduction;
use super::{matmul, weighted_sum};
use crate::gpu::{Gpu, Tensor};
use crate::{DType, Result};

/// y = x weightᵀ + bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Projection<'a> {
    pub op: &'static str,
    /// `[.., inputs]`
    pub x: &'a Tensor,
    /// `[outputs, inputs]`
    pub weight: Matrices<'a>,
    pub outputs: usize,
    /// The tensor of the bias, and where in it the bias begins.
    pub bias: Option<(&'a Tensor, usize)>,
    /// u8, one for each row of x: 0 = hidden. The gradient of y must be 0 there; x is not used.
    pub mask: Option<&'a Tensor>,
}

/// The rows of a tensor as one matrix.
fn flat(tensor: &Tensor, columns: usize) -> Matrices<'_> {
    Matrices { tensor, start: 0, row: columns, col: 1, batch: &[] }
}

impl Projection<'_> {
    fn inputs(&self) -> usize {
        self.x.shape().last().copied().unwrap_or(1)
    }

    fn rows(&self) -> usize {
        self.x.len() / self.inputs()
    }

    fn product<'p>(&self, [m, n, k]: [usize; 3], a: Matrices<'p>, b: Matrices<'p>, y: Matrices<'p>) -> Product<'p> {
        Product { op: self.op, batch: &[], m, n, k, scale: 1.0, accumulate: false, a, b, extra: Extra::None, y }
    }

    /// `[.., outputs]`
    pub fn forward(&self, gpu: &Gpu) -> Result<Tensor> {
        let mut shape = self.x.shape().to_vec();
        shape.pop();
        shape.push(self.outputs);
        let y = gpu.empty(DType::F32, &shape)?;
        let bias = self.bias.map(|(tensor, start)| Matrices { tensor, start, row: 0, col: 1, batch: &[] });
        let (x, into) = (flat(self.x, self.inputs()), flat(&y, self.outputs));
        let product = self.product([self.rows(), self.outputs, self.inputs()], x, self.weight.transposed(), into);
        matmul::gpu::run(gpu, &Product { extra: bias.map_or(Extra::None, Extra::OfY), ..product })?;
        Ok(y)
    }

    /// The gradient of x, in its shape.
    pub fn d_x(&self, gpu: &Gpu, d_y: &Tensor) -> Result<Tensor> {
        let d_x = gpu.empty(DType::F32, self.x.shape())?;
        let (d_y, into) = (flat(d_y, self.outputs), flat(&d_x, self.inputs()));
        // y = x weightᵀ:  d_x = d_y weight
        matmul::gpu::run(gpu, &self.product([self.rows(), self.inputs(), self.outputs], d_y, self.weight, into))?;
        Ok(d_x)
    }

    /// Writes the gradient of the weight, which lies as the weight does.
    pub fn d_weight(&self, gpu: &Gpu, d_y: &Tensor, d_weight: &Tensor) -> Result<()> {
        let (x, d_y) = (flat(self.x, self.inputs()), flat(d_y, self.outputs).transposed());
        let into = Matrices { tensor: d_weight, ..self.weight };
        // y = x weightᵀ:  d_weight = d_yᵀ x
        let product = self.product([self.outputs, self.inputs(), self.rows()], d_y, x, into);
        let Some(tensor) = self.mask else { return matmul::gpu::run(gpu, &product) };
        let mask = Matrices { tensor, start: 0, row: 0, col: 1, batch: &[] };
        weighted_sum::gpu::run(gpu, &Product { extra: Extra::OfA(mask), ..product })
    }

    /// Writes the gradient of the bias, where there is one, to where it lies.
    pub fn d_bias(&self, gpu: &Gpu, d_y: &Tensor, d_bias: &Tensor) -> Result<()> {
        let Some((_, start)) = self.bias else { return Ok(()) };
        let (kept, summed) = (Dims::new([(self.outputs, [1, 1])]), Dims::new([(self.rows(), [self.outputs])]));
        Reduction { x: d_y, y: d_bias, start: [0, start], kept, summed, scale: 1.0, accumulate: false }.run(gpu)
    }
}
