//! Copies between a tensor and some of its indices: transpose's kernel.

use super::{OP, Problem, SliceOptions};
use crate::Result;
use crate::gpu::{Gpu, Tensor};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_float, expect_shape};
use crate::ops::strided::Dims;
use crate::ops::transpose::gpu::{clear, copy};
use crate::ops::{Prepared, Request};

impl Problem {
    /// Elements of what is behind the axis.
    fn inner(&self) -> usize {
        self.x_shape[self.axis + 1..].iter().product()
    }

    /// The first element of x that is taken.
    fn first(&self) -> usize {
        self.start * self.inner()
    }

    /// The dimensions of y, with the strides of x (0) and y (1) in this order.
    fn dims(&self, order: [usize; 2]) -> Dims<2> {
        let (inner, [x, y]) = (self.inner(), [&self.x_shape, &self.y_shape].map(|shape| shape[self.axis]));
        let outer = self.x_shape[..self.axis].iter().product();
        let dims = [(outer, [x * inner, y * inner]), (y, [self.step * inner, inner]), (inner, [1, 1])];
        Dims::new(dims.map(|(size, strides)| (size, order.map(|of| strides[of]))))
    }
}

/// y: the indices of one dimension of x. x is f32 or f16, and y is as x. O(elements of y).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, x: &Tensor, options: &SliceOptions) -> Result<Tensor> {
    let problem = Problem::new(x.shape(), options)?;
    expect_float(OP, "x", x)?;
    let y = gpu.empty(x.dtype(), &problem.y_shape)?;
    copy(gpu, OP, x, &y, [problem.first(), 0], &problem.dims([0, 1]))?;
    Ok(y)
}

/// d_x, in the shape `x`, from d_y (f32 or f16). O(elements of x).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, x: &[usize], d_y: &Tensor, options: &SliceOptions) -> Result<Tensor> {
    let problem = Problem::new(x, options)?;
    expect_float(OP, "d_y", d_y)?;
    expect_shape(OP, "d_y", d_y.shape(), &problem.y_shape)?;
    let d_x = gpu.empty(d_y.dtype(), x)?;
    if problem.y_shape != problem.x_shape {
        clear(gpu, &d_x, d_y)?;
    }
    copy(gpu, OP, d_y, &d_x, [0, problem.first()], &problem.dims([1, 0]))?;
    Ok(d_x)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_f32)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = SliceOptions::of(&call.settings)?;
    let x = call.tensor("x")?;
    let (y, shape, gpu) = (forward(&call.gpu, x, &options)?, x.shape().to_vec(), call.gpu.clone());
    Ok(Applied::new([("y", y)], move |d| Ok([("d_x", backward(&gpu, &shape, upstream(OP, d, "d_y")?, &options)?)])))
}
