//! The kernel's host side.

use super::{DropoutOptions, OP};
use crate::gpu::{AnyVariant, Bind, Binding, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{elements, elementwise_shape, expect_dtype};
use crate::ops::philox::drop_threshold;
use crate::ops::{Prepared, Request};
use crate::{DType, Result};

crate::params! {
    /// As in shaders/dropout/forward.wgsl.
    struct DropoutParams {
        count: u32, x_base: u32, y_base: u32, first_low: u32, first_high: u32, seed_low: u32, seed_high: u32, threshold: u32,
        keep_scale: f32, padding_0: u32, padding_1: u32, padding_2: u32,
    }
}

static FORWARD: Kernel = Kernel {
    name: "dropout/forward",
    source: include_str!("../../../shaders/dropout/forward.wgsl"),
    params: DropoutParams::FIELDS,
    bindings: &[Binding::read("x").unless("IN_PLACE"), Binding::write("y")],
};

/// Invocations of a workgroup, and elements of each.
const LANES: usize = 256;
const EACH: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward {
    in_place: bool,
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES as u32).flag("IN_PLACE", self.in_place)
    }
}

/// Every kernel variant.
pub(super) fn kernels() -> [AnyVariant; 2] {
    [false, true].map(|in_place| AnyVariant::of(Forward { in_place }))
}

/// y from x (f32): some elements 0, the others x / (1 - p). O(elements).
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for a p outside 0 <= p < 1; [`Error::Limit`](crate::Error::Limit) for more than 2³¹ elements;
/// [`Error::Dtype`](crate::Error::Dtype) for other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, x: &Tensor, options: &DropoutOptions) -> Result<Tensor> {
    options.check()?;
    elements(OP, "x", x.shape())?;
    expect_dtype(OP, "x", x, DType::F32)?;
    let y = gpu.empty(DType::F32, x.shape())?;
    run(gpu, Some(x), &y, options, 0)?;
    Ok(y)
}

/// d_x from d_y (f32): the same elements 0, the others d_y / (1 - p). O(elements).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, d_y: &Tensor, options: &DropoutOptions) -> Result<Tensor> {
    forward(gpu, d_y, options)
}

/// The same on x (f32) itself, whose first element has the number `first` in the seed's random words.
///
/// # Errors
/// As [`forward`].
pub(crate) fn in_place(gpu: &Gpu, x: &Tensor, options: &DropoutOptions, first: u64) -> Result<()> {
    run(gpu, None, x, options, first)
}

fn run(gpu: &Gpu, x: Option<&Tensor>, y: &Tensor, options: &DropoutOptions, first: u64) -> Result<()> {
    let room = gpu.elements_at_once(8, y.len());
    for start in (0..y.len()).step_by(room) {
        let count = room.min(y.len() - start);
        let (x, y) = (x.map(|x| x.window(start, count)), y.window(start, count));
        let element = first + start as u64;
        let params = DropoutParams {
            count: count as u32,
            x_base: x.map_or(0, |x| x.base()),
            y_base: y.base(),
            first_low: element as u32,
            first_high: (element >> 32) as u32,
            seed_low: options.seed as u32,
            seed_high: (options.seed >> 32) as u32,
            threshold: drop_threshold(options.p),
            keep_scale: 1.0 / (1.0 - options.p),
            padding_0: 0,
            padding_1: 0,
            padding_2: 0,
        };
        let work = Work { flops: count as f64, bytes: 8.0 * count as f64 };
        // The first element may be in the middle of a counter's.
        let quads = (count + (element % EACH as u64) as usize).div_ceil(EACH);
        let binds = [Bind::maybe(x), Bind::Write(y)];
        gpu.dispatch(Forward { in_place: x.is_none() }, &params, &binds, spread(quads.div_ceil(LANES), gpu.caps()), work)?;
    }
    Ok(())
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    elementwise_shape(OP, request)?;
    call::prepare(gpu, OP, request, apply, call::as_f32)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = DropoutOptions::of(&call.settings)?;
    let y = forward(&call.gpu, call.tensor("x")?, &options)?;
    let gpu = call.gpu;
    Ok(Applied::new([("y", y)], move |d| Ok([("d_x", backward(&gpu, upstream(OP, d, "d_y")?, &options)?)])))
}
