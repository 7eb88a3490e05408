//! The kernels' host side.

use super::{EmbeddingOptions, OP, Problem};
use crate::gpu::{AnyVariant, Bind, Binding, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::{Prepared, Request};
use crate::{DType, Error, Result};

crate::params! {
    /// As `Params` in shaders/lib/ids.wgsl.
    struct IdParams {
        first: u32, end: u32, count: u32, vocabulary: u32, cols: u32, padding: u32, held: u32, low: u32, last: u32, flag: u32,
        blocks: u32, shift: u32, slice: u32, ids_base: u32, weight_base: u32, y_base: u32, d_y_base: u32,
        padding_0: u32, padding_1: u32, padding_2: u32,
    }
}

crate::params! {
    /// As in shaders/embedding/offsets.wgsl.
    struct OffsetsParams { first: u32, end: u32, blocks: u32, padding: u32 }
}

crate::params! {
    /// As in shaders/embedding/backward.wgsl.
    struct BackwardParams {
        first: u32, end: u32, cols: u32, held: u32, slice: u32, accumulate: u32, d_y_base: u32, d_weight_base: u32,
    }
}

/// A kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Forward,
    Count,
    Offsets,
    Sort,
    Starts,
    Slices,
    Backward,
}

const STEPS: [Step; 7] = [Step::Forward, Step::Count, Step::Offsets, Step::Sort, Step::Starts, Step::Slices, Step::Backward];

static FORWARD: Kernel = Kernel {
    name: "embedding/forward",
    source: include_str!("../../../shaders/embedding/forward.wgsl"),
    params: IdParams::FIELDS,
    bindings: &[Binding::read("ids"), Binding::read("weight"), Binding::write("y"), Binding::write("flag")],
};

static COUNT: Kernel = Kernel {
    name: "embedding/count",
    source: include_str!("../../../shaders/embedding/count.wgsl"),
    params: IdParams::FIELDS,
    bindings: &[Binding::read("ids"), Binding::read("order"), Binding::write("table")],
};

static OFFSETS: Kernel = Kernel {
    name: "embedding/offsets",
    source: include_str!("../../../shaders/embedding/offsets.wgsl"),
    params: OffsetsParams::FIELDS,
    bindings: &[Binding::write("table"), Binding::write("totals")],
};

static SORT: Kernel = Kernel {
    name: "embedding/sort",
    source: include_str!("../../../shaders/embedding/sort.wgsl"),
    params: IdParams::FIELDS,
    bindings: &[Binding::read("ids"), Binding::read("order"), Binding::read("table"), Binding::read("totals"), Binding::write("sorted")],
};

static STARTS: Kernel = Kernel {
    name: "embedding/starts",
    source: include_str!("../../../shaders/embedding/starts.wgsl"),
    params: IdParams::FIELDS,
    bindings: &[Binding::read("ids"), Binding::read("order"), Binding::write("starts")],
};

static SLICES: Kernel = Kernel {
    name: "embedding/slices",
    source: include_str!("../../../shaders/embedding/slices.wgsl"),
    params: IdParams::FIELDS,
    bindings: &[Binding::read("ids"), Binding::read("order"), Binding::read("d_y"), Binding::write("partials")],
};

static BACKWARD: Kernel = Kernel {
    name: "embedding/backward",
    source: include_str!("../../../shaders/embedding/backward.wgsl"),
    params: BackwardParams::FIELDS,
    bindings: &[
        Binding::read("order"),
        Binding::read("starts"),
        Binding::read("d_y"),
        Binding::read("partials"),
        Binding::write("d_weight"),
    ],
};

impl Variant for Step {
    fn kernel(&self) -> &'static Kernel {
        match self {
            Step::Forward => &FORWARD,
            Step::Count => &COUNT,
            Step::Offsets => &OFFSETS,
            Step::Sort => &SORT,
            Step::Starts => &STARTS,
            Step::Slices => &SLICES,
            Step::Backward => &BACKWARD,
        }
    }

    fn knobs(&self) -> Knobs {
        let knobs = Knobs::new().u32("LANES", LANES as u32);
        if matches!(self, Step::Forward | Step::Backward) { knobs.u32("EACH", EACH as u32) } else { knobs }
    }
}

/// Every kernel variant.
pub(super) fn kernels() -> Vec<AnyVariant> {
    STEPS.map(AnyVariant::of).into()
}

/// Invocations of a workgroup, ids of a block, and values of a digit.
const LANES: usize = 256;
/// Bits of a digit.
const BITS: u32 = LANES.ilog2();
/// Elements of an invocation that copies or adds up rows.
const EACH: usize = 16;

/// Records `workgroups` workgroups, each with this work, in as many dispatches as it takes; `params` makes those from the first to before
/// another.
fn run<P: Params>(gpu: &Gpu, step: Step, params: impl Fn(u32, u32) -> P, binds: &[Bind], workgroups: usize, each: Work) -> Result<()> {
    let most = gpu.at_once(each, workgroups);
    for first in (0..workgroups).step_by(most) {
        let count = most.min(workgroups - first);
        let work = Work { flops: each.flops * count as f64, bytes: each.bytes * count as f64 };
        let params = params(first as u32, (first + count) as u32);
        gpu.dispatch(step, &params, binds, spread(count, gpu.caps()), work)?;
    }
    Ok(())
}

/// The work of a workgroup that adds `terms` to each of its elements.
fn on_elements(terms: f64) -> Work {
    let elements = (LANES * EACH) as f64;
    Work { flops: terms * elements, bytes: 4.0 * (1.0 + terms) * elements }
}

impl Problem {
    /// Without the bases of tensors.
    fn params(&self) -> IdParams {
        IdParams {
            vocabulary: self.vocabulary as u32,
            cols: self.columns as u32,
            padding: self.padding.map_or(u32::MAX, |row| row as u32),
            ..bytemuck::Zeroable::zeroed()
        }
    }

    /// Rows, of y or of weight, that fit one binding.
    ///
    /// # Errors
    /// [`Error::Limit`] when one does not.
    fn rows_at_once(&self, gpu: &Gpu) -> Result<usize> {
        let (caps, row) = (gpu.caps(), self.columns * DType::F32.bytes());
        let rows = caps.max_window() / row;
        if rows == 0 {
            let what = "bytes of one row of weight with its alignment, which one binding must hold".to_string();
            return Err(Error::Limit { op: OP, what, limit: caps.max_binding, got: row as u64 + u64::from(caps.storage_alignment) });
        }
        Ok(rows)
    }
}

/// y `[.., D]` of ids `[..]` (i32) and weight `[V, D]` (f32). O(elements of y).
///
/// The y of an id that is no row is 0, and the next read is [`Error::Index`].
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`] for other types; [`Error::Limit`] when one row is larger than a binding; those of
/// [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, ids: &Tensor, weight: &Tensor, options: &EmbeddingOptions) -> Result<Tensor> {
    let problem = Problem::new(ids.shape(), weight.shape(), options)?;
    check_ids(ids)?;
    expect_dtype(OP, "weight", weight, DType::F32)?;
    let cols = problem.columns;
    let y = gpu.empty(DType::F32, &problem.y_shape())?;
    let flag = gpu.flag(OP, "ids")?;
    let most = problem.rows_at_once(gpu)?;
    for first in (0..problem.count).step_by(most) {
        let count = most.min(problem.count - first);
        let (ids, y) = (ids.window(first, count), y.window(first * cols, count * cols));
        // Each part of the weight fills in the rows of y that it has.
        for low in (0..problem.vocabulary).step_by(most) {
            let held = most.min(problem.vocabulary - low);
            let weight = weight.window(low * cols, held * cols);
            let params = |first, end| IdParams {
                first,
                end,
                count: count as u32,
                held: held as u32,
                low: low as u32,
                last: u32::from(low + held == problem.vocabulary),
                flag: flag.code,
                ids_base: ids.base(),
                weight_base: weight.base(),
                y_base: y.base(),
                ..problem.params()
            };
            let binds = [Bind::Read(ids), Bind::Read(weight), Bind::Write(y), Bind::Write(flag.tensor.view())];
            run(gpu, Step::Forward, params, &binds, (count * cols).div_ceil(LANES * EACH), on_elements(1.0))?;
        }
    }
    Ok(y)
}

/// The positions of some ids, sorted by the rows that they name.
struct Sorted<'a> {
    problem: &'a Problem,
    ids: &'a Tensor,
    /// The first of those ids, and how many they are.
    first: usize,
    count: usize,
    /// The positions, counted from the first.
    order: Tensor,
}

impl<'a> Sorted<'a> {
    /// As many ids as bindings hold, with d_y's rows and the table of digits.
    fn most(gpu: &Gpu, problem: &Problem) -> Result<usize> {
        let blocks = gpu.caps().max_window() / (4 * LANES);
        Ok(problem.rows_at_once(gpu)?.min(blocks.max(1) * LANES))
    }

    fn new(gpu: &Gpu, problem: &'a Problem, ids: &'a Tensor, first: usize, count: usize) -> Result<Self> {
        let blocks = count.div_ceil(LANES);
        let indices = |count: usize| gpu.empty(DType::I32, &[count]);
        let (table, totals) = (indices(LANES * blocks)?, indices(LANES)?);
        let [mut order, mut next] = [indices(count)?, indices(count)?];
        let window = ids.window(first, count);
        // The highest key is the number of rows.
        for shift in (0..usize::BITS - problem.vocabulary.leading_zeros()).step_by(BITS as usize) {
            let params = |first, end| IdParams {
                first,
                end,
                count: count as u32,
                blocks: blocks as u32,
                shift,
                ids_base: window.base(),
                ..problem.params()
            };
            let loops = Work { flops: (LANES * LANES) as f64, bytes: (8 * LANES) as f64 };
            let binds = [Bind::Read(window), Bind::Read(order.view()), Bind::Write(table.view())];
            run(gpu, Step::Count, params, &binds, blocks, loops)?;
            let offsets = |first, end| OffsetsParams { first, end, blocks: blocks as u32, padding: 0 };
            let each = Work { flops: (LANES * blocks.min(LANES) + 2 * blocks) as f64, bytes: 12.0 * blocks as f64 };
            run(gpu, Step::Offsets, offsets, &[Bind::Write(table.view()), Bind::Write(totals.view())], LANES, each)?;
            let binds = [
                Bind::Read(window),
                Bind::Read(order.view()),
                Bind::Read(table.view()),
                Bind::Read(totals.view()),
                Bind::Write(next.view()),
            ];
            run(gpu, Step::Sort, params, &binds, blocks, loops)?;
            std::mem::swap(&mut order, &mut next);
        }
        Ok(Sorted { problem, ids, first, count, order })
    }

    /// Places of a slice: a row adds up to two ends of slices and all whole ones, which is least where it is the root of half of all.
    fn slice(&self) -> usize {
        ((self.count / 2).isqrt()).next_power_of_two().max(32)
    }

    /// The gradients of the ids are d_weight's, or are added to it.
    fn add(&self, gpu: &Gpu, d_y: &Tensor, d_weight: &Tensor, accumulate: bool) -> Result<()> {
        let Sorted { problem, count, .. } = *self;
        let (cols, slice) = (problem.columns, self.slice());
        let (ids, d_y) = (self.ids.window(self.first, count), d_y.window(self.first * cols, count * cols));
        let slices = count / slice;
        let partials = gpu.empty(DType::F32, &[slices.max(1), cols])?;
        let of_ids = |first, end| IdParams {
            first,
            end,
            count: count as u32,
            slice: slice as u32,
            ids_base: ids.base(),
            d_y_base: d_y.base(),
            ..problem.params()
        };
        if slices > 0 {
            let binds = [Bind::Read(ids), Bind::Read(self.order.view()), Bind::Read(d_y), Bind::Write(partials.view())];
            let each = Work { flops: (LANES * slice) as f64, bytes: (4 * LANES * (slice + 1)) as f64 };
            run(gpu, Step::Slices, of_ids, &binds, (slices * cols).div_ceil(LANES), each)?;
        }
        // There is one start more than rows.
        let most = problem.rows_at_once(gpu)?.min(gpu.caps().max_window() / 4 - 1);
        let mean = count as f64 / problem.vocabulary as f64;
        for low in (0..problem.vocabulary).step_by(most) {
            let held = most.min(problem.vocabulary - low);
            let starts = gpu.empty(DType::I32, &[held + 1])?;
            let of_rows = |first, end| IdParams { held: held as u32, low: low as u32, ..of_ids(first, end) };
            let binds = [Bind::Read(ids), Bind::Read(self.order.view()), Bind::Write(starts.view())];
            let search = Work { flops: LANES as f64 * 64.0, bytes: LANES as f64 * 8.0 };
            run(gpu, Step::Starts, of_rows, &binds, (held + 1).div_ceil(LANES), search)?;
            let d_weight = d_weight.window(low * cols, held * cols);
            let params = |first, end| BackwardParams {
                first,
                end,
                cols: cols as u32,
                held: held as u32,
                slice: slice as u32,
                accumulate: u32::from(accumulate),
                d_y_base: d_y.base(),
                d_weight_base: d_weight.base(),
            };
            let binds = [
                Bind::Read(self.order.view()),
                Bind::Read(starts.view()),
                Bind::Read(d_y),
                Bind::Read(partials.view()),
                Bind::Write(d_weight),
            ];
            run(gpu, Step::Backward, params, &binds, (held * cols).div_ceil(LANES * EACH), on_elements(mean))?;
        }
        Ok(())
    }
}

/// d_weight `[V, D]` of ids `[..]` (i32), for `weight`'s shape and d_y `[.., D]` (f32). O(elements of d_y and of weight).
///
/// An id that is no row adds nothing.
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, ids: &Tensor, weight: &[usize], d_y: &Tensor, options: &EmbeddingOptions) -> Result<Tensor> {
    let problem = Problem::new(ids.shape(), weight, options)?;
    check_ids(ids)?;
    expect_dtype(OP, "d_y", d_y, DType::F32)?;
    expect_shape(OP, "d_y", d_y.shape(), &problem.y_shape())?;
    let d_weight = gpu.empty(DType::F32, weight)?;
    let most = Sorted::most(gpu, &problem)?;
    for first in (0..problem.count).step_by(most) {
        let count = most.min(problem.count - first);
        Sorted::new(gpu, &problem, ids, first, count)?.add(gpu, d_y, &d_weight, first > 0)?;
    }
    Ok(d_weight)
}

fn check_ids(ids: &Tensor) -> Result<()> {
    expect_dtype(OP, "ids", ids, DType::I32)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_it_is)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = EmbeddingOptions::of(&call.settings)?;
    let y = forward(&call.gpu, call.tensor("ids")?, call.tensor("weight")?, &options)?;
    Ok(Applied::new([("y", y)], move |d| {
        let (ids, weight) = (call.tensor("ids")?, call.tensor("weight")?);
        Ok([("d_weight", backward(&call.gpu, ids, weight.shape(), upstream(OP, d, "d_y")?, &options)?)])
    }))
}
