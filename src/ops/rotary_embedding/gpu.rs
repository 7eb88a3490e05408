//! The kernel's host side.

use super::{Layout, OP, Problem, RotaryOptions};
use crate::gpu::{AnyVariant, Bind, Binding, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::expect_dtype;
use crate::ops::{Prepared, Request};
use crate::{DType, Error, Result};

crate::params! {
    /// As in shaders/rotary_embedding/forward.wgsl.
    struct RotaryParams {
        batch: u32, heads: u32, seq: u32, cols: u32, pairs: u32, batch_stride: u32, head_stride: u32, x_base: u32, y_base: u32,
        positions_base: u32, positions_stride: u32, first: i32, sign: f32, padding_0: u32, padding_1: u32, padding_2: u32,
    }
}

static FORWARD: Kernel = Kernel {
    name: "rotary_embedding/forward",
    source: include_str!("../../../shaders/rotary_embedding/forward.wgsl"),
    params: RotaryParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::read("positions").when("POSITIONS"), Binding::read("frequencies"), Binding::write("y")],
};

/// Invocations of a workgroup.
const LANES: usize = 256;
/// Heads that an invocation rotates.
const HEADS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward {
    layout: Layout,
    positions: bool,
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        let knobs = Knobs::new().u32("LANES", LANES as u32).u32("HEADS", HEADS as u32);
        knobs.bool("HALF", self.layout == Layout::Half).flag("POSITIONS", self.positions)
    }
}

/// Every kernel variant.
pub(super) fn kernels() -> Vec<AnyVariant> {
    let layouts = [Layout::Interleaved, Layout::Half];
    layouts.into_iter().flat_map(|layout| [false, true].map(|positions| AnyVariant::of(Forward { layout, positions }))).collect()
}

/// y: x `[B, H, L, D]`, f32, with each row rotated by its position. Those are `positions`, i32 `[B, L]` or `[L]`, any numbers; or `options.offset`
/// and the numbers after it. O(elements of x).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`] for other types; [`Error::Limit`] when one row is larger than a binding; those of
/// [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, x: &Tensor, positions: Option<&Tensor>, options: &RotaryOptions) -> Result<Tensor> {
    rotate(gpu, ("x", x), positions, options, 1.0)
}

/// d_x from d_y, both in x's shape: the rotation back. O(elements of d_y).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, d_y: &Tensor, positions: Option<&Tensor>, options: &RotaryOptions) -> Result<Tensor> {
    rotate(gpu, ("d_y", d_y), positions, options, -1.0)
}

fn rotate(gpu: &Gpu, (name, x): (&str, &Tensor), positions: Option<&Tensor>, options: &RotaryOptions, sign: f32) -> Result<Tensor> {
    let problem = Problem::new((name, x.shape()), positions.map(Tensor::shape), options)?;
    expect_dtype(OP, name, x, DType::F32)?;
    positions.map_or(Ok(()), |positions| expect_dtype(OP, "positions", positions, DType::I32))?;
    let y = gpu.empty(DType::F32, x.shape())?;
    let words: Vec<i32> = problem.frequencies().into_iter().flat_map(|turns| [turns as i32, (turns >> 32) as i32]).collect();
    let frequencies = gpu.tensor(&words, &[problem.pairs, 2])?;
    let variant = Forward { layout: options.layout, positions: positions.is_some() };
    let rotation = Rotation { problem: &problem, variant, sign, x, positions, frequencies: &frequencies, y: &y };
    rotation.run(gpu, [0; 3], [problem.batch, problem.heads, problem.seq])?;
    Ok(y)
}

struct Rotation<'a> {
    problem: &'a Problem,
    variant: Forward,
    sign: f32,
    x: &'a Tensor,
    positions: Option<&'a Tensor>,
    frequencies: &'a Tensor,
    y: &'a Tensor,
}

impl Rotation<'_> {
    /// Batches, heads and rows, so many from `start` on: as one dispatch, or in halves where that is too large.
    fn run(&self, gpu: &Gpu, start: [usize; 3], count: [usize; 3]) -> Result<()> {
        let p = self.problem;
        let strides = [p.heads * p.seq * p.columns, p.seq * p.columns, p.columns];
        let reach: usize = (0..3).map(|axis| (count[axis] - 1) * strides[axis]).sum::<usize>() + p.columns;
        let [batch, heads, seq] = count;
        let workgroups = (batch * heads.div_ceil(HEADS) * seq * (p.columns - p.pairs)).div_ceil(LANES);
        let elements = (batch * heads * seq * p.columns) as f64;
        let work = Work { flops: 3.0 * elements, bytes: 8.0 * elements };
        let too_large = reach * DType::F32.bytes() > gpu.caps().max_window();
        if (too_large || gpu.share(work, workgroups) > 1.0)
            && let Some(axis) = (0..3).find(|&axis| count[axis] > 1)
        {
            let [mut low, mut high, mut middle] = [count, count, start];
            low[axis] /= 2;
            high[axis] -= low[axis];
            middle[axis] += low[axis];
            self.run(gpu, start, low)?;
            return self.run(gpu, middle, high);
        }
        if too_large {
            let what = "bytes of one row of x with its alignment, which one binding must hold".to_string();
            let got = (reach * DType::F32.bytes()) as u64 + u64::from(gpu.caps().storage_alignment);
            return Err(Error::Limit { op: OP, what, limit: gpu.caps().max_binding, got });
        }
        let first: usize = (0..3).map(|axis| start[axis] * strides[axis]).sum();
        let [x, y] = [self.x, self.y].map(|t| t.window(first, reach));
        let positions_stride = p.positions_stride.unwrap_or(0);
        let positions = self.positions.map(|t| t.window(start[0] * positions_stride + start[2], (batch - 1) * positions_stride + seq));
        let params = RotaryParams {
            batch: batch as u32,
            heads: heads as u32,
            seq: seq as u32,
            cols: p.columns as u32,
            pairs: p.pairs as u32,
            batch_stride: strides[0] as u32,
            head_stride: strides[1] as u32,
            x_base: x.base(),
            y_base: y.base(),
            positions_base: positions.map_or(0, |view| view.base()),
            positions_stride: positions_stride as u32,
            first: p.offset + start[2] as i32,
            sign: self.sign,
            padding_0: 0,
            padding_1: 0,
            padding_2: 0,
        };
        let binds = [Bind::Read(x), Bind::maybe(positions), Bind::Read(self.frequencies.view()), Bind::Write(y)];
        gpu.dispatch(self.variant, &params, &binds, spread(workgroups, gpu.caps()), work)
    }
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_it_is)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = RotaryOptions::of(&call.settings)?;
    let y = forward(&call.gpu, call.tensor("x")?, call.optional("positions"), &options)?;
    let (gpu, positions) = (call.gpu.clone(), call.optional("positions").cloned());
    Ok(Applied::new([("y", y)], move |d| Ok([("d_x", backward(&gpu, upstream(OP, d, "d_y")?, positions.as_ref(), &options)?)])))
}
