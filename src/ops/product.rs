//! Batched products of strided matrices on a device: the host side of shaders/lib/batched.wgsl and product.wgsl, shared by every
//! kernel that imports them.
//!
//! A product that is too large for one dispatch is cut in halves: along whatever reaches farthest in a tensor that one binding
//! cannot hold, and along batches, rows and columns where the device would be held for too long.

use super::strided::Dims;
use crate::gpu::{Bind, Field, Gpu, Params, Tensor, Variant, Work};
use crate::{DType, Error, Result};

crate::params! {
    /// As `Params` in shaders/lib/batched.wgsl.
    pub(crate) struct ProductParams {
        m: u32, n: u32, k: u32, accumulate: u32,
        scale: f32, first: u32,
        a_base: u32, a_row: u32, a_col: u32,
        b_base: u32, b_row: u32, b_col: u32,
        y_base: u32, y_row: u32, y_col: u32,
        extra_base: u32, extra_row: u32, extra_col: u32,
        count: u32, padding: u32,
        sizes: [u32; 4], a_batch: [u32; 4], b_batch: [u32; 4], y_batch: [u32; 4], extra_batch: [u32; 4],
    }
}

/// The fields, for kernel declarations.
pub(crate) const FIELDS: &[Field] = ProductParams::FIELDS;

/// TILE of shaders/lib/product.wgsl.
pub(crate) const TILE: usize = 64;
/// Steps along k that stay below [`Caps::max_rounds`](crate::gpu::Caps::max_rounds): 21 rounds for every 16 where b is not finite.
const DEPTH: usize = 1 << 15;

/// A batch of matrices in a tensor, found through strides. All are in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrices<'a> {
    pub tensor: &'a Tensor,
    /// The first element.
    pub start: usize,
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub col: usize,
    /// One for each batch dimension; 0 where the matrices are repeated.
    pub batch: &'a [usize],
}

impl<'a> Matrices<'a> {
    /// The same matrices, transposed.
    pub fn transposed(self) -> Self {
        Matrices { row: self.col, col: self.row, ..self }
    }

    /// Whether the `count` elements of each line can be read in vectors of 4: `along` is the distance of neighbours in a line, `across` that
    /// of lines.
    pub fn quads(&self, along: usize, across: usize, count: usize) -> bool {
        let starts = self.tensor.offset().is_multiple_of(4 * self.tensor.dtype().bytes() as u64) && self.start.is_multiple_of(4);
        let lines = across.is_multiple_of(4) && self.batch.iter().all(|stride| stride.is_multiple_of(4));
        along == 1 && count.is_multiple_of(4) && starts && lines
    }

    /// The matrices from `offset` elements on.
    pub fn at(self, offset: usize) -> Self {
        Matrices { start: self.start + offset, ..self }
    }
}

/// What the optional third binding lies along.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extra<'a> {
    /// There is none.
    None,
    /// Read with the row and column of y: a bias, or the mask of a gradient of weights.
    OfY(Matrices<'a>),
    /// Read with the row and column of a: the mask of a weighted sum.
    OfA(Matrices<'a>),
}

/// y = scale a b, or y += scale a b, for every batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product<'a> {
    pub op: &'static str,
    /// Sizes of the batch dimensions; every [`Matrices::batch`] has as many strides.
    pub batch: &'a [usize],
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub scale: f32,
    pub accumulate: bool,
    /// [m, k]
    pub a: Matrices<'a>,
    /// [k, n]
    pub b: Matrices<'a>,
    pub extra: Extra<'a>,
    /// [m, n]
    pub y: Matrices<'a>,
}

/// A part of a product that may be one dispatch.
#[derive(Clone, Copy, Debug)]
struct Region {
    first: usize,
    count: usize,
    m: [usize; 2],
    n: [usize; 2],
    k: [usize; 2],
}

/// What a region can be cut along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Batch,
    M,
    N,
    K,
}

/// The batch dimensions, with the strides of a, b, y and the extra.
type Batches = Dims<4>;

/// A kernel for products: how much of y a workgroup makes, of whole matrices where they are small.
pub(crate) trait Tiled: Variant {
    /// Rows and columns.
    fn tile(&self) -> [usize; 2] {
        [TILE, TILE]
    }

    /// Matrices of m rows and n columns.
    fn matrices(&self, _m: usize, _n: usize) -> usize {
        1
    }
}

/// The workgroups of a region along its rows, columns and batches.
fn groups(variant: &impl Tiled, region: &Region) -> [usize; 3] {
    let [m, n] = [region.m, region.n].map(|[from, to]| to - from);
    let [rows, columns] = variant.tile();
    [m.div_ceil(rows), n.div_ceil(columns), region.count.div_ceil(variant.matrices(m, n))]
}

impl<'a> Product<'a> {
    /// yᵀ = scale bᵀ aᵀ: the same elements of the same memory.
    pub fn transposed(self) -> Product<'a> {
        let extra = match self.extra {
            Extra::None => Extra::None,
            Extra::OfY(e) => Extra::OfY(e.transposed()),
            Extra::OfA(_) => unreachable!("a mask of a is none of bᵀ"),
        };
        Product { m: self.n, n: self.m, a: self.b.transposed(), b: self.a.transposed(), extra, y: self.y.transposed(), ..self }
    }
}

impl Product<'_> {
    /// Runs the product once for every batch that shares a matrix of y, one after the other, each added to the ones before: the gradient of a
    /// tensor that was repeated is the sum over its repetitions.
    pub fn repeated(&self, run: impl Fn(&Product) -> Result<()>) -> Result<()> {
        let (shared, own): (Vec<usize>, Vec<usize>) =
            (0..self.batch.len()).partition(|&axis| self.y.batch[axis] == 0 && self.batch[axis] > 1);
        let pick = |strides: &[usize]| own.iter().map(|&axis| strides[axis]).collect::<Vec<_>>();
        let extra = self.extra.matrices();
        let none = vec![0; self.batch.len()];
        let extra_strides = extra.map_or(none.as_slice(), |e| e.batch);
        let [sizes, a_batch, b_batch, y_batch, extra_batch] =
            [self.batch, self.a.batch, self.b.batch, self.y.batch, extra_strides].map(pick);
        let repetitions =
            Dims::new(shared.iter().map(|&axis| (self.batch[axis], [self.a.batch[axis], self.b.batch[axis], extra_strides[axis]])));
        for repetition in 0..repetitions.count() {
            let [a, b, e] = repetitions.offsets(repetition);
            run(&Product {
                batch: &sizes,
                accumulate: self.accumulate || repetition > 0,
                a: Matrices { batch: &a_batch, ..self.a.at(a) },
                b: Matrices { batch: &b_batch, ..self.b.at(b) },
                extra: self.extra.map(|m| Matrices { batch: &extra_batch, ..m.at(e) }),
                y: Matrices { batch: &y_batch, ..self.y },
                ..*self
            })?;
        }
        Ok(())
    }

    /// Records the product, each piece of it with the variant that is `chosen` for it, whose bindings are a, b, the extra and y. A piece is
    /// a product of its own: where it begins and how long it is may allow less than the whole did.
    ///
    /// # Errors
    /// [`Error::Limit`] when a single row of a tensor is over the limit of a binding, and those of [`Gpu::dispatch`].
    pub fn run<V: Tiled>(&self, gpu: &Gpu, chosen: impl Fn(&Product) -> V) -> Result<()> {
        let extra = self.extra.matrices();
        let strides = |axis: usize| [self.a.batch[axis], self.b.batch[axis], self.y.batch[axis], extra.map_or(0, |e| e.batch[axis])];
        let dims = Dims::new(self.batch.iter().enumerate().map(|(axis, &size)| (size, strides(axis))));
        let (outer, inner) = dims.split();
        for index in 0..outer.count() {
            let whole = Region { first: 0, count: inner.count(), m: [0, self.m], n: [0, self.n], k: [0, self.k] };
            self.region(gpu, &chosen, &inner, outer.offsets(index), whole)?;
        }
        Ok(())
    }

    fn region<V: Tiled>(
        &self,
        gpu: &Gpu,
        chosen: &impl Fn(&Product) -> V,
        dims: &Batches,
        shift: [usize; 4],
        region: Region,
    ) -> Result<()> {
        let variant = chosen(&self.piece(&region));
        if let Some(axis) = self.cut(gpu, &variant, dims, &region)? {
            let (mut low, mut high) = (region, region);
            // Halves of rows and columns that are whole tiles; the order of a sum over k is fixed by where it is cut.
            let half = |[from, to]: [usize; 2], step: usize| from + ((to - from) / 2).next_multiple_of(step).min(to - from - 1);
            let step = |[from, to]: [usize; 2]| if to - from > TILE { TILE } else { 1 };
            match axis {
                Axis::Batch => {
                    low.count = region.count / 2;
                    (high.first, high.count) = (region.first + low.count, region.count - low.count);
                }
                Axis::M => (low.m[1], high.m[0]) = (half(region.m, step(region.m)), half(region.m, step(region.m))),
                Axis::N => (low.n[1], high.n[0]) = (half(region.n, step(region.n)), half(region.n, step(region.n))),
                Axis::K => (low.k[1], high.k[0]) = (half(region.k, step(region.k)), half(region.k, step(region.k))),
            }
            self.region(gpu, chosen, dims, shift, low)?;
            return self.region(gpu, chosen, dims, shift, high);
        }
        self.dispatch(gpu, variant, dims, shift, &region)
    }

    /// The rows, columns and steps of a region as a product of their own, over the same batches.
    fn piece(&self, region: &Region) -> Product<'_> {
        let [m, n, k] = [region.m, region.n, region.k];
        let start = |of: &Matrices, rows: [usize; 2], columns: [usize; 2]| rows[0] * of.row + columns[0] * of.col;
        let (a, b, y) = (self.a.at(start(&self.a, m, k)), self.b.at(start(&self.b, k, n)), self.y.at(start(&self.y, m, n)));
        Product { m: m[1] - m[0], n: n[1] - n[0], k: k[1] - k[0], a, b, y, ..*self }
    }

    /// Where a region must be cut before it can be one dispatch, if anywhere.
    fn cut(&self, gpu: &Gpu, variant: &impl Tiled, dims: &Batches, region: &Region) -> Result<Option<Axis>> {
        let caps = gpu.caps();
        let [down, across, deep] = groups(variant, region);
        for (index, part) in self.parts(region).into_iter().enumerate() {
            let Some(part) = part else { continue };
            let (low, high) = part.extent(index, dims, region);
            let bytes = ((high - low) * part.matrices.tensor.dtype().bytes()) as u64 + u64::from(caps.storage_alignment);
            if bytes <= caps.max_binding {
                continue;
            }
            // The axis with the longest step that can still be cut: what is left in the end is a part of one row.
            let mut axes = vec![(dims.longest(index), Axis::Batch, region.count)];
            axes.extend(part.axes.iter().map(|&(stride, axis, [from, to])| (stride, axis, to - from)));
            let longest = axes.into_iter().filter(|&(stride, _, size)| size > 1 && stride > 0).max_by_key(|&(stride, ..)| stride);
            match longest {
                Some((stride, axis, _)) if stride > 1 => return Ok(Some(axis)),
                _ => {
                    let what = "bytes of one row of a tensor with its alignment, which one binding must hold".to_string();
                    return Err(Error::Limit { op: self.op, what, limit: caps.max_binding, got: bytes });
                }
            }
        }
        // What is stored as f16 is never guarded, takes 9 rounds for every 16 steps, and is not cut: see `dispatch`.
        let long = region.k[1] - region.k[0] > DEPTH && self.y.tensor.dtype() == DType::F32;
        if long && caps.max_rounds.is_some() {
            return Ok(Some(Axis::K));
        }
        let limit = caps.max_workgroups as usize;
        let too_long = gpu.share(Work { flops: self.flops(region), bytes: 0.0 }, deep * down * across) > 1.0;
        Ok(if deep > limit || (too_long && region.count > 1) {
            Some(Axis::Batch)
        } else if down > limit || (too_long && down > 1) {
            Some(Axis::M)
        } else if across > limit || (too_long && across > 1) {
            Some(Axis::N)
        } else {
            None
        })
    }

    fn flops(&self, r: &Region) -> f64 {
        2.0 * r.count as f64 * (r.m[1] - r.m[0]) as f64 * (r.n[1] - r.n[0]) as f64 * (r.k[1] - r.k[0]) as f64
    }

    /// a, b, y and the extra, each with what its rows and columns are.
    fn parts(&self, r: &Region) -> [Option<Part<'_>>; 4] {
        let part = |matrices, rows, columns| Some(Part::new(matrices, rows, columns));
        let (m, n, k) = ((Axis::M, r.m), (Axis::N, r.n), (Axis::K, r.k));
        let extra = match self.extra {
            Extra::None => None,
            Extra::OfY(e) => part(e, m, n),
            Extra::OfA(e) => part(e, m, k),
        };
        [part(self.a, m, k), part(self.b, k, n), part(self.y, m, n), extra]
    }

    fn dispatch<V: Tiled>(&self, gpu: &Gpu, variant: V, dims: &Batches, shift: [usize; 4], region: &Region) -> Result<()> {
        let cut_k = region.k[0] > 0 || region.k[1] < self.k;
        if cut_k && self.y.tensor.dtype() == DType::F16 {
            // Partial sums would be rounded to f16.
            let what = "bytes of an operand whose product is stored as f16".to_string();
            return Err(Error::Limit { op: self.op, what, limit: gpu.caps().max_binding, got: self.b.tensor.bytes() });
        }
        let mut views = [None; 4];
        let mut bases = [0u32; 4];
        let mut bytes = 0.0;
        for (index, part) in self.parts(region).into_iter().enumerate() {
            let Some(part) = part else { continue };
            let (low, high) = part.extent(index, dims, region);
            let origin = part.matrices.start + part.axes.iter().map(|&(stride, _, [from, _])| stride * from).sum::<usize>();
            let view = part.matrices.tensor.window(shift[index] + low, high - low);
            // The kernel adds the offset of the batch, so the base of a window may be negative: u32 arithmetic wraps around.
            bases[index] = view.base().wrapping_add(origin.wrapping_sub(low) as u32);
            // Between strided rows, and where matrices are repeated, there is less or more than what is moved once.
            let [rows, columns] = part.axes.map(|(_, _, [from, to])| to - from);
            bytes += ((high - low).min(region.count * rows * columns) * part.matrices.tensor.dtype().bytes()) as f64;
            views[index] = Some(view);
        }
        let (sizes, [a_batch, b_batch, y_batch, extra_batch]) = dims.params();
        let extra = self.extra.matrices();
        let size = |[from, to]: [usize; 2]| (to - from) as u32;
        let params = ProductParams {
            m: size(region.m),
            n: size(region.n),
            k: size(region.k),
            accumulate: u32::from(self.accumulate || region.k[0] > 0),
            scale: self.scale,
            first: region.first as u32,
            a_base: bases[0],
            a_row: self.a.row as u32,
            a_col: self.a.col as u32,
            b_base: bases[1],
            b_row: self.b.row as u32,
            b_col: self.b.col as u32,
            y_base: bases[2],
            y_row: self.y.row as u32,
            y_col: self.y.col as u32,
            extra_base: bases[3],
            extra_row: extra.map_or(0, |e| e.row as u32),
            extra_col: extra.map_or(0, |e| e.col as u32),
            count: region.count as u32,
            padding: 0,
            sizes,
            a_batch,
            b_batch,
            y_batch,
            extra_batch,
        };
        let [Some(a), Some(b), Some(y), extra] = views else { unreachable!("a, b and y are always parts") };
        let binds = [Bind::Read(a), Bind::Read(b), Bind::maybe(extra), Bind::Write(y)];
        let [down, across, deep] = groups(&variant, region).map(|count| count as u32);
        gpu.dispatch(variant, &params, &binds, [across, down, deep], Work { flops: self.flops(region), bytes })
    }
}

impl<'a> Extra<'a> {
    fn map<'b>(&'b self, change: impl Fn(Matrices<'a>) -> Matrices<'b>) -> Extra<'b> {
        match *self {
            Extra::None => Extra::None,
            Extra::OfY(e) => Extra::OfY(change(e)),
            Extra::OfA(e) => Extra::OfA(change(e)),
        }
    }

    fn matrices(&self) -> Option<&Matrices<'a>> {
        match self {
            Extra::None => None,
            Extra::OfY(e) | Extra::OfA(e) => Some(e),
        }
    }
}

/// One tensor of a region.
struct Part<'a> {
    matrices: Matrices<'a>,
    axes: [(usize, Axis, [usize; 2]); 2],
}

impl<'a> Part<'a> {
    fn new(matrices: Matrices<'a>, rows: (Axis, [usize; 2]), columns: (Axis, [usize; 2])) -> Self {
        Part { axes: [(matrices.row, rows.0, rows.1), (matrices.col, columns.0, columns.1)], matrices }
    }

    /// The first element that the region reads, and the one past the last, not counting outer batch dimensions.
    fn extent(&self, index: usize, dims: &Batches, region: &Region) -> (usize, usize) {
        let (first, last) = dims.extent(index, region.first, region.count);
        let along = |end: usize| self.axes.iter().map(|&(stride, _, range)| stride * (range[end] - end)).sum::<usize>();
        let start = self.matrices.start;
        (start + first + along(0), start + last + along(1) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::TILE;
    use crate::gpu::LIBRARY;

    #[test]
    fn the_shader_has_the_same_tile() {
        let (_, text) = LIBRARY.iter().find(|(stem, _)| *stem == "product").unwrap();
        assert!(text.lines().any(|line| line == format!("const TILE: u32 = {TILE}u;")));
    }
}
