//! Losses with a term for each element, and weights that are broadcast to them.

use super::{Reduction, total};
use crate::gpu::{Bind, Field, Gpu, Params, Tensor, Variant, View, Work, spread};
use crate::ops::strided::Dims;
use crate::{DType, Error, Result};

crate::params! {
    /// As `Params` in shaders/lib/elements.wgsl.
    #[derive(Default)]
    pub(crate) struct ElementParams {
        first: u32, end: u32, count: u32, index: u32, scale: f32, d_loss_step: u32,
        x_base: u32, targets_base: u32, weight_base: u32, pos_weight_base: u32,
        loss_base: u32, d_loss_base: u32, d_x_base: u32, d_targets_base: u32, padding_0: u32, padding_1: u32,
        sizes: [u32; 4], weight_strides: [u32; 4], pos_weight_strides: [u32; 4],
    }
}

/// The fields, for kernel declarations.
pub(crate) const FIELDS: &[Field] = ElementParams::FIELDS;

/// Invocations of a workgroup.
pub(crate) const LANES: u32 = 256;
/// Elements of a workgroup.
const SLICE: usize = LANES as usize * 16;

/// A tensor that is read at every element, through these strides.
pub(crate) type Weight<'a> = Option<(&'a Tensor, Vec<usize>)>;

/// The elements of a loss.
pub(crate) struct Elements<'a> {
    op: &'static str,
    count: usize,
    weights: [Option<&'a Tensor>; 2],
    outer: Dims<2>,
    inner: Dims<2>,
}

/// Neighbouring elements whose windows fit bindings.
pub(crate) struct Piece<'a> {
    /// The first element of all, and how many there are.
    pub first: usize,
    pub count: usize,
    /// The first slice of all.
    slice: usize,
    pub weights: [Option<View<'a>>; 2],
    /// With the bases of everything but the weights left at 0.
    pub params: ElementParams,
}

impl<'a> Elements<'a> {
    /// Of a tensor of this shape.
    pub fn new(op: &'static str, shape: &[usize], weights: [Weight<'a>; 2]) -> Self {
        let stride = |weight: &Weight, axis: usize| weight.as_ref().map_or(0, |(_, strides)| strides[axis]);
        let dims = Dims::new((0..shape.len()).map(|axis| (shape[axis], [0, 1].map(|w| stride(&weights[w], axis)))));
        let (outer, inner) = dims.split();
        Elements { op, count: shape.iter().product(), weights: weights.map(|weight| weight.map(|(tensor, _)| tensor)), outer, inner }
    }

    /// Slices of one of the outer indices.
    fn slices(&self) -> usize {
        self.inner.count().div_ceil(SLICE)
    }

    /// Cuts the elements into pieces, at whole slices.
    fn pieces(&self, gpu: &Gpu, mut run: impl FnMut(Piece) -> Result<()>) -> Result<()> {
        let room = gpu.caps().max_window() / DType::F32.bytes();
        for outer in 0..self.outer.count() {
            let shift = self.outer.offsets(outer);
            let mut first = 0;
            while first < self.inner.count() {
                let left = self.inner.count() - first;
                let mut count = left.min((room / SLICE).max(1) * SLICE);
                let windows = |count: usize| {
                    let extent = |weight: usize| self.inner.extent(weight, first, count);
                    [0, 1].map(|w| self.weights[w].map(|tensor| (tensor, extent(w), shift[w])))
                };
                let longest = |count: usize| windows(count).iter().flatten().map(|(_, (low, high), _)| high - low + 1).max().unwrap_or(0);
                // A weight that is repeated is read all over again within few elements.
                while longest(count) > room && count > SLICE {
                    count = (count / 2).next_multiple_of(SLICE).min(count - SLICE);
                }
                if longest(count) > room {
                    let (limit, got) = (gpu.caps().max_binding, 4 * longest(count) as u64);
                    return Err(Error::Limit { op: self.op, what: "bytes of a weight that a few elements read".into(), limit, got });
                }
                let bound = windows(count).map(|w| w.map(|(tensor, (low, high), shift)| (tensor.window(shift + low, high - low + 1), low)));
                let (sizes, [weight_strides, pos_weight_strides]) = self.inner.params();
                let base = |w: usize| bound[w].map_or(0, |(view, low)| view.base().wrapping_sub(low as u32));
                let params = ElementParams {
                    count: count as u32,
                    index: first as u32,
                    weight_base: base(0),
                    pos_weight_base: base(1),
                    sizes,
                    weight_strides,
                    pos_weight_strides,
                    ..Default::default()
                };
                let slice = outer * self.slices() + first / SLICE;
                let weights = bound.map(|bound| bound.map(|(view, _)| view));
                run(Piece { first: outer * self.inner.count() + first, count, slice, weights, params })?;
                first += count;
            }
        }
        Ok(())
    }

    /// The loss: `run` records the kernel that writes its terms, or the sums of slices, to what it is given.
    pub fn loss(
        &self,
        gpu: &Gpu,
        shape: &[usize],
        reduction: Reduction,
        mut run: impl FnMut(&Piece, View) -> Result<()>,
    ) -> Result<Tensor> {
        let terms = reduction == Reduction::None;
        let parts = if terms { shape.to_vec() } else { vec![self.outer.count() * self.slices(), 2] };
        let found = gpu.empty(DType::F32, &parts)?;
        self.pieces(gpu, |piece| {
            let sums = || found.window(2 * piece.slice, 2 * piece.count.div_ceil(SLICE));
            let to = if terms { found.window(piece.first, piece.count) } else { sums() };
            run(&piece, to)
        })?;
        if terms { Ok(found) } else { Ok(total(gpu, found, reduction == Reduction::Mean)?.loss) }
    }

    /// The gradients: `run` records the kernel that makes them, with the upstream gradient of its piece.
    pub fn gradients(
        &self,
        gpu: &Gpu,
        d_loss: &Tensor,
        reduction: Reduction,
        mut run: impl FnMut(&Piece, View) -> Result<()>,
    ) -> Result<()> {
        let scale = if reduction == Reduction::Mean { 1.0 / self.count as f32 } else { 1.0 };
        self.pieces(gpu, |piece| {
            let each = reduction == Reduction::None;
            let view = if each { d_loss.window(piece.first, piece.count) } else { d_loss.view() };
            let params = ElementParams { scale, d_loss_step: u32::from(each), d_loss_base: view.base(), ..piece.params };
            run(&Piece { params, ..piece }, view)
        })
    }
}

/// Records a kernel on a piece, in as many dispatches as it takes; each element is this much work.
pub(crate) fn record(gpu: &Gpu, variant: impl Variant, params: ElementParams, binds: &[Bind], each: Work) -> Result<()> {
    let workgroups = (params.count as usize).div_ceil(SLICE);
    let work = |workgroups: usize| {
        let elements = (workgroups * SLICE) as f64;
        Work { flops: each.flops * elements, bytes: each.bytes * elements }
    };
    let most = gpu.at_once(work(1), workgroups);
    for first in (0..workgroups).step_by(most) {
        let count = most.min(workgroups - first);
        let params = ElementParams { first: first as u32, end: (first + count) as u32, ..params };
        gpu.dispatch(variant, &params, binds, spread(count, gpu.caps()), work(count))?;
    }
    Ok(())
}
