//! The host side of both normalizations: where rows are cut into pieces, and the dispatches.

use super::kernels::{Backward, BackwardParams, BackwardWeight, Forward, ForwardParams, WeightParams};
use super::{Kind, NormOptions, Problem};
use crate::gpu::{Bind, Gpu, Tensor, View, Work, spread};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::{Prepared, Request, sum};
use crate::{DType, Error, Result};

/// What a forward returns.
#[derive(Clone, Debug)]
pub struct Normalized {
    /// In x's shape.
    pub y: Tensor,
    /// What the backward needs beside x.
    pub saved: Saved,
}

/// The statistics of each row, in x's shape without its last dimension.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The mean; rms_norm has none.
    pub mean: Option<Tensor>,
    /// 1 / √(mean square + eps), the mean square being the variance where there is a mean.
    pub rstd: Tensor,
}

/// The gradients of a normalization, f32.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// In x's shape.
    pub d_x: Tensor,
    /// `[C]`, when there is a weight.
    pub d_weight: Option<Tensor>,
    /// `[C]`, when there is a bias.
    pub d_bias: Option<Tensor>,
}

/// y and the statistics of x `[.., C]`, with weight and bias `[C]` or without, all f32. O(elements of x).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Argument`] for an eps that is negative or not finite; [`Error::Dtype`] for other types; [`Error::Limit`] when one
/// row is larger than a binding; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, options: &NormOptions) -> Result<Normalized> {
    normalize(gpu, Kind::Layer, x, weight, bias, options)
}

/// The gradients of x and, where there are such, of weight and bias (`bias` says so), from d_y in x's shape and what the forward saved.
/// O(elements of x).
///
/// # Errors
/// As [`forward`]; [`Error::Tensors`] when the mean is missing, as it is from what rms_norm saved.
pub fn backward(gpu: &Gpu, x: &Tensor, weight: Option<&Tensor>, bias: bool, saved: &Saved, d_y: &Tensor) -> Result<Gradients> {
    differentiate(gpu, Kind::Layer, x, weight, bias, saved, d_y)
}

/// The forward of either normalization.
pub(crate) fn normalize(
    gpu: &Gpu,
    kind: Kind,
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    options: &NormOptions,
) -> Result<Normalized> {
    let problem = Problem::new(kind, x.shape(), weight.map(Tensor::shape), bias.map(Tensor::shape))?;
    options.check(kind)?;
    for (name, tensor) in [("x", Some(x)), ("weight", weight), ("bias", bias)] {
        tensor.map_or(Ok(()), |tensor| expect_dtype(kind.op(), name, tensor, DType::F32))?;
    }
    let cols = problem.columns;
    let y = gpu.empty(DType::F32, &problem.shape)?;
    let statistic = || gpu.empty(DType::F32, problem.saved_shape());
    let saved = Saved { mean: kind.centers().then(statistic).transpose()?, rstd: statistic()? };
    let variant = Forward::choose(gpu, kind, cols, weight.is_some(), bias.is_some())?;
    let [weight, bias] = [weight, bias].map(|tensor| tensor.map(Tensor::view));
    let base = |view: Option<View>| view.map_or(0, |view| view.base());
    let work = |rows: usize| Work { flops: 7.0 * (rows * cols) as f64, bytes: 8.0 * (rows * cols) as f64 };
    pieces(gpu, &problem, 1, work, |first, rows| {
        let [x, y] = [x, &y].map(|t| t.window(first * cols, rows * cols));
        let (mean, rstd) = saved.window(first, rows);
        let params = ForwardParams {
            rows: rows as u32,
            cols: cols as u32,
            eps: options.eps,
            x_base: x.base(),
            weight_base: base(weight),
            bias_base: base(bias),
            y_base: y.base(),
            mean_base: base(mean),
            rstd_base: rstd.base(),
            padding_0: 0,
            padding_1: 0,
            padding_2: 0,
        };
        let binds = [Bind::Read(x), Bind::maybe(weight), Bind::maybe(bias), Bind::Write(y), Bind::maybe_write(mean), Bind::Write(rstd)];
        gpu.dispatch(variant, &params, &binds, spread(rows, gpu.caps()), work(rows))
    })?;
    Ok(Normalized { y, saved })
}

/// The backward of either normalization.
pub(crate) fn differentiate(
    gpu: &Gpu,
    kind: Kind,
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: bool,
    saved: &Saved,
    d_y: &Tensor,
) -> Result<Gradients> {
    let problem = Problem::new(kind, x.shape(), weight.map(Tensor::shape), None)?;
    let statistics = saved.of(kind)?;
    let tensors = [("x", Some(x)), ("weight", weight), ("d_y", Some(d_y))];
    for (name, tensor) in tensors.into_iter().chain(statistics) {
        tensor.map_or(Ok(()), |tensor| expect_dtype(kind.op(), name, tensor, DType::F32))?;
    }
    expect_shape(kind.op(), "d_y", d_y.shape(), &problem.shape)?;
    for (name, tensor) in statistics {
        tensor.map_or(Ok(()), |tensor| expect_shape(kind.op(), name, tensor.shape(), problem.saved_shape()))?;
    }
    let cols = problem.columns;
    let d_x = gpu.empty(DType::F32, &problem.shape)?;
    let variant = Backward::choose(gpu, kind, cols, weight.is_some())?;
    let view = weight.map(Tensor::view);
    let work = |rows: usize| Work { flops: 10.0 * (rows * cols) as f64, bytes: 12.0 * (rows * cols) as f64 };
    pieces(gpu, &problem, 1, work, |first, rows| {
        let [x, d_y, d_x] = [x, d_y, &d_x].map(|t| t.window(first * cols, rows * cols));
        let (mean, rstd) = saved.window(first, rows);
        let params = BackwardParams {
            rows: rows as u32,
            cols: cols as u32,
            x_base: x.base(),
            weight_base: view.map_or(0, |view| view.base()),
            mean_base: mean.map_or(0, |mean| mean.base()),
            rstd_base: rstd.base(),
            d_y_base: d_y.base(),
            d_x_base: d_x.base(),
        };
        let binds = [Bind::Read(x), Bind::maybe(view), Bind::maybe(mean), Bind::Read(rstd), Bind::Read(d_y), Bind::Write(d_x)];
        gpu.dispatch(variant, &params, &binds, spread(rows, gpu.caps()), work(rows))
    })?;
    let (d_weight, d_bias) = match (weight, bias) {
        (Some(_), _) => over_rows(gpu, &problem, x, bias, saved, d_y)?,
        (None, true) => (None, Some(sum::rows(gpu, d_y, cols)?)),
        (None, false) => (None, None),
    };
    Ok(Gradients { d_x, d_weight, d_bias })
}

impl Saved {
    /// The statistics by name, when they are those of a normalization.
    fn of(&self, kind: Kind) -> Result<[(&'static str, Option<&Tensor>); 2]> {
        if self.mean.is_some() == kind.centers() {
            return Ok([("mean", self.mean.as_ref()), ("rstd", Some(&self.rstd))]);
        }
        let [what, expected] = if kind.centers() { ["no mean was saved", "mean, rstd"] } else { ["a mean was saved", "rstd"] };
        Err(Error::Tensors { op: kind.op(), what: what.into(), expected: expected.into() })
    }

    fn window(&self, first: usize, rows: usize) -> (Option<View<'_>>, View<'_>) {
        (self.mean.as_ref().map(|mean| mean.window(first, rows)), self.rstd.window(first, rows))
    }
}

/// Cuts the rows into pieces of whole `unit`s whose windows fit one binding and whose work a dispatch can take; calls `run` with the first row of
/// each and their number.
fn pieces(
    gpu: &Gpu,
    problem: &Problem,
    unit: usize,
    work: impl Fn(usize) -> Work,
    mut run: impl FnMut(usize, usize) -> Result<()>,
) -> Result<()> {
    let most = gpu.at_once(work(unit), problem.rows.div_ceil(unit)).saturating_mul(unit);
    let rows = most.min(rows_of_a_binding(gpu, problem)? / unit * unit);
    (0..problem.rows).step_by(rows).try_for_each(|first| run(first, rows.min(problem.rows - first)))
}

/// The rows of x that one binding holds, at least one.
fn rows_of_a_binding(gpu: &Gpu, problem: &Problem) -> Result<usize> {
    let (caps, row) = (gpu.caps(), problem.columns * DType::F32.bytes());
    if row > caps.max_window() {
        let what = "bytes of one row of x with its alignment, which one binding must hold".to_string();
        let got = row as u64 + u64::from(caps.storage_alignment);
        return Err(Error::Limit { op: problem.kind.op(), what, limit: caps.max_binding, got });
    }
    Ok(caps.max_window() / row)
}

/// The fewest and the most rows of a slice: few are not worth a sum of their own, and many take one invocation long.
const SLICE: [usize; 2] = [64, 4096];

/// Rows of a slice: as many slices as keep a device of this kind busy. It decides the order of the sum.
fn slice(gpu: &Gpu, problem: &Problem) -> Result<usize> {
    let workgroups = if gpu.caps().software { 64 } else { 2048 };
    let blocks = problem.columns.div_ceil(BackwardWeight::WIDTH);
    let rows = (problem.rows * blocks).div_ceil(workgroups).clamp(SLICE[0], SLICE[1]);
    Ok(rows.min(rows_of_a_binding(gpu, problem)?))
}

/// d_weight and, with `bias`, d_bias: sums over all rows, first in slices.
fn over_rows(
    gpu: &Gpu,
    problem: &Problem,
    x: &Tensor,
    bias: bool,
    saved: &Saved,
    d_y: &Tensor,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (cols, slice) = (problem.columns, slice(gpu, problem)?);
    let slices = problem.rows.div_ceil(slice);
    let partial = || gpu.empty(DType::F32, &[slices, cols]);
    let (d_weight, d_bias) = (partial()?, bias.then(partial).transpose()?);
    let blocks = cols.div_ceil(BackwardWeight::WIDTH);
    let work = |rows: usize| Work { flops: 5.0 * (rows * cols) as f64, bytes: 8.0 * (rows * cols) as f64 };
    pieces(gpu, problem, slice, work, |first, rows| {
        let [x, d_y] = [x, d_y].map(|t| t.window(first * cols, rows * cols));
        let (mean, rstd) = saved.window(first, rows);
        let (at, count) = (first / slice * cols, rows.div_ceil(slice) * cols);
        let (d_weight, d_bias) = (d_weight.window(at, count), d_bias.as_ref().map(|t| t.window(at, count)));
        let params = WeightParams {
            rows: rows as u32,
            cols: cols as u32,
            slice: slice as u32,
            x_base: x.base(),
            mean_base: mean.map_or(0, |mean| mean.base()),
            rstd_base: rstd.base(),
            d_y_base: d_y.base(),
            d_weight_base: d_weight.base(),
            d_bias_base: d_bias.map_or(0, |d_bias| d_bias.base()),
            padding_0: 0,
            padding_1: 0,
            padding_2: 0,
        };
        let binds = [Bind::Read(x), Bind::maybe(mean), Bind::Read(rstd), Bind::Read(d_y), Bind::Write(d_weight), Bind::maybe_write(d_bias)];
        let variant = BackwardWeight { kind: problem.kind, bias };
        gpu.dispatch(variant, &params, &binds, spread(rows.div_ceil(slice) * blocks, gpu.caps()), work(rows))
    })?;
    let total = |partial: Tensor| if slices == 1 { partial.reshape(&[cols]) } else { sum::rows(gpu, &partial, cols) };
    Ok((Some(total(d_weight)?), d_bias.map(total).transpose()?))
}

/// Runs the request on a device.
pub(crate) fn prepare(gpu: &Gpu, kind: Kind, request: &Request) -> Result<Prepared> {
    Problem::of(kind, request)?;
    call::prepare(gpu, kind.op(), request, move |call| apply(kind, call), call::as_it_is)
}

/// The operation on tensors that are on a device.
pub(crate) fn apply(kind: Kind, call: Call) -> Result<Applied> {
    let options = NormOptions::of(kind, &call.settings)?;
    let Normalized { y, saved } = normalize(&call.gpu, kind, call.tensor("x")?, call.optional("weight"), call.optional("bias"), &options)?;
    Ok(Applied::new([("y", y)], move |d| {
        let (weight, bias) = (call.optional("weight"), call.optional("bias").is_some());
        let d = differentiate(&call.gpu, kind, call.tensor("x")?, weight, bias, &saved, upstream(kind.op(), d, "d_y")?)?;
        Ok([("d_x", Some(d.d_x)), ("d_weight", d.d_weight), ("d_bias", d.d_bias)])
    }))
}
