//! The kernels' host side.

use super::{Kind, OP, kind};
use crate::gpu::{AnyVariant, Bind, Binding, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{elements, elementwise_shape, expect_dtype, expect_shape};
use crate::ops::{Prepared, Request};
use crate::{DType, Result};

crate::params! {
    /// As in shaders/activation/forward.wgsl.
    struct ForwardParams { count: u32, x_base: u32, y_base: u32, padding: u32 }
}

crate::params! {
    /// As in shaders/activation/backward.wgsl.
    struct BackwardParams { count: u32, x_base: u32, d_y_base: u32, d_x_base: u32 }
}

static FORWARD: Kernel = Kernel {
    name: "activation/forward",
    source: include_str!("../../../shaders/activation/forward.wgsl"),
    params: ForwardParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

static BACKWARD: Kernel = Kernel {
    name: "activation/backward",
    source: include_str!("../../../shaders/activation/backward.wgsl"),
    params: BackwardParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::read("d_y"), Binding::write("d_x")],
};

/// Invocations of a workgroup.
const LANES: usize = 256;

fn knobs(kind: Kind) -> Knobs {
    Knobs::new().u32("LANES", LANES as u32).u32("KIND", kind as u32)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward(Kind);

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        knobs(self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backward(Kind);

impl Variant for Backward {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD
    }

    fn knobs(&self) -> Knobs {
        knobs(self.0)
    }
}

/// Every kernel variant.
pub(super) fn kernels() -> Vec<AnyVariant> {
    Kind::ALL.into_iter().flat_map(|kind| [AnyVariant::of(Forward(kind)), AnyVariant::of(Backward(kind))]).collect()
}

/// y = f(x), both f32. O(elements).
///
/// # Errors
/// [`Error::Limit`](crate::Error::Limit) for more than 2³¹ elements; [`Error::Dtype`](crate::Error::Dtype) for other types; those of
/// [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, x: &Tensor, kind: Kind) -> Result<Tensor> {
    elements(OP, "x", x.shape())?;
    expect_dtype(OP, "x", x, DType::F32)?;
    let y = gpu.empty(DType::F32, x.shape())?;
    let piece = gpu.elements_at_once(8, x.len());
    for first in (0..x.len()).step_by(piece) {
        let count = piece.min(x.len() - first);
        let (x, y) = (x.window(first, count), y.window(first, count));
        let params = ForwardParams { count: count as u32, x_base: x.base(), y_base: y.base(), padding: 0 };
        let work = Work { flops: kind.flops()[0] * count as f64, bytes: 8.0 * count as f64 };
        let groups = spread(count.div_ceil(LANES), gpu.caps());
        gpu.dispatch(Forward(kind), &params, &[Bind::Read(x), Bind::Write(y)], groups, work)?;
    }
    Ok(y)
}

/// d_x = d_y f'(x), from x and d_y, both f32 and of one shape. O(elements).
///
/// # Errors
/// As [`forward`]; [`Error::Shape`](crate::Error::Shape) for different shapes.
pub fn backward(gpu: &Gpu, x: &Tensor, d_y: &Tensor, kind: Kind) -> Result<Tensor> {
    elements(OP, "x", x.shape())?;
    expect_dtype(OP, "x", x, DType::F32)?;
    expect_dtype(OP, "d_y", d_y, DType::F32)?;
    expect_shape(OP, "d_y", d_y.shape(), x.shape())?;
    let d_x = gpu.empty(DType::F32, x.shape())?;
    let piece = gpu.elements_at_once(12, x.len());
    for first in (0..x.len()).step_by(piece) {
        let count = piece.min(x.len() - first);
        let [x, d_y, d_x] = [x, d_y, &d_x].map(|tensor| tensor.window(first, count));
        let params = BackwardParams { count: count as u32, x_base: x.base(), d_y_base: d_y.base(), d_x_base: d_x.base() };
        let work = Work { flops: kind.flops()[1] * count as f64, bytes: 12.0 * count as f64 };
        let groups = spread(count.div_ceil(LANES), gpu.caps());
        gpu.dispatch(Backward(kind), &params, &[Bind::Read(x), Bind::Read(d_y), Bind::Write(d_x)], groups, work)?;
    }
    Ok(d_x)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    elementwise_shape(OP, request)?;
    call::prepare(gpu, OP, request, apply, call::as_f32)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let kind = kind(&call.settings)?;
    let y = forward(&call.gpu, call.tensor("x")?, kind)?;
    Ok(Applied::new([("y", y)], move |d| Ok([("d_x", backward(&call.gpu, call.tensor("x")?, upstream(OP, d, "d_y")?, kind)?)])))
}
