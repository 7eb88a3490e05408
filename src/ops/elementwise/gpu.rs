//! The kernel's host side.

use super::{Kind, OP, Problem, kind};
use crate::gpu::{AnyVariant, Bind, Binding, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::ops::broadcast;
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::strided::{Dims, contiguous};
use crate::ops::sum::gpu::Reduction;
use crate::ops::{Prepared, Request};
use crate::{DType, Result};

crate::params! {
    /// As in shaders/elementwise/forward.wgsl.
    struct ForwardParams {
        count: u32, dense: u32, a_base: u32, b_base: u32, y_base: u32, padding_0: u32, padding_1: u32, padding_2: u32,
        sizes: [u32; 4], a_strides: [u32; 4], b_strides: [u32; 4], y_strides: [u32; 4],
    }
}

static FORWARD: Kernel = Kernel {
    name: "elementwise/forward",
    source: include_str!("../../../shaders/elementwise/forward.wgsl"),
    params: ForwardParams::FIELDS,
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::write("y")],
};

/// Invocations of a workgroup.
const LANES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward {
    multiply: bool,
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES as u32).bool("MULTIPLY", self.multiply)
    }
}

/// Every kernel variant.
pub(super) fn kernels() -> [AnyVariant; 2] {
    [false, true].map(|multiply| AnyVariant::of(Forward { multiply }))
}

/// The gradients, f32.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// In a's shape. Of a sum, where a was not repeated, it is d_y itself and no copy.
    pub d_a: Tensor,
    /// In b's shape; likewise.
    pub d_b: Tensor,
}

/// a + b or a · b, both f32, broadcast. O(elements of y).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, a: &Tensor, b: &Tensor, kind: Kind) -> Result<Tensor> {
    let problem = Problem::new(a.shape(), b.shape())?;
    expect_dtype(OP, "a", a, DType::F32)?;
    expect_dtype(OP, "b", b, DType::F32)?;
    let shape = &problem.shape;
    let y = gpu.empty(DType::F32, shape)?;
    let own = contiguous(shape, 1);
    let dims = Dims::new((0..shape.len()).map(|axis| (shape[axis], [problem.a_strides[axis], problem.b_strides[axis], own[axis]])));
    let room = gpu.caps().max_window() / DType::F32.bytes();
    dims.boxes(gpu.elements_at_once(12, dims.count()), [room; 3], &mut |part, start| {
        let count = part.count();
        let window = |tensor: usize, of: &'static str| (start[tensor], part.extent(tensor, 0, count).1 + 1, of);
        let [a_at, b_at, y_at] = [window(0, "a"), window(1, "b"), window(2, "y")];
        let (a, b, y) = (a.window(a_at.0, a_at.1), b.window(b_at.0, b_at.1), y.window(y_at.0, y_at.1));
        let (sizes, [a_strides, b_strides, y_strides]) = part.params();
        let params = ForwardParams {
            count: count as u32,
            dense: (0..3).map(|tensor| u32::from(part.is_dense(tensor)) << tensor).sum(),
            a_base: a.base(),
            b_base: b.base(),
            y_base: y.base(),
            padding_0: 0,
            padding_1: 0,
            padding_2: 0,
            sizes,
            a_strides,
            b_strides,
            y_strides,
        };
        let binds = [Bind::Read(a), Bind::Read(b), Bind::Write(y)];
        let work = Work { flops: count as f64, bytes: Bind::bytes(&binds) };
        gpu.dispatch(Forward { multiply: kind == Kind::Mul }, &params, &binds, spread(count.div_ceil(LANES), gpu.caps()), work)
    })?;
    Ok(y)
}

/// The gradients of a and b, from what the forward took and d_y (f32). O(elements of y).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, a: &Tensor, b: &Tensor, d_y: &Tensor, kind: Kind) -> Result<Gradients> {
    let problem = Problem::new(a.shape(), b.shape())?;
    expect_dtype(OP, "d_y", d_y, DType::F32)?;
    expect_shape(OP, "d_y", d_y.shape(), &problem.shape)?;
    let d_y = d_y.reshape(&problem.shape)?;
    let gradient = |own: &Tensor, other: &Tensor| match kind {
        // y = a + b:  d_a = d_y
        Kind::Add => unbroadcast(gpu, &d_y, own.shape()),
        // y = a b:  d_a = d_y b
        Kind::Mul => unbroadcast(gpu, &forward(gpu, &d_y, other, kind)?, own.shape()),
    };
    Ok(Gradients { d_a: gradient(a, b)?, d_b: gradient(b, a)? })
}

/// The sums over what repeats a tensor of `shape`, which broadcasts to x's.
fn unbroadcast(gpu: &Gpu, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if shape.iter().product::<usize>() == x.len() {
        return x.reshape(shape);
    }
    let into = x.shape();
    let Some(strides) = broadcast::strides(shape, into) else { unreachable!("checked by the problem") };
    let own = contiguous(into, 1);
    let y = gpu.empty(DType::F32, shape)?;
    let axes = |repeated: bool| (0..into.len()).filter(|&axis| (strides[axis] == 0) == repeated).collect::<Vec<_>>();
    let kept = Dims::new(axes(false).into_iter().map(|axis| (into[axis], [own[axis], strides[axis]])));
    let summed = Dims::new(axes(true).into_iter().map(|axis| (into[axis], [own[axis]])));
    Reduction { x, y: &y, start: [0, 0], kept, summed, scale: 1.0, accumulate: false }.run(gpu)?;
    Ok(y)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_f32)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let kind = kind(&call.settings)?;
    let y = forward(&call.gpu, call.tensor("a")?, call.tensor("b")?, kind)?;
    Ok(Applied::new([("y", y)], move |d| {
        let Gradients { d_a, d_b } = backward(&call.gpu, call.tensor("a")?, call.tensor("b")?, upstream(OP, d, "d_y")?, kind)?;
        Ok([("d_a", d_a), ("d_b", d_b)])
    }))
}
