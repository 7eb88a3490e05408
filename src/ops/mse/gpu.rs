//! The kernels' host side.

use super::{OP, Problem};
use crate::gpu::{AnyVariant, Bind, Binding, Gpu, Kernel, Knobs, Tensor, Variant, Work};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::loss::elements::{ElementParams, Elements, FIELDS, LANES, record};
use crate::ops::loss::{self, Reduction};
use crate::ops::{Prepared, Request};
use crate::{DType, Result};

static FORWARD: Kernel = Kernel {
    name: "mse/forward",
    source: include_str!("../../../shaders/mse/forward.wgsl"),
    params: FIELDS,
    bindings: &[Binding::read("x"), Binding::read("targets"), Binding::write("loss")],
};

static BACKWARD: Kernel = Kernel {
    name: "mse/backward",
    source: include_str!("../../../shaders/mse/backward.wgsl"),
    params: FIELDS,
    bindings: &[Binding::read("x"), Binding::read("targets"), Binding::read("d_loss"), Binding::write("d_x"), Binding::write("d_targets")],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward {
    terms: bool,
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES).bool("TERMS", self.terms)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backward;

impl Variant for Backward {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES)
    }
}

/// Every kernel variant.
pub(super) fn kernels() -> Vec<AnyVariant> {
    let forward = [false, true].map(|terms| AnyVariant::of(Forward { terms }));
    forward.into_iter().chain([AnyVariant::of(Backward)]).chain(loss::kernels()).collect()
}

/// The loss of x against target, f32 tensors of one shape: `[]`, or that shape with [`Reduction::None`]. O(elements of x).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, x: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let problem = Problem::new(x.shape(), target.shape(), reduction)?;
    check_types(x, target)?;
    let variant = Forward { terms: reduction == Reduction::None };
    Elements::new(OP, &problem.shape, [None, None]).loss(gpu, &problem.shape, reduction, |piece, loss| {
        let [x, targets] = [x, target].map(|t| t.window(piece.first, piece.count));
        let params = ElementParams { x_base: x.base(), targets_base: targets.base(), loss_base: loss.base(), ..piece.params };
        let binds = [Bind::Read(x), Bind::Read(targets), Bind::Write(loss)];
        record(gpu, variant, params, &binds, Work { flops: 3.0, bytes: 8.0 })
    })
}

/// What a backward returns.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// In x's shape.
    pub d_x: Tensor,
    /// In target's shape: -d_x.
    pub d_target: Tensor,
}

/// The gradients of x and target, from d_loss in the shape of the loss (for a scalar `[1]` as well). O(elements of x).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, x: &Tensor, target: &Tensor, d_loss: &Tensor, reduction: Reduction) -> Result<Gradients> {
    let problem = Problem::new(x.shape(), target.shape(), reduction)?;
    check_types(x, target)?;
    expect_dtype(OP, "d_loss", d_loss, DType::F32)?;
    expect_shape(OP, "d_loss", d_loss.shape(), &problem.loss_shape())?;
    let empty = || gpu.empty(DType::F32, &problem.shape);
    let gradients = Gradients { d_x: empty()?, d_target: empty()? };
    Elements::new(OP, &problem.shape, [None, None]).gradients(gpu, d_loss, reduction, |piece, d_loss| {
        let all = [x, target, &gradients.d_x, &gradients.d_target];
        let [x, targets, d_x, d_targets] = all.map(|t| t.window(piece.first, piece.count));
        let params = ElementParams {
            x_base: x.base(),
            targets_base: targets.base(),
            d_x_base: d_x.base(),
            d_targets_base: d_targets.base(),
            ..piece.params
        };
        let binds = [Bind::Read(x), Bind::Read(targets), Bind::Read(d_loss), Bind::Write(d_x), Bind::Write(d_targets)];
        record(gpu, Backward, params, &binds, Work { flops: 4.0, bytes: 16.0 })
    })?;
    Ok(gradients)
}

fn check_types(x: &Tensor, target: &Tensor) -> Result<()> {
    expect_dtype(OP, "x", x, DType::F32)?;
    expect_dtype(OP, "target", target, DType::F32)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_it_is)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let reduction = Reduction::of(OP, &call.settings)?;
    let loss = forward(&call.gpu, call.tensor("x")?, call.tensor("target")?, reduction)?;
    Ok(Applied::new([("loss", loss)], move |d| {
        let d_loss = upstream(OP, d, "d_loss")?;
        let Gradients { d_x, d_target } = backward(&call.gpu, call.tensor("x")?, call.tensor("target")?, d_loss, reduction)?;
        Ok([("d_x", d_x), ("d_target", d_target)])
    }))
}
