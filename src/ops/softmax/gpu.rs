//! The kernels' host side.

use super::{OP, Problem, SoftmaxOptions};
use crate::gpu::{AnyVariant, Bind, Binding, Caps, Choice, Gpu, Kernel, Knobs, Params, Tensor, Variant, View, Work, spread};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::strided::Dims;
use crate::ops::{Prepared, Request};
use crate::{DType, Error, Result};

crate::params! {
    /// As `Params` in shaders/lib/rows.wgsl.
    struct RowsParams {
        rows: u32, cols: u32, scale: f32, x_base: u32, y_base: u32, lse_base: u32, d_y_base: u32, d_x_base: u32,
        mask_base: u32, mask_col: u32, first: u32, padding: u32, sizes: [u32; 4], mask_strides: [u32; 4],
    }
}

static FORWARD: Kernel = Kernel {
    name: "softmax/forward",
    source: include_str!("../../../shaders/softmax/forward.wgsl"),
    params: RowsParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::read("mask").when("MASK"), Binding::write("y"), Binding::write("lse")],
};

static BACKWARD: Kernel = Kernel {
    name: "softmax/backward",
    source: include_str!("../../../shaders/softmax/backward.wgsl"),
    params: RowsParams::FIELDS,
    bindings: &[Binding::read("y"), Binding::read("mask").when("MASK"), Binding::read("d_y"), Binding::write("d_x")],
};

/// How a row is reduced: by how many invocations, and whether with subgroup operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rows {
    pub lanes: u32,
    pub subgroups: bool,
}

/// By the length of a row.
impl Choice for Rows {
    const NAME: &'static str = "rows";

    fn all(caps: &Caps) -> Vec<(String, Self)> {
        let label = |rows: &Rows| format!("lanes={}{}", rows.lanes, if rows.subgroups { " subgroups" } else { "" });
        Rows::all(caps).into_iter().map(|rows| (label(&rows), rows)).collect()
    }
}

impl Rows {
    /// Every way that the device has.
    pub fn all(caps: &Caps) -> Vec<Self> {
        let with = |lanes| [false, true].map(|subgroups| Rows { lanes, subgroups });
        [64, 256].into_iter().flat_map(with).filter(|rows| caps.subgroups || !rows.subgroups).collect()
    }

    /// A larger workgroup for rows that keep it busy.
    ///
    /// # Errors
    /// [`Error::Limit`] for rows in whose loops the driver would stop an invocation ([`Caps::max_rounds`]).
    pub fn choose(gpu: &Gpu, op: &'static str, columns: usize) -> Result<Self> {
        let default = Rows { lanes: if columns >= 1024 { 256 } else { 64 }, subgroups: gpu.caps().subgroups };
        // Three passes over the columns.
        let rounds = gpu.caps().max_rounds.map_or(usize::MAX, |max| max as usize / 3);
        let longest = |rows: Rows| rounds.saturating_mul(rows.lanes as usize);
        let rows = gpu.choice(columns).filter(|&rows| columns <= longest(rows)).unwrap_or(default);
        if columns > longest(rows) {
            let what = "columns of one row, which this driver's limit on loops leaves".to_string();
            return Err(Error::Limit { op, what, limit: longest(rows) as u64, got: columns as u64 });
        }
        Ok(rows)
    }

    /// The knobs of shaders/lib/reduce.wgsl.
    pub fn knobs(self) -> Knobs {
        Knobs::new().u32("LANES", self.lanes).flag("SUBGROUPS", self.subgroups)
    }
}

/// Where a row is when it is needed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Again {
    /// Read from the tensor.
    Read,
    /// Held in workgroup memory, where it fits.
    Held,
}

/// By the length of a row.
impl Choice for Again {
    const NAME: &'static str = "again";

    fn all(_caps: &Caps) -> Vec<(String, Self)> {
        [("row read again", Again::Read), ("row held", Again::Held)].map(|(label, again)| (label.into(), again)).into()
    }
}

impl Again {
    /// Whether a row is held: on GPUs, unless the handle says otherwise. A driver on the CPU has its tensors in the same caches.
    pub fn holds(gpu: &Gpu, columns: usize, longest: usize) -> bool {
        let default = if gpu.caps().software { Again::Read } else { Again::Held };
        columns <= longest && gpu.choice(columns).unwrap_or(default) == Again::Held
    }
}

/// The longest rows that are held: 8 KiB, so that a device that works on several rows at a time has room for all.
const LONGEST_FORWARD: usize = 2048;
const LONGEST_BACKWARD: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward {
    rows: Rows,
    held: bool,
    mask: bool,
    log: bool,
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        self.knobs_for(LONGEST_FORWARD)
    }
}

impl Forward {
    fn knobs_for(&self, longest: usize) -> Knobs {
        let knobs = self.rows.knobs().flag("HELD", self.held).flag("MASK", self.mask).bool("LOG", self.log);
        if self.held { knobs.u32("COLUMNS", longest as u32) } else { knobs }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backward(Forward);

impl Variant for Backward {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD
    }

    fn knobs(&self) -> Knobs {
        self.0.knobs_for(LONGEST_BACKWARD)
    }
}

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    let both = |v: Forward| [AnyVariant::of(v), AnyVariant::of(Backward(v))];
    let flags = (0..8).map(|bits| [1, 2, 4].map(|bit| bits & bit != 0));
    let all = flags.flat_map(|[held, mask, log]| Rows::all(caps).into_iter().map(move |rows| Forward { rows, held, mask, log }));
    all.flat_map(both).collect()
}

/// Consecutive rows that one dispatch takes.
struct Piece<'a> {
    /// The first row of all.
    row: usize,
    rows: usize,
    mask: Option<View<'a>>,
    /// With the bases of everything but the mask left at 0.
    params: RowsParams,
}

/// Cuts the rows into pieces whose windows on the large tensors fit one binding, and runs each.
fn pieces<'a>(gpu: &Gpu, problem: &Problem, mask: Option<&'a Tensor>, mut run: impl FnMut(Piece<'a>) -> Result<()>) -> Result<()> {
    let caps = gpu.caps();
    let strides = problem.mask_strides.as_deref();
    let leading = problem.shape.len() - 1;
    let dims = Dims::new((0..leading).map(|axis| (problem.shape[axis], [strides.map_or(0, |s| s[axis])])));
    let row_bytes = (problem.columns * DType::F32.bytes()) as u64;
    let room = caps.max_window() as u64;
    if row_bytes > room {
        let what = "bytes of one row of x with its alignment, which one binding must hold".to_string();
        let got = row_bytes + u64::from(caps.storage_alignment);
        return Err(Error::Limit { op: OP, what, limit: caps.max_binding, got });
    }
    let along = strides.map_or(0, |s| s[leading]) * (problem.columns - 1) + 1;
    let (outer, inner) = dims.split();
    // The backward reads two tensors and writes one.
    let each = Work { flops: 6.0 * problem.columns as f64, bytes: 3.0 * row_bytes as f64 };
    let most = gpu.at_once(each, inner.count());
    for index in 0..outer.count() {
        let [shift] = outer.offsets(index);
        let mut first = 0;
        while first < inner.count() {
            let mut rows = (inner.count() - first).min((room / row_bytes) as usize).min(most);
            let mut window = inner.extent(0, first, rows);
            // One row of the mask is no longer than one of x, so this ends.
            while (window.1 - window.0 + along) as u64 > room && rows > 1 {
                rows = rows.div_ceil(2);
                window = inner.extent(0, first, rows);
            }
            let view = mask.map(|mask| mask.window(shift + window.0, window.1 - window.0 + along));
            let (sizes, [mask_strides]) = inner.params();
            let params = RowsParams {
                rows: rows as u32,
                cols: problem.columns as u32,
                scale: problem.options.scale,
                mask_base: view.map_or(0, |view| view.base().wrapping_sub(window.0 as u32)),
                mask_col: strides.map_or(0, |s| s[leading] as u32),
                first: first as u32,
                sizes,
                mask_strides,
                ..bytemuck::Zeroable::zeroed()
            };
            run(Piece { row: index * inner.count() + first, rows, mask: view, params })?;
            first += rows;
        }
    }
    Ok(())
}

/// What a forward returns.
#[derive(Clone, Debug)]
pub struct Softmaxed {
    /// In x's shape.
    pub y: Tensor,
    /// x's shape without its last dimension.
    pub lse: Tensor,
}

/// y and lse of x (f32), under a mask (u8, broadcastable to x, 0 = hidden). O(elements of x).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`] for other types; [`Error::Limit`] when one row is larger than a binding; those of
/// [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, x: &Tensor, mask: Option<&Tensor>, options: &SoftmaxOptions) -> Result<Softmaxed> {
    let problem = Problem::new(x.shape(), mask.map(Tensor::shape), options)?;
    check_types(x, mask)?;
    let (y, lse) = (gpu.empty(DType::F32, &problem.shape)?, gpu.empty(DType::F32, problem.lse_shape())?);
    let cols = problem.columns;
    let held = Again::holds(gpu, cols, LONGEST_FORWARD);
    let variant = Forward { rows: Rows::choose(gpu, OP, cols)?, held, mask: mask.is_some(), log: options.log };
    pieces(gpu, &problem, mask, |piece| {
        let count = piece.rows * cols;
        let [x, y] = [x, &y].map(|t| t.window(piece.row * cols, count));
        let lse = lse.window(piece.row, piece.rows);
        let params = RowsParams { x_base: x.base(), y_base: y.base(), lse_base: lse.base(), ..piece.params };
        let binds = [Bind::Read(x), Bind::maybe(piece.mask), Bind::Write(y), Bind::Write(lse)];
        let work = Work { flops: 6.0 * count as f64, bytes: 8.0 * count as f64 };
        gpu.dispatch(variant, &params, &binds, spread(piece.rows, gpu.caps()), work)
    })?;
    Ok(Softmaxed { y, lse })
}

/// d_x in x's shape, from what the forward returned as y, and d_y. O(elements of x).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, y: &Tensor, mask: Option<&Tensor>, d_y: &Tensor, options: &SoftmaxOptions) -> Result<Tensor> {
    let problem = Problem::new(y.shape(), mask.map(Tensor::shape), options)?;
    check_types(y, mask)?;
    expect_dtype(OP, "d_y", d_y, DType::F32)?;
    expect_shape(OP, "d_y", d_y.shape(), &problem.shape)?;
    let d_x = gpu.empty(DType::F32, &problem.shape)?;
    let cols = problem.columns;
    let held = Again::holds(gpu, cols, LONGEST_BACKWARD);
    let variant = Backward(Forward { rows: Rows::choose(gpu, OP, cols)?, held, mask: mask.is_some(), log: options.log });
    pieces(gpu, &problem, mask, |piece| {
        let count = piece.rows * cols;
        let [y, d_y, d_x] = [y, d_y, &d_x].map(|t| t.window(piece.row * cols, count));
        let params = RowsParams { y_base: y.base(), d_y_base: d_y.base(), d_x_base: d_x.base(), ..piece.params };
        let binds = [Bind::Read(y), Bind::maybe(piece.mask), Bind::Read(d_y), Bind::Write(d_x)];
        let work = Work { flops: 5.0 * count as f64, bytes: 12.0 * count as f64 };
        gpu.dispatch(variant, &params, &binds, spread(piece.rows, gpu.caps()), work)
    })?;
    Ok(d_x)
}

fn check_types(x: &Tensor, mask: Option<&Tensor>) -> Result<()> {
    expect_dtype(OP, "x", x, DType::F32)?;
    mask.map_or(Ok(()), |mask| expect_dtype(OP, "mask", mask, DType::U8))
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_it_is)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = SoftmaxOptions::of(&call.settings)?;
    let Softmaxed { y, lse } = forward(&call.gpu, call.tensor("x")?, call.optional("mask"), &options)?;
    let (gpu, mask) = (call.gpu.clone(), call.optional("mask").cloned());
    Ok(Applied::new([("y", y.clone()), ("lse", lse)], move |d| {
        Ok([("d_x", backward(&gpu, &y, mask.as_ref(), upstream(OP, d, "d_y")?, &options)?)])
    }))
}
