//! The kernels of cosine scores: lengths of rows, and what is done to each pair between the products.

use super::OP;
use crate::gpu::{AnyVariant, Bind, Binding, Caps, Gpu, Kernel, Knobs, Params, Tensor, Variant, View, Work, spread};
use crate::ops::softmax::Rows;
use crate::{DType, Error, Result};

crate::params! {
    /// As in shaders/luong_attention/norms.wgsl.
    struct NormsParams { rows: u32, cols: u32, x_base: u32, norms_base: u32 }
}

crate::params! {
    /// As `Params` in shaders/lib/cosine.wgsl.
    struct CosineParams {
        count: u32, first_row: u32, first_batch: u32, queries: u32, keys: u32,
        scores_base: u32, d_scores_base: u32, norms_q_base: u32, norms_k_base: u32, mask_base: u32, padding_0: u32, padding_1: u32,
    }
}

crate::params! {
    /// As in shaders/luong_attention/cosine_rows.wgsl.
    struct RowsParams { count: u32, cols: u32, x_base: u32, sums_base: u32, norms_base: u32, d_x_base: u32, padding_0: u32, padding_1: u32 }
}

static NORMS: Kernel = Kernel {
    name: "luong_attention/norms",
    source: include_str!("../../../shaders/luong_attention/norms.wgsl"),
    params: NormsParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("norms")],
};

static FORWARD: Kernel = Kernel {
    name: "luong_attention/cosine_forward",
    source: include_str!("../../../shaders/luong_attention/cosine_forward.wgsl"),
    params: CosineParams::FIELDS,
    bindings: &[Binding::read("norms_q"), Binding::read("norms_k"), Binding::write("scores")],
};

static BACKWARD: Kernel = Kernel {
    name: "luong_attention/cosine_backward",
    source: include_str!("../../../shaders/luong_attention/cosine_backward.wgsl"),
    params: CosineParams::FIELDS,
    bindings: &[
        Binding::read("norms_q"),
        Binding::read("norms_k"),
        Binding::read("mask").when("MASK"),
        Binding::write("scores"),
        Binding::write("d_scores"),
    ],
};

static ROWS: Kernel = Kernel {
    name: "luong_attention/cosine_rows",
    source: include_str!("../../../shaders/luong_attention/cosine_rows.wgsl"),
    params: RowsParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::read("sums"), Binding::read("norms"), Binding::write("d_x")],
};

/// Invocations of a workgroup, in all but the first.
const LANES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Norms(Rows);

impl Variant for Norms {
    fn kernel(&self) -> &'static Kernel {
        &NORMS
    }

    fn knobs(&self) -> Knobs {
        self.0.knobs()
    }
}

/// A kernel over elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Elements {
    Forward,
    Backward { mask: bool },
    Rows,
}

impl Variant for Elements {
    fn kernel(&self) -> &'static Kernel {
        match self {
            Elements::Forward => &FORWARD,
            Elements::Backward { .. } => &BACKWARD,
            Elements::Rows => &ROWS,
        }
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES as u32).flag("MASK", *self == Elements::Backward { mask: true })
    }
}

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    let elements = [Elements::Forward, Elements::Backward { mask: false }, Elements::Backward { mask: true }, Elements::Rows];
    let norms = Rows::all(caps).into_iter().map(|rows| AnyVariant::of(Norms(rows)));
    norms.chain(elements.map(AnyVariant::of)).collect()
}

/// Rows of `columns` f32 that one dispatch takes of `count`, when each is a workgroup or `groups` of them.
fn rows_at_once(gpu: &Gpu, columns: usize, count: usize, groups: usize) -> Result<usize> {
    let (room, bytes) = (gpu.caps().max_window(), columns * DType::F32.bytes());
    if bytes > room {
        let what = "bytes of one row of a tensor with its alignment, which one binding must hold".to_string();
        return Err(Error::Limit { op: OP, what, limit: gpu.caps().max_binding, got: bytes as u64 });
    }
    let each = Work { flops: 0.0, bytes: 4.0 * bytes as f64 / groups as f64 };
    let most = gpu.at_once(each, count * groups) / groups;
    Ok(count.min(room / bytes).min(most.max(1)))
}

/// The lengths of the rows of `[batch, rows, columns]`: `[batch, rows]`.
pub(super) fn norms(gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
    let &[batch, rows, columns] = x.shape() else { unreachable!("queries and keys have three dimensions") };
    let norms = gpu.empty(DType::F32, &[batch, rows])?;
    let variant = Norms(Rows::choose(gpu, OP, columns)?);
    let step = rows_at_once(gpu, columns, batch * rows, 1)?;
    for first in (0..batch * rows).step_by(step) {
        let rows = step.min(batch * rows - first);
        let (x, y) = (x.window(first * columns, rows * columns), norms.window(first, rows));
        let params = NormsParams { rows: rows as u32, cols: columns as u32, x_base: x.base(), norms_base: y.base() };
        let elements = (rows * columns) as f64;
        let work = Work { flops: 2.0 * elements, bytes: 4.0 * elements };
        gpu.dispatch(variant, &params, &[Bind::Read(x), Bind::Write(y)], spread(rows, gpu.caps()), work)?;
    }
    Ok(norms)
}

/// Queries against keys, by their lengths `[batch, Lq]` and `[batch, Lk]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cosine<'a> {
    pub norms: [&'a Tensor; 2],
    /// u8 `[batch, Lk]`
    pub mask: Option<&'a Tensor>,
}

impl<'a> Cosine<'a> {
    /// Runs a kernel over `[batch, Lq, Lk]`, some rows at a time.
    fn each(&self, gpu: &Gpu, run: impl Fn([usize; 2], CosineParams, [View<'a>; 2], Option<View<'a>>) -> Result<()>) -> Result<()> {
        let [norms_q, norms_k] = self.norms;
        let (queries, keys) = (norms_q.shape()[1], norms_k.shape()[1]);
        let rows = norms_q.len();
        let step = rows_at_once(gpu, keys, rows, keys.div_ceil(LANES))?;
        for first in (0..rows).step_by(step) {
            let count = step.min(rows - first);
            // There are no more batches than rows, so that their keys fit where the scores do.
            let batches = first / queries..(first + count - 1) / queries + 1;
            let of_keys = |tensor: &'a Tensor| tensor.window(batches.start * keys, batches.len() * keys);
            let (q, k, mask) = (norms_q.window(first, count), of_keys(norms_k), self.mask.map(of_keys));
            let params = CosineParams {
                count: (count * keys) as u32,
                first_row: first as u32,
                first_batch: batches.start as u32,
                queries: queries as u32,
                keys: keys as u32,
                scores_base: 0,
                d_scores_base: 0,
                norms_q_base: q.base(),
                norms_k_base: k.base(),
                mask_base: mask.map_or(0, |mask| mask.base()),
                padding_0: 0,
                padding_1: 0,
            };
            run([first * keys, count * keys], params, [q, k], mask)?;
        }
        Ok(())
    }

    /// Dot products to cosines.
    pub fn forward(&self, gpu: &Gpu, scores: &Tensor) -> Result<()> {
        self.each(gpu, |[first, count], params, [q, k], _| {
            let scores = scores.window(first, count);
            let params = CosineParams { scores_base: scores.base(), ..params };
            let work = Work { flops: 3.0 * count as f64, bytes: 8.0 * count as f64 };
            let binds = [Bind::Read(q), Bind::Read(k), Bind::Write(scores)];
            gpu.dispatch(Elements::Forward, &params, &binds, spread(count.div_ceil(LANES), gpu.caps()), work)
        })
    }

    /// Dot products and the gradient of the cosines to e and c of the shader.
    pub fn backward(&self, gpu: &Gpu, scores: &Tensor, d_scores: &Tensor) -> Result<()> {
        let variant = Elements::Backward { mask: self.mask.is_some() };
        self.each(gpu, |[first, count], params, [q, k], mask| {
            let [scores, d_scores] = [scores, d_scores].map(|tensor| tensor.window(first, count));
            let params = CosineParams { scores_base: scores.base(), d_scores_base: d_scores.base(), ..params };
            let work = Work { flops: 5.0 * count as f64, bytes: 16.0 * count as f64 };
            let binds = [Bind::Read(q), Bind::Read(k), Bind::maybe(mask), Bind::Write(scores), Bind::Write(d_scores)];
            gpu.dispatch(variant, &params, &binds, spread(count.div_ceil(LANES), gpu.caps()), work)
        })
    }
}

/// d_x −= sums / norms² x, for each row of `[batch, rows, columns]`.
pub(super) fn subtract(gpu: &Gpu, [x, sums, norms, d_x]: [&Tensor; 4]) -> Result<()> {
    let columns = x.len() / norms.len();
    let rows = norms.len();
    let step = rows_at_once(gpu, columns, rows, columns.div_ceil(LANES))?;
    for first in (0..rows).step_by(step) {
        let rows = step.min(rows - first);
        let count = rows * columns;
        let [x, d_x] = [x, d_x].map(|tensor| tensor.window(first * columns, count));
        let [sums, norms] = [sums, norms].map(|tensor| tensor.window(first, rows));
        let params = RowsParams {
            count: count as u32,
            cols: columns as u32,
            x_base: x.base(),
            sums_base: sums.base(),
            norms_base: norms.base(),
            d_x_base: d_x.base(),
            padding_0: 0,
            padding_1: 0,
        };
        let work = Work { flops: 4.0 * count as f64, bytes: 12.0 * count as f64 };
        let binds = [Bind::Read(x), Bind::Read(sums), Bind::Read(norms), Bind::Write(d_x)];
        gpu.dispatch(Elements::Rows, &params, &binds, spread(count.div_ceil(LANES), gpu.caps()), work)?;
    }
    Ok(())
}
