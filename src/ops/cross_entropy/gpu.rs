//! The kernels' host side.

use super::{CrossEntropyOptions, OP, Problem};
use crate::gpu::{AnyVariant, Bind, Binding, Caps, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::loss::{self, Reduction, Total, total};
use crate::ops::softmax::Rows;
use crate::ops::{Prepared, Request};
use crate::{DType, Error, Result};

crate::params! {
    /// As `Params` in shaders/lib/targets.wgsl.
    struct RowsParams {
        rows: u32, cols: u32, parts: u32, span: u32, ignore_index: i32, flag: u32, hit: f32, share: f32,
        logits_base: u32, targets_base: u32, weight_base: u32, stats_base: u32, own_base: u32, kept_base: u32, loss_base: u32,
        d_loss_base: u32, d_loss_step: u32, sums_base: u32, d_logits_base: u32, padding: u32,
    }
}

static FORWARD: Kernel = Kernel {
    name: "cross_entropy/forward",
    source: include_str!("../../../shaders/cross_entropy/forward.wgsl"),
    params: RowsParams::FIELDS,
    bindings: &[
        Binding::read("logits"),
        Binding::read("targets"),
        Binding::read("weight").when("WEIGHT"),
        Binding::write("stats"),
        Binding::write("own"),
    ],
};

static LOSSES: Kernel = Kernel {
    name: "cross_entropy/losses",
    source: include_str!("../../../shaders/cross_entropy/losses.wgsl"),
    params: RowsParams::FIELDS,
    bindings: &[
        Binding::read("targets"),
        Binding::read("weight").when("WEIGHT"),
        Binding::read("stats"),
        Binding::read("own"),
        Binding::write("kept"),
        Binding::write("loss"),
        Binding::write("flag"),
    ],
};

static BACKWARD: Kernel = Kernel {
    name: "cross_entropy/backward",
    source: include_str!("../../../shaders/cross_entropy/backward.wgsl"),
    params: RowsParams::FIELDS,
    bindings: &[
        Binding::read("logits"),
        Binding::read("targets"),
        Binding::read("weight").when("WEIGHT"),
        Binding::read("kept"),
        Binding::read("sums").when("MEAN"),
        Binding::read("d_loss"),
        Binding::write("d_logits"),
    ],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward {
    rows: Rows,
    smooth: bool,
    weight: bool,
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        self.rows.knobs().bool("SMOOTH", self.smooth).flag("WEIGHT", self.weight)
    }
}

/// Invocations of a workgroup that works on losses of rows.
const LANES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct OfRows {
    smooth: bool,
    weight: bool,
    each: bool,
}

impl Variant for OfRows {
    fn kernel(&self) -> &'static Kernel {
        &LOSSES
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES as u32).bool("SMOOTH", self.smooth).flag("WEIGHT", self.weight).bool("EACH", self.each)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backward {
    lanes: u32,
    weight: bool,
    mean: bool,
}

impl Variant for Backward {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", self.lanes).flag("WEIGHT", self.weight).flag("MEAN", self.mean)
    }
}

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    const EITHER: [bool; 2] = [false, true];
    // Class weights make a difference to what the forward adds up, and to the gradient of all classes, with label smoothing alone.
    let sums = [(false, false), (true, false), (true, true)];
    let forward =
        Rows::all(caps).into_iter().flat_map(|rows| sums.map(|(smooth, weight)| AnyVariant::of(Forward { rows, smooth, weight })));
    let of_rows = |smooth| EITHER.map(|weight| EITHER.map(|each| AnyVariant::of(OfRows { smooth, weight, each }))).concat();
    let backward = |lanes| EITHER.map(|weight| EITHER.map(|mean| AnyVariant::of(Backward { lanes, weight, mean }))).concat();
    forward.chain(EITHER.into_iter().flat_map(of_rows)).chain([64, 256].into_iter().flat_map(backward)).chain(loss::kernels()).collect()
}

/// How rows are shared: workgroups of a row, and the columns of each.
#[derive(Clone, Copy, Debug)]
struct Grid {
    parts: usize,
    span: usize,
}

/// Fewer columns than this are not worth a workgroup of their own.
const LEAST_SPAN: usize = 4096;

impl Grid {
    /// As many workgroups as keep the kind of device busy.
    fn new(gpu: &Gpu, problem: &Problem) -> Self {
        let busy = if gpu.caps().software { 16usize } else { 1024 };
        let parts = busy.div_ceil(problem.rows).min(problem.columns.div_ceil(LEAST_SPAN));
        let span = problem.columns.div_ceil(parts).next_multiple_of(64);
        Grid { parts: problem.columns.div_ceil(span), span }
    }
}

/// Cuts the rows into pieces, first row and number, whose windows on the logits fit one binding.
fn pieces(gpu: &Gpu, problem: &Problem, grid: Grid) -> Result<Vec<(usize, usize)>> {
    let caps = gpu.caps();
    let columns = (problem.columns * DType::F32.bytes()) as u64;
    let room = caps.max_window() as u64;
    if columns > room {
        let what = "bytes of one row of logits with its alignment, which one binding must hold".to_string();
        return Err(Error::Limit { op: OP, what, limit: caps.max_binding, got: columns + u64::from(caps.storage_alignment) });
    }
    // Of very short rows what is found of each takes more than the row.
    let row = columns.max(16 * grid.parts as u64);
    let each = Work { flops: 6.0 * problem.columns as f64, bytes: 2.0 * columns as f64 };
    let most = gpu.at_once(each, problem.rows).min((room / row) as usize).max(1);
    Ok((0..problem.rows).step_by(most).map(|first| (first, most.min(problem.rows - first))).collect())
}

impl Problem {
    /// Without the bases of tensors.
    fn params(&self, grid: Grid) -> RowsParams {
        let eps = self.options.label_smoothing;
        RowsParams {
            cols: self.columns as u32,
            parts: grid.parts as u32,
            span: grid.span as u32,
            ignore_index: self.options.ignore_index,
            hit: 1.0 - eps,
            share: eps / self.columns as f32,
            ..bytemuck::Zeroable::zeroed()
        }
    }
}

/// What a forward returns.
#[derive(Clone, Debug)]
pub struct Losses {
    /// `[]`, or `[N]` with [`Reduction::None`].
    pub loss: Tensor,
    /// What the backward needs of each row, `[N, 4]`: its largest logit, the sum of exp(logit - that), and the weights of p and of the
    /// target in the gradient. Of a row that does not count it holds anything.
    pub kept: Tensor,
    /// The sum of all losses and that of their weights, `[1, 2]`; none with [`Reduction::None`].
    pub sums: Option<Tensor>,
}

/// The loss of logits `[N, C]` (f32) against target `[N]` (i32), with weight `[C]` (f32) or 1. O(N · C).
///
/// A target that is neither a class nor ignored counts as ignored, and the next read is [`Error::Index`].
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`] for other types; [`Error::Limit`] when one row is larger than a binding; those of
/// [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, logits: &Tensor, target: &Tensor, weight: Option<&Tensor>, options: &CrossEntropyOptions) -> Result<Losses> {
    let problem = Problem::new(logits.shape(), target.shape(), weight.map(Tensor::shape), options)?;
    check_types(logits, target, weight)?;
    let (rows, cols) = (problem.rows, problem.columns);
    let grid = Grid::new(gpu, &problem);
    let smooth = options.label_smoothing > 0.0;
    let all_weights = weight.filter(|_| smooth).map(Tensor::view);
    let variant = Forward { rows: Rows::choose(gpu, OP, cols)?, smooth, weight: all_weights.is_some() };
    let stats = gpu.empty(DType::F32, &[rows * grid.parts, 4])?;
    let own = gpu.empty(DType::F32, &[rows])?;
    for (first, count) in pieces(gpu, &problem, grid)? {
        let (logits, targets) = (logits.window(first * cols, count * cols), target.window(first, count));
        let (stats, own) = (stats.window(4 * first * grid.parts, 4 * count * grid.parts), own.window(first, count));
        let params = RowsParams {
            rows: count as u32,
            logits_base: logits.base(),
            targets_base: targets.base(),
            weight_base: all_weights.map_or(0, |view| view.base()),
            stats_base: stats.base(),
            own_base: own.base(),
            ..problem.params(grid)
        };
        let binds = [Bind::Read(logits), Bind::Read(targets), Bind::maybe(all_weights), Bind::Write(stats), Bind::Write(own)];
        let work = Work { flops: 6.0 * (count * cols) as f64, bytes: 4.0 * (count * cols) as f64 };
        gpu.dispatch(variant, &params, &binds, spread(count * grid.parts, gpu.caps()), work)?;
    }
    of_rows(gpu, &problem, grid, [target, &stats, &own], weight)
}

/// The losses of rows from what was found of their parts, and their sum: of target, stats and own.
fn of_rows(gpu: &Gpu, problem: &Problem, grid: Grid, [target, stats, own]: [&Tensor; 3], weight: Option<&Tensor>) -> Result<Losses> {
    let (rows, options) = (problem.rows, &problem.options);
    let each = options.reduction == Reduction::None;
    let workgroups = rows.div_ceil(LANES);
    let kept = gpu.empty(DType::F32, &[rows, 4])?;
    let found = if each { gpu.empty(DType::F32, &[rows])? } else { gpu.empty(DType::F32, &[workgroups, 2])? };
    let flag = gpu.flag(OP, "target")?;
    let variant = OfRows { smooth: options.label_smoothing > 0.0, weight: weight.is_some(), each };
    let weight = weight.map(Tensor::view);
    // Whole workgroups, so that their sums are the same however rows are cut.
    let bytes = 16 * LANES * (grid.parts + 1);
    let at_once = gpu.at_once(Work { flops: 16.0 * LANES as f64, bytes: bytes as f64 }, workgroups);
    let most = at_once.min(gpu.caps().max_window() / (16 * LANES * grid.parts)).max(1);
    for group in (0..workgroups).step_by(most) {
        let groups = most.min(workgroups - group);
        let first = group * LANES;
        let count = (groups * LANES).min(rows - first);
        let [targets, own] = [target, own].map(|t| t.window(first, count));
        let stats = stats.window(4 * first * grid.parts, 4 * count * grid.parts);
        let kept = kept.window(4 * first, 4 * count);
        let loss = if each { found.window(first, count) } else { found.window(2 * group, 2 * groups) };
        let params = RowsParams {
            rows: count as u32,
            flag: flag.code,
            targets_base: targets.base(),
            weight_base: weight.map_or(0, |view| view.base()),
            stats_base: stats.base(),
            own_base: own.base(),
            kept_base: kept.base(),
            loss_base: loss.base(),
            ..problem.params(grid)
        };
        let binds = [
            Bind::Read(targets),
            Bind::maybe(weight),
            Bind::Read(stats),
            Bind::Read(own),
            Bind::Write(kept),
            Bind::Write(loss),
            Bind::Write(flag.tensor.view()),
        ];
        let work = Work { flops: 16.0 * count as f64, bytes: Bind::bytes(&binds) };
        gpu.dispatch(variant, &params, &binds, spread(groups, gpu.caps()), work)?;
    }
    if each {
        return Ok(Losses { loss: found, kept, sums: None });
    }
    let Total { loss, sums } = total(gpu, found, options.reduction == Reduction::Mean)?;
    Ok(Losses { loss, kept, sums: Some(sums) })
}

/// d_logits `[N, C]`, from what [`forward`] returned and d_loss in the shape of the loss (for a scalar `[1]` as well). With the options of
/// the forward. O(N · C).
///
/// # Errors
/// As [`forward`].
pub fn backward(
    gpu: &Gpu,
    logits: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    losses: &Losses,
    d_loss: &Tensor,
    options: &CrossEntropyOptions,
) -> Result<Tensor> {
    let problem = Problem::new(logits.shape(), target.shape(), weight.map(Tensor::shape), options)?;
    check_types(logits, target, weight)?;
    let (rows, cols) = (problem.rows, problem.columns);
    for (name, tensor, shape) in [("d_loss", d_loss, problem.loss_shape()), ("kept", &losses.kept, vec![rows, 4])] {
        expect_dtype(OP, name, tensor, DType::F32)?;
        expect_shape(OP, name, tensor.shape(), &shape)?;
    }
    let mean = options.reduction == Reduction::Mean;
    let sums = losses.sums.as_ref().filter(|_| mean).map(Tensor::view);
    if mean && sums.is_none() {
        return Err(Error::Tensors { op: OP, what: "losses of reduction=none".into(), expected: "those of the mean".into() });
    }
    let grid = Grid::new(gpu, &problem);
    let weight = weight.filter(|_| options.label_smoothing > 0.0).map(Tensor::view);
    let variant = Backward { lanes: Rows::choose(gpu, OP, cols)?.lanes, weight: weight.is_some(), mean };
    let d_logits = gpu.empty(DType::F32, &[rows, cols])?;
    let each = options.reduction == Reduction::None;
    for (first, count) in pieces(gpu, &problem, grid)? {
        let [logits, d_logits] = [logits, &d_logits].map(|t| t.window(first * cols, count * cols));
        let (targets, kept) = (target.window(first, count), losses.kept.window(4 * first, 4 * count));
        let d_loss = if each { d_loss.window(first, count) } else { d_loss.view() };
        let params = RowsParams {
            rows: count as u32,
            logits_base: logits.base(),
            targets_base: targets.base(),
            weight_base: weight.map_or(0, |view| view.base()),
            kept_base: kept.base(),
            sums_base: sums.map_or(0, |view| view.base()),
            d_loss_base: d_loss.base(),
            d_loss_step: u32::from(each),
            d_logits_base: d_logits.base(),
            ..problem.params(grid)
        };
        let binds = [
            Bind::Read(logits),
            Bind::Read(targets),
            Bind::maybe(weight),
            Bind::Read(kept),
            Bind::maybe(sums),
            Bind::Read(d_loss),
            Bind::Write(d_logits),
        ];
        let work = Work { flops: 6.0 * (count * cols) as f64, bytes: 8.0 * (count * cols) as f64 };
        gpu.dispatch(variant, &params, &binds, spread(count * grid.parts, gpu.caps()), work)?;
    }
    Ok(d_logits)
}

fn check_types(logits: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<()> {
    expect_dtype(OP, "logits", logits, DType::F32)?;
    expect_dtype(OP, "target", target, DType::I32)?;
    weight.map_or(Ok(()), |weight| expect_dtype(OP, "weight", weight, DType::F32))
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_it_is)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = CrossEntropyOptions::of(&call.settings)?;
    let losses = forward(&call.gpu, call.tensor("logits")?, call.tensor("target")?, call.optional("weight"), &options)?;
    Ok(Applied::new([("loss", losses.loss.clone())], move |d| {
        let (logits, target, d_loss) = (call.tensor("logits")?, call.tensor("target")?, upstream(OP, d, "d_loss")?);
        Ok([("d_logits", backward(&call.gpu, logits, target, call.optional("weight"), &losses, d_loss, &options)?)])
    }))
}
