//! The kernels' host side.

use super::{OP, Problem, SumOptions};
use crate::gpu::{AnyVariant, Bind, Binding, Caps, Choice, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::floats;
use crate::ops::host::{expect_dtype, expect_float, expect_shape};
use crate::ops::strided::Dims;
use crate::ops::{Prepared, Request, Tuning};
use crate::{DType, Error, Result};

crate::params! {
    /// As in shaders/sum/forward.wgsl.
    struct ForwardParams {
        outputs: u32, terms: u32, accumulate: u32, scale: f32, x_base: u32, y_base: u32, padding_0: u32, padding_1: u32,
        kept: [u32; 4], x_kept: [u32; 4], y_kept: [u32; 4], summed: [u32; 4], x_summed: [u32; 4],
    }
}

crate::params! {
    /// As in shaders/sum/backward.wgsl.
    struct BackwardParams { count: u32, first: u32, d_y_base: u32, d_x_base: u32, sizes: [u32; 4], strides: [u32; 4] }
}

static FORWARD: Kernel = Kernel {
    name: "sum/forward",
    source: include_str!("../../../shaders/sum/forward.wgsl"),
    params: ForwardParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

static BACKWARD: Kernel = Kernel {
    name: "sum/backward",
    source: include_str!("../../../shaders/sum/backward.wgsl"),
    params: BackwardParams::FIELDS,
    bindings: &[Binding::read("d_y"), Binding::write("d_x")],
};

/// Invocations of a workgroup, in both kernels.
const LANES: usize = 256;

/// Outputs of a workgroup; the invocations of each output share its terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Width(u32);

const WIDTHS: [Width; 3] = [Width(1), Width(16), Width(256)];

/// By the terms of a sum.
impl Choice for Width {
    const NAME: &'static str = "width";

    fn all(_caps: &Caps) -> Vec<(String, Self)> {
        WIDTHS.map(|width| (format!("width={}", width.0), width)).into()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward {
    x: DType,
    width: Width,
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().dtype("elem_x", self.x).u32("LANES", LANES as u32).u32("WIDTH", self.width.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backward;

impl Variant for Backward {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES as u32)
    }
}

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    let forward = floats(caps).iter().flat_map(|&x| WIDTHS.map(|width| AnyVariant::of(Forward { x, width })));
    forward.chain([AnyVariant::of(Backward)]).collect()
}

/// The default, then every width pinned.
pub(super) fn tunings(caps: &Caps) -> Vec<Tuning> {
    Tuning::all::<Width>(caps)
}

/// Many invocations for each output where there are many terms; neighbouring outputs in one workgroup where those are neighbours in memory.
fn choose(gpu: &Gpu, outputs: usize, terms: usize, terms_are_neighbours: bool) -> Width {
    gpu.pinned().unwrap_or(match (terms, outputs) {
        (..16, LANES..) => Width(256),
        (_, 16..) if !terms_are_neighbours => Width(16),
        _ => Width(1),
    })
}

/// y = scale · Σ x, or y += scale · Σ x, through strides.
#[derive(Clone, Debug)]
pub(crate) struct Reduction<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
    /// The first elements of x and y.
    pub start: [usize; 2],
    /// What is kept, with the strides of x and y.
    pub kept: Dims<2>,
    /// What is summed over, with the stride of x.
    pub summed: Dims<1>,
    pub scale: f32,
    pub accumulate: bool,
}

impl Reduction<'_> {
    /// Records the sum. What one binding cannot hold is cut in halves.
    pub fn run(&self, gpu: &Gpu) -> Result<()> {
        let (kept_outer, kept) = self.kept.split();
        let (summed_outer, summed) = self.summed.split();
        for i in 0..kept_outer.count() {
            for t in 0..summed_outer.count() {
                let ([x, y], [term]) = (kept_outer.offsets(i), summed_outer.offsets(t));
                let start = [self.start[0] + x + term, self.start[1] + y];
                let part = Reduction { start, kept: kept.clone(), summed: summed.clone(), accumulate: self.accumulate || t > 0, ..*self };
                let width = choose(gpu, kept.count(), summed.count(), summed.last_stride(0) == Some(1));
                part.cut(gpu, width)?;
            }
        }
        Ok(())
    }

    /// The width is that of the whole: it decides the order in which the terms are added.
    fn cut(&self, gpu: &Gpu, width: Width) -> Result<()> {
        let caps = gpu.caps();
        let (x, y) = self.windows();
        let too_large = |tensor: &Tensor, count: usize| count * tensor.dtype().bytes() > caps.max_window();
        let kept_half = |tensor: usize| {
            let Some(axis) = self.kept.widest(tensor) else { return Err(self.limit(gpu)) };
            let (low, high, [x, y]) = self.kept.halves(axis);
            Reduction { kept: low, ..self.clone() }.cut(gpu, width)?;
            Reduction { kept: high, start: [self.start[0] + x, self.start[1] + y], ..self.clone() }.cut(gpu, width)
        };
        let (work, workgroups) = self.work(width);
        if too_large(self.y, y) || (self.kept.count() > 1 && gpu.share(work, workgroups) > 1.0) {
            return kept_half(1);
        }
        let rounds = self.summed.count() / (LANES / width.0 as usize);
        let too_long = caps.max_rounds.is_some_and(|max| rounds >= max as usize / 2);
        if !too_large(self.x, x) && !too_long {
            return self.dispatch(gpu, width, x, y);
        }
        if !too_long && self.kept.longest(0) >= self.summed.longest(0) {
            return kept_half(0);
        }
        let Some(axis) = self.summed.widest(0) else { return Err(self.limit(gpu)) };
        let (low, high, [x]) = self.summed.halves(axis);
        Reduction { summed: low, ..self.clone() }.cut(gpu, width)?;
        Reduction { summed: high, start: [self.start[0] + x, self.start[1]], accumulate: true, ..self.clone() }.cut(gpu, width)
    }

    /// The elements of x and of y that are reached.
    fn windows(&self) -> (usize, usize) {
        let (_, kept) = self.kept.extent(0, 0, self.kept.count());
        let (_, summed) = self.summed.extent(0, 0, self.summed.count());
        let (_, y) = self.kept.extent(1, 0, self.kept.count());
        (kept + summed + 1, y + 1)
    }

    fn limit(&self, gpu: &Gpu) -> Error {
        Error::Limit { op: OP, what: "bytes of one element's binding".into(), limit: gpu.caps().max_binding, got: self.x.bytes() }
    }

    fn dispatch(&self, gpu: &Gpu, width: Width, x_count: usize, y_count: usize) -> Result<()> {
        let (outputs, terms) = (self.kept.count(), self.summed.count());
        let (x, y) = (self.x.window(self.start[0], x_count), self.y.window(self.start[1], y_count));
        let (kept, [x_kept, y_kept]) = self.kept.params();
        let (summed, [x_summed]) = self.summed.params();
        let params = ForwardParams {
            outputs: outputs as u32,
            terms: terms as u32,
            accumulate: u32::from(self.accumulate),
            scale: self.scale,
            x_base: x.base(),
            y_base: y.base(),
            padding_0: 0,
            padding_1: 0,
            kept,
            x_kept,
            y_kept,
            summed,
            x_summed,
        };
        let (work, workgroups) = self.work(width);
        let binds = [Bind::Read(x), Bind::Write(y)];
        gpu.dispatch(Forward { x: self.x.dtype(), width }, &params, &binds, spread(workgroups, gpu.caps()), work)
    }

    /// All of it, and the workgroups that it takes.
    fn work(&self, width: Width) -> (Work, usize) {
        let (outputs, terms) = (self.kept.count(), self.summed.count());
        let count = (outputs * terms) as f64;
        let work = Work { flops: count, bytes: count * self.x.dtype().bytes() as f64 + 4.0 * outputs as f64 };
        (work, outputs.div_ceil(width.0 as usize))
    }
}

/// The sums over all rows of a matrix with `columns` columns, for the gradient of a bias: `[columns]`.
pub(crate) fn rows(gpu: &Gpu, x: &Tensor, columns: usize) -> Result<Tensor> {
    let y = gpu.empty(DType::F32, &[columns])?;
    let (kept, summed) = (Dims::new([(columns, [1, 1])]), Dims::new([(x.len() / columns, [columns])]));
    Reduction { x, y: &y, start: [0, 0], kept, summed, scale: 1.0, accumulate: false }.run(gpu)?;
    Ok(y)
}

/// y = Σ x over `options.axes`. x is f32 or f16, y is f32. O(elements of x).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`] for other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, x: &Tensor, options: &SumOptions) -> Result<Tensor> {
    let problem = Problem::new(x.shape(), options)?;
    expect_float(OP, "x", x)?;
    let y = gpu.empty(DType::F32, &problem.y_shape)?;
    let kept = problem.dims(false);
    let y_strides = crate::ops::strided::contiguous(&kept.0, 1);
    let kept = Dims::new((0..kept.0.len()).map(|i| (kept.0[i], [kept.1[i], y_strides[i]])));
    let (sizes, strides) = problem.dims(true);
    let summed = Dims::new(sizes.into_iter().zip(strides).map(|(size, stride)| (size, [stride])));
    Reduction { x, y: &y, start: [0, 0], kept, summed, scale: 1.0, accumulate: false }.run(gpu)?;
    Ok(y)
}

/// d_x in the shape `x`, from d_y (f32). O(elements of x).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, x: &[usize], d_y: &Tensor, options: &SumOptions) -> Result<Tensor> {
    let problem = Problem::new(x, options)?;
    expect_dtype(OP, "d_y", d_y, DType::F32)?;
    expect_shape(OP, "d_y", d_y.shape(), &problem.y_shape)?;
    let d_x = gpu.empty(DType::F32, x)?;
    let mut stride = 1;
    let mut dims: Vec<(usize, [usize; 1])> = vec![];
    for (&size, &summed) in x.iter().zip(&problem.summed).rev() {
        dims.push((size, [if summed { 0 } else { stride }]));
        stride *= if summed { 1 } else { size };
    }
    let (outer, inner) = Dims::new(dims.into_iter().rev()).split();
    // Whole tensors where they fit; otherwise as much of d_x as one binding holds.
    let piece = gpu.elements_at_once(8, inner.count());
    for index in 0..outer.count() {
        for first in (0..inner.count()).step_by(piece) {
            let count = piece.min(inner.count() - first);
            let (low, high) = inner.extent(0, first, count);
            let [from] = outer.offsets(index);
            let source = d_y.window(from + low, high - low + 1);
            let target = d_x.window(index * inner.count() + first, count);
            let (sizes, [strides]) = inner.params();
            let d_y_base = source.base().wrapping_sub(low as u32);
            let params = BackwardParams { count: count as u32, first: first as u32, d_y_base, d_x_base: target.base(), sizes, strides };
            let groups = spread(count.div_ceil(LANES), gpu.caps());
            let work = Work { flops: 0.0, bytes: 8.0 * count as f64 };
            gpu.dispatch(Backward, &params, &[Bind::Read(source), Bind::Write(target)], groups, work)?;
        }
    }
    Ok(d_x)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_it_is)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = SumOptions::of(&call.settings)?;
    let x = call.tensor("x")?;
    let (y, shape, gpu) = (forward(&call.gpu, x, &options)?, x.shape().to_vec(), call.gpu.clone());
    Ok(Applied::new([("y", y)], move |d| Ok([("d_x", backward(&gpu, &shape, upstream(OP, d, "d_y")?, &options)?)])))
}
