//! Copies between a tensor and its parts: transpose's kernel.

use super::{OP, PARTS, Problem, axis};
use crate::Result;
use crate::gpu::{Gpu, Tensor};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_dtype, expect_float, expect_shape};
use crate::ops::strided::Dims;
use crate::ops::transpose::gpu::copy;
use crate::ops::{Prepared, Request};

impl Problem {
    /// The dimensions of tensor n, with its own strides (0) and those of the whole (1) in this order.
    fn dims(&self, n: usize, order: [usize; 2]) -> Dims<2> {
        let (inner, part, whole) = (self.inner(), self.sizes[n], self.shape[self.axis]);
        let outer = self.shape[..self.axis].iter().product();
        let dims = [(outer, [part * inner, whole * inner]), (part * inner, [1, 1])];
        Dims::new(dims.map(|(size, strides)| (size, order.map(|of| strides[of]))))
    }
}

/// y: the tensors one behind the other in dimension `axis`. All are f32, or all f16, and so is y. O(elements of y), a dispatch for
/// each tensor.
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, parts: &[Tensor], axis: isize) -> Result<Tensor> {
    let problem = Problem::new(&parts.iter().map(Tensor::shape).collect::<Vec<_>>(), axis)?;
    let dtype = parts[0].dtype();
    expect_float(OP, "x0", &parts[0])?;
    parts.iter().enumerate().try_for_each(|(n, part)| expect_dtype(OP, &format!("x{n}"), part, dtype))?;
    let y = gpu.empty(dtype, &problem.shape)?;
    for (n, (part, start)) in parts.iter().zip(problem.starts()).enumerate() {
        copy(gpu, OP, part, &y, [0, start * problem.inner()], &problem.dims(n, [0, 1]))?;
    }
    Ok(y)
}

/// The gradients of tensors of these shapes, from d_y (f32 or f16). O(elements of y), a dispatch for each tensor.
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, parts: &[&[usize]], axis: isize, d_y: &Tensor) -> Result<Vec<Tensor>> {
    let problem = Problem::new(parts, axis)?;
    expect_float(OP, "d_y", d_y)?;
    expect_shape(OP, "d_y", d_y.shape(), &problem.shape)?;
    let gradient = |(n, start): (usize, usize)| {
        let d_x = gpu.empty(d_y.dtype(), parts[n])?;
        copy(gpu, OP, d_y, &d_x, [start * problem.inner(), 0], &problem.dims(n, [1, 0]))?;
        Ok(d_x)
    };
    problem.starts().enumerate().map(gradient).collect()
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_f32)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let axis = axis(&call.settings)?;
    let parts: Vec<Tensor> = (0..call.tensors.len()).map(|n| call.tensor(&format!("{}{n}", PARTS.name)).cloned()).collect::<Result<_>>()?;
    let y = forward(&call.gpu, &parts, axis)?;
    let shapes: Vec<Vec<usize>> = parts.iter().map(|part| part.shape().to_vec()).collect();
    let gpu = call.gpu;
    Ok(Applied::new([("y", y)], move |d| {
        let gradients = backward(&gpu, &shapes.iter().map(Vec::as_slice).collect::<Vec<_>>(), axis, upstream(OP, d, "d_y")?)?;
        Ok(gradients.into_iter().enumerate().map(|(n, d_x)| (format!("d_x{n}"), d_x)))
    }))
}
