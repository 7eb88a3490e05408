//! Kernels over several axes, cut until every piece can be one dispatch: what each tensor reaches must fit a binding, and no dispatch may take
//! too long. Products have a cut of their own, which knows their tiles (product.rs).

use crate::gpu::{Gpu, Tensor, View, Work};
use crate::{Error, Result};

/// A range of indices, from one to before another, along each of D axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region<const D: usize>([[usize; 2]; D]);

impl<const D: usize> Region<D> {
    /// All indices.
    pub fn whole(sizes: [usize; D]) -> Self {
        Region(sizes.map(|size| [0, size]))
    }

    /// The first index along each axis.
    pub fn starts(&self) -> [usize; D] {
        self.0.map(|[from, _]| from)
    }

    /// The number of indices along each axis.
    pub fn sizes(&self) -> [usize; D] {
        self.0.map(|[from, to]| to - from)
    }

    /// Two parts, the first of which is whole tiles where there are several.
    fn halves(&self, axis: usize, tile: usize) -> [Self; 2] {
        let [from, to] = self.0[axis];
        let step = if to - from > tile { tile } else { 1 };
        let middle = from + ((to - from) / 2).next_multiple_of(step).min(to - from - 1);
        let (mut low, mut high) = (*self, *self);
        (low.0[axis][1], high.0[axis][0]) = (middle, middle);
        [low, high]
    }
}

/// A tensor with an element for each combination of indices, found by strides that are 0 along axes that it does not have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a, const D: usize> {
    pub tensor: &'a Tensor,
    pub strides: [usize; D],
}

impl<'a, const D: usize> Part<'a, D> {
    /// The elements from the first that a region reaches to the last. The first one, at the view's base, is that of the region's first indices.
    pub fn window(&self, region: &Region<D>) -> View<'a> {
        let first = region.starts().iter().zip(self.strides).map(|(start, stride)| start * stride).sum();
        self.tensor.window(first, self.count(region))
    }

    fn count(&self, region: &Region<D>) -> usize {
        region.sizes().iter().zip(self.strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>() + 1
    }

    /// The axis with the longest step, of those that can still be cut.
    fn longest(&self, region: &Region<D>) -> Option<usize> {
        let sizes = region.sizes();
        (0..D).filter(|&axis| sizes[axis] > 1 && self.strides[axis] > 0).max_by_key(|&axis| self.strides[axis])
    }
}

/// How the work of a kernel is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cuts<const D: usize> {
    pub op: &'static str,
    /// Indices along each axis that a workgroup takes.
    pub tiles: [usize; D],
    /// The axes of the results. Along the others is a sum, whose order must not depend on how fast a device is.
    pub kept: [bool; D],
    /// The most indices along each axis in one dispatch.
    pub most: [usize; D],
    /// Floating-point operations for each combination of indices.
    pub flops: f64,
}

impl<const D: usize> Cuts<D> {
    /// Runs pieces of a region, those with lower indices first, so that sums which had to be cut are in order.
    ///
    /// # Errors
    /// [`Error::Limit`] when a single element of a tensor is over the limit of a binding; those of `run`.
    pub fn each(&self, gpu: &Gpu, region: Region<D>, parts: &[Part<D>], run: &mut impl FnMut(&Region<D>) -> Result<()>) -> Result<()> {
        match self.axis(gpu, &region, parts)? {
            None => run(&region),
            Some(axis) => region.halves(axis, self.tiles[axis]).into_iter().try_for_each(|half| self.each(gpu, half, parts, run)),
        }
    }

    /// The floating-point operations of a region.
    pub fn flops(&self, region: &Region<D>) -> f64 {
        region.sizes().iter().fold(self.flops, |flops, &size| flops * size as f64)
    }

    /// The workgroups of a region.
    pub fn workgroups(&self, region: &Region<D>) -> usize {
        let sizes = region.sizes();
        (0..D).filter(|&axis| self.kept[axis]).map(|axis| sizes[axis].div_ceil(self.tiles[axis])).product()
    }

    /// Where a region must be cut before it can be one dispatch, if anywhere. What bindings and loops ask for comes first: it depends on
    /// shapes and limits alone.
    fn axis(&self, gpu: &Gpu, region: &Region<D>, parts: &[Part<D>]) -> Result<Option<usize>> {
        let room = gpu.caps().max_window();
        for part in parts {
            let bytes = part.count(region) * part.tensor.dtype().bytes();
            if bytes <= room {
                continue;
            }
            let what = || "bytes of one element with its alignment, which one binding must hold".to_string();
            let limit = || Error::Limit { op: self.op, what: what(), limit: gpu.caps().max_binding, got: bytes as u64 };
            return part.longest(region).ok_or_else(limit).map(Some);
        }
        let sizes = region.sizes();
        if let Some(axis) = (0..D).find(|&axis| sizes[axis] > self.most[axis]) {
            return Ok(Some(axis));
        }
        let work = Work { flops: self.flops(region), bytes: 0.0 };
        if gpu.share(work, self.workgroups(region)) <= 1.0 {
            return Ok(None);
        }
        Ok((0..D).find(|&axis| self.kept[axis] && sizes[axis] > self.tiles[axis]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_whole_tiles() {
        let halves = |size, tile| Region::whole([size, 5]).halves(0, tile).map(|half| half.0[0]);
        assert_eq!(halves(100, 16), [[0, 64], [64, 100]]);
        assert_eq!(halves(33, 16), [[0, 16], [16, 33]]);
        assert_eq!(halves(17, 16), [[0, 16], [16, 17]]);
        assert_eq!(halves(16, 16), [[0, 8], [8, 16]]);
        assert_eq!(halves(2, 16), [[0, 1], [1, 2]]);
    }

    #[test]
    fn workgroups_are_those_of_the_results() {
        let cuts = Cuts { op: "test", tiles: [1, 4, 64], kept: [true, true, false], most: [usize::MAX; 3], flops: 2.0 };
        let region = Region::whole([3, 9, 100]);
        assert_eq!((cuts.workgroups(&region), cuts.flops(&region)), (9, 5400.0));
    }
}
