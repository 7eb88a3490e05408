//! The copy kernel's host side, which [`slice`](crate::ops::slice), [`concat`](crate::ops::concat) and attention take as well.

use super::tiles::{self, Matrices, Way};
use super::{OP, Problem, TransposeOptions};
use crate::gpu::{AnyVariant, Bind, Binding, Caps, Gpu, Kernel, Knobs, Params, Tensor, Variant, View, Work, spread};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_dtype, expect_float, expect_shape, floats};
use crate::ops::strided::{Dims, KERNEL_DIMS, contiguous};
use crate::ops::{Prepared, Request};
use crate::{DType, Result};

crate::params! {
    /// As in shaders/transpose/copy.wgsl.
    struct CopyParams {
        count: u32, x_base: u32, y_base: u32, given: u32, sizes: [u32; 4], x_strides: [u32; 4], y_strides: [u32; 4],
    }
}

static COPY: Kernel = Kernel {
    name: "transpose/copy",
    source: include_str!("../../../shaders/transpose/copy.wgsl"),
    params: CopyParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

/// Invocations of a workgroup.
const LANES: usize = 256;

/// A copy of tensors of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Copied {
    elem: DType,
}

impl Variant for Copied {
    fn kernel(&self) -> &'static Kernel {
        &COPY
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().dtype("elem", self.elem).u32("LANES", LANES as u32)
    }
}

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    floats(caps).iter().flat_map(|&elem| [AnyVariant::of(Copied { elem }), tiles::kernel(elem)]).collect()
}

/// What one dispatch copies.
pub(crate) struct CopyPart<'a> {
    pub x: View<'a>,
    pub y: View<'a>,
    /// Sizes, and the strides of x and y.
    pub sizes: [u32; KERNEL_DIMS],
    pub strides: [[u32; KERNEL_DIMS]; 2],
    /// Indices of the last dimension that x has; the others become 0.
    pub given: u32,
}

impl CopyPart<'_> {
    /// Records the copy of elements stored as `elem`, f32 or f16.
    pub fn run(self, gpu: &Gpu, elem: DType) -> Result<()> {
        let CopyPart { x, y, sizes, strides: [x_strides, y_strides], given } = self;
        let count: usize = sizes.iter().map(|&size| size as usize).product();
        let params = CopyParams { count: count as u32, x_base: x.base(), y_base: y.base(), given, sizes, x_strides, y_strides };
        let work = Work { flops: 0.0, bytes: 2.0 * (count * elem.bytes()) as f64 };
        gpu.dispatch(Copied { elem }, &params, &[Bind::Read(x), Bind::Write(y)], spread(count.div_ceil(LANES), gpu.caps()), work)
    }
}

/// Copies x to y, from the `start`-th elements on, over dimensions with the strides of both. The tensors are of one type, f32 or f16, and in
/// different memory, since no dispatch may read and write one buffer.
///
/// # Errors
/// [`Error::Dtype`](crate::Error::Dtype) for other types; those of [`Gpu::dispatch`].
pub(crate) fn copy(gpu: &Gpu, op: &'static str, x: &Tensor, y: &Tensor, start: [usize; 2], dims: &Dims<2>) -> Result<()> {
    expect_float(op, "x", x)?;
    let elem = x.dtype();
    expect_dtype(op, "y", y, elem)?;
    let room = gpu.caps().max_window() / elem.bytes();
    let way = gpu.pinned().unwrap_or(if gpu.caps().software { Way::Elements } else { Way::Tiles });
    dims.boxes(gpu.elements_at_once(2 * elem.bytes(), dims.count()), [room; 2], &mut |part, from| {
        let window = |of: usize| (start[of] + from[of], part.extent(of, 0, part.count()).1 + 1);
        let [(x_first, x_len), (y_first, y_len)] = [window(0), window(1)];
        let (x, y) = (x.window(x_first, x_len), y.window(y_first, y_len));
        let (sizes, strides) = part.params();
        match Matrices::of(sizes, strides).filter(|_| way == Way::Tiles) {
            Some(matrices) => matrices.copy(gpu, elem, x, y),
            None => CopyPart { x, y, sizes, strides, given: sizes[KERNEL_DIMS - 1] }.run(gpu, elem),
        }
    })
}

/// Writes 0 to all of y, which is in other memory than `other`, a tensor of its type.
///
/// # Errors
/// As [`copy`].
pub(crate) fn clear(gpu: &Gpu, y: &Tensor, other: &Tensor) -> Result<()> {
    let elem = y.dtype();
    let piece = gpu.elements_at_once(elem.bytes(), y.len());
    (0..y.len()).step_by(piece).try_for_each(|first| {
        let count = piece.min(y.len() - first);
        // One element of x is bound and not read.
        let (sizes, strides) = ([1, 1, 1, count as u32], [[0; KERNEL_DIMS], [0, 0, 0, 1]]);
        CopyPart { x: other.window(0, 1), y: y.window(first, count), sizes, strides, given: 0 }.run(gpu, elem)
    })
}

/// y: x with its dimensions in another order. x is f32 or f16, and y is as x. O(elements).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, x: &Tensor, options: &TransposeOptions) -> Result<Tensor> {
    let problem = Problem::new(x.shape(), options)?;
    expect_float(OP, "x", x)?;
    let y = gpu.empty(x.dtype(), &problem.y_shape)?;
    copy(gpu, OP, x, &y, [0, 0], &problem.dims([0, 1]))?;
    Ok(y)
}

/// d_x, in the shape `x`, from d_y (f32 or f16). O(elements).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, x: &[usize], d_y: &Tensor, options: &TransposeOptions) -> Result<Tensor> {
    let problem = Problem::new(x, options)?;
    expect_float(OP, "d_y", d_y)?;
    expect_shape(OP, "d_y", d_y.shape(), &problem.y_shape)?;
    let d_x = gpu.empty(d_y.dtype(), x)?;
    copy(gpu, OP, d_y, &d_x, [0, 0], &problem.dims([1, 0]))?;
    Ok(d_x)
}

impl Problem {
    /// The dimensions in the order of what is written, with the strides of x (0) and y (1) in this order.
    fn dims(&self, order: [usize; 2]) -> Dims<2> {
        let y_strides = contiguous(&self.y_shape, 1);
        let mut dims: Vec<(usize, [usize; 2])> =
            (0..self.y_shape.len()).map(|axis| (self.y_shape[axis], order.map(|of| [self.x_strides[axis], y_strides[axis]][of]))).collect();
        dims.sort_by_key(|&(_, [_, written])| std::cmp::Reverse(written));
        Dims::new(dims)
    }
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_f32)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = TransposeOptions::of(&call.settings)?;
    let x = call.tensor("x")?;
    let (y, shape, gpu) = (forward(&call.gpu, x, &options)?, x.shape().to_vec(), call.gpu.clone());
    Ok(Applied::new([("y", y)], move |d| Ok([("d_x", backward(&gpu, &shape, upstream(OP, d, "d_y")?, &options)?)])))
}
