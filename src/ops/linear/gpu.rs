//! The layer on a device: products of the flattened input, and no kernel of its own.

use super::{OP, Problem};
use crate::Result;
use crate::gpu::{Gpu, Tensor};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::expect_shape;
use crate::ops::matmul::{self, MatmulOptions};
use crate::ops::{Prepared, Request, sum};

/// The gradients of a linear layer, f32.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// In x's shape.
    pub d_x: Tensor,
    /// `[O, I]`
    pub d_weight: Tensor,
    /// `[O]`, when there is a bias.
    pub d_bias: Option<Tensor>,
}

/// y `[.., O]` = x weightᵀ + bias, f32. x `[.., I]` and weight `[O, I]` are f32 or f16, the bias `[O]` is f32. O(rows · I · O).
///
/// # Errors
/// As [`Problem::new`] and [`matmul::forward`].
pub fn forward(gpu: &Gpu, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let problem = Problem::new(x.shape(), weight.shape(), bias.map(Tensor::shape))?;
    let options = MatmulOptions { trans_b: true, ..Default::default() };
    let x = x.reshape(&[problem.rows, problem.inputs])?;
    matmul::forward(gpu, &x, weight, bias, &options)?.reshape(&problem.y_shape)
}

/// The gradients of x, weight and, with `bias`, of the bias, from d_y `[.., O]`. O(rows · I · O).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, x: &Tensor, weight: &Tensor, bias: bool, d_y: &Tensor) -> Result<Gradients> {
    let problem = Problem::new(x.shape(), weight.shape(), None)?;
    expect_shape(OP, "d_y", d_y.shape(), &problem.y_shape)?;
    let x_flat = x.reshape(&[problem.rows, problem.inputs])?;
    let d_y = d_y.reshape(&[problem.rows, problem.outputs])?;
    // y = x weightᵀ:  d_x = d_y weight, d_weight = d_yᵀ x
    let d_x = matmul::forward(gpu, &d_y, weight, None, &MatmulOptions::default())?.reshape(x.shape())?;
    let d_weight = matmul::forward(gpu, &d_y, &x_flat, None, &MatmulOptions { trans_a: true, ..Default::default() })?;
    let d_bias = if bias { Some(sum::rows(gpu, &d_y, problem.outputs)?) } else { None };
    Ok(Gradients { d_x, d_weight, d_bias })
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_it_is)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let y = forward(&call.gpu, call.tensor("x")?, call.tensor("weight")?, call.optional("bias"))?;
    Ok(Applied::new([("y", y)], move |d| {
        let bias = call.optional("bias").is_some();
        let d = backward(&call.gpu, call.tensor("x")?, call.tensor("weight")?, bias, upstream(OP, d, "d_y")?)?;
        Ok([("d_x", Some(d.d_x)), ("d_weight", Some(d.d_weight)), ("d_bias", d.d_bias)])
    }))
}
