//! Several tensors stepped through together: dimensions with one stride for each tensor. Kernels take up to [`KERNEL_DIMS`] of them
//! (shaders/lib/index.wgsl); what has more is recorded in several dispatches.

use crate::Result;

/// Dimensions that a kernel can tell apart.
pub(crate) const KERNEL_DIMS: usize = 4;

/// Dimensions, the last one fastest, each with its size and the strides of N tensors, in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dims<const N: usize>(Vec<(usize, [usize; N])>);

impl<const N: usize> Dims<N> {
    /// Leaves out dimensions of one and joins neighbours where every tensor steps evenly over both.
    pub fn new(dims: impl IntoIterator<Item = (usize, [usize; N])>) -> Self {
        let mut joined: Vec<(usize, [usize; N])> = vec![];
        for (size, strides) in dims.into_iter().filter(|(size, _)| *size > 1) {
            match joined.last_mut() {
                Some(last) if (0..N).all(|t| last.1[t] == strides[t] * size) => *last = (last.0 * size, strides),
                _ => joined.push((size, strides)),
            }
        }
        Dims(joined)
    }

    /// The number of indices.
    pub fn count(&self) -> usize {
        self.0.iter().map(|(size, _)| size).product()
    }

    /// The offsets of an index in each tensor.
    pub fn offsets(&self, index: usize) -> [usize; N] {
        let mut rest = index;
        let mut offsets = [0; N];
        for (size, strides) in self.0.iter().rev() {
            (0..N).for_each(|t| offsets[t] += rest % size * strides[t]);
            rest /= size;
        }
        offsets
    }

    /// The largest stride of a tensor: how far the outermost steps reach.
    pub fn longest(&self, tensor: usize) -> usize {
        self.widest(tensor).map_or(0, |axis| self.0[axis].1[tensor])
    }

    /// The stride of the fastest dimension; `None` when there is one index only.
    pub fn last_stride(&self, tensor: usize) -> Option<usize> {
        self.0.last().map(|(_, strides)| strides[tensor])
    }

    /// The smallest and the largest offset in a tensor of `count` indices, at least one, from `first` on.
    pub fn extent(&self, tensor: usize, first: usize, count: usize) -> (usize, usize) {
        let dims: Vec<(usize, usize)> = self.0.iter().map(|(size, strides)| (*size, strides[tensor])).collect();
        reach(&dims, first, first + count - 1)
    }

    /// The dimensions that do not fit one kernel, and those that do.
    pub fn split(&self) -> (Self, Self) {
        let (outer, inner) = self.0.split_at(self.0.len().saturating_sub(KERNEL_DIMS));
        (Dims(outer.to_vec()), Dims(inner.to_vec()))
    }

    /// As kernel parameters, filled up with dimensions of one: the sizes, and the strides of each tensor.
    ///
    /// # Panics
    /// With more than [`KERNEL_DIMS`] dimensions: [`split`](Self::split) comes first.
    pub fn params(&self) -> ([u32; KERNEL_DIMS], [[u32; KERNEL_DIMS]; N]) {
        let mut padded = [(1, [0; N]); KERNEL_DIMS];
        padded[KERNEL_DIMS - self.0.len()..].copy_from_slice(&self.0);
        let strides = std::array::from_fn(|t| padded.map(|(_, strides)| strides[t] as u32));
        (padded.map(|(size, _)| size as u32), strides)
    }

    /// The dimension with the longest stride of a tensor, of those that reach anywhere. What was halved may have one index left.
    pub fn widest(&self, tensor: usize) -> Option<usize> {
        let dims = self.0.iter().enumerate().filter(|(_, (size, strides))| *size > 1 && strides[tensor] > 0);
        dims.max_by_key(|(_, (_, strides))| strides[tensor]).map(|(axis, _)| axis)
    }

    /// Whether a tensor's offset of every index is the index.
    pub fn is_dense(&self, tensor: usize) -> bool {
        let next = |end: usize, (size, strides): &(usize, [usize; N])| (strides[tensor] == end).then(|| end * size);
        self.0.iter().rev().try_fold(1, next).is_some()
    }

    /// Calls `run` with boxes that together have every index once, and with each one's start in the tensors. A box has no more dimensions than a
    /// kernel knows, no more than `most` indices, and reaches over no more than `room` elements of a tensor: for what may be done in any
    /// order.
    pub fn boxes(&self, most: usize, room: [usize; N], run: &mut impl FnMut(&Self, [usize; N]) -> Result<()>) -> Result<()> {
        self.boxes_from([0; N], most, room, run)
    }

    fn boxes_from(
        &self,
        start: [usize; N],
        most: usize,
        room: [usize; N],
        run: &mut impl FnMut(&Self, [usize; N]) -> Result<()>,
    ) -> Result<()> {
        if self.0.len() > KERNEL_DIMS {
            // The shortest one costs the fewest dispatches; the fastest one stays, since neighbours are read together.
            let shortest = (0..self.0.len() - 1).min_by_key(|&axis| self.0[axis].0).unwrap_or(0);
            let mut rest = self.clone();
            let (size, strides) = rest.0.remove(shortest);
            let at = |i: usize| std::array::from_fn(|t| start[t] + i * strides[t]);
            return (0..size).try_for_each(|i| rest.boxes_from(at(i), most, room, run));
        }
        let count = self.count();
        let too_wide = (0..N).find(|&t| self.extent(t, 0, count).1 >= room[t]);
        let axis = match too_wide {
            Some(tensor) => self.widest(tensor),
            None if count > most => (0..self.0.len()).find(|&axis| self.0[axis].0 > 1),
            None => None,
        };
        let Some(axis) = axis else { return run(self, start) };
        let (low, high, shift) = self.halves(axis);
        low.boxes_from(start, most, room, run)?;
        high.boxes_from(std::array::from_fn(|t| start[t] + shift[t]), most, room, run)
    }

    /// The dimensions cut in two along one, and how far the second part starts in each tensor.
    pub fn halves(&self, axis: usize) -> (Self, Self, [usize; N]) {
        let (size, strides) = self.0[axis];
        let with = |size: usize| {
            let mut dims = self.0.clone();
            dims[axis].0 = size;
            Dims(dims)
        };
        (with(size / 2), with(size - size / 2), strides.map(|stride| stride * (size / 2)))
    }
}

/// The smallest and the largest offset of the indices from `first` to `last`. Not index by index: there may be 2³¹.
fn reach(dims: &[(usize, usize)], first: usize, last: usize) -> (usize, usize) {
    let [(_, stride), inner @ ..] = dims else { return (0, 0) };
    let count: usize = inner.iter().map(|(size, _)| size).product();
    // One index of the outermost dimension, and the inner ones from one to another.
    let at = |i: usize, first: usize, last: usize| {
        let (low, high) = reach(inner, first, last);
        (i * stride + low, i * stride + high)
    };
    let (i, j) = (first / count, last / count);
    if i == j {
        return at(i, first % count, last % count);
    }
    // The first one from where it begins, the last one to where it ends, and between them whole ones.
    let mut parts = vec![at(i, first % count, count - 1), at(j, 0, last % count)];
    if j - i > 1 {
        parts.extend([i + 1, j - 1].map(|whole| at(whole, 0, count - 1)));
    }
    parts.into_iter().fold((usize::MAX, 0), |(low, high), part| (low.min(part.0), high.max(part.1)))
}

/// The strides of batch dimensions whose matrices have `matrix` elements each and follow one another.
pub(crate) fn contiguous(batch: &[usize], matrix: usize) -> Vec<usize> {
    let mut stride = matrix;
    let mut strides = vec![];
    for size in batch.iter().rev() {
        strides.push(stride);
        stride *= size;
    }
    strides.reverse();
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined_where_all_tensors_step_evenly() {
        // A contiguous tensor, and one that is repeated along the middle.
        let dims = Dims::new([(2, [30, 5]), (3, [10, 0]), (1, [99, 99]), (2, [5, 0]), (5, [1, 1])]);
        assert_eq!(dims.0, [(2, [30, 5]), (6, [5, 0]), (5, [1, 1])]);
        assert_eq!((dims.count(), dims.offsets(59), dims.longest(0)), (60, [59, 9], 30));
        assert_eq!((dims.extent(1, 0, 60), dims.extent(0, 4, 3), dims.extent(1, 4, 3)), ((0, 9), (4, 6), (0, 4)));
        assert_eq!(dims.params(), ([1, 2, 6, 5], [[0, 30, 5, 1], [0, 5, 0, 1]]));
    }

    /// Every range of several shapes, against the offsets themselves.
    #[test]
    fn extents_are_those_of_the_offsets() {
        let shapes: [&[(usize, [usize; 1])]; 5] =
            [&[], &[(7, [3])], &[(3, [1]), (4, [10])], &[(3, [0]), (4, [5]), (2, [100])], &[(2, [50]), (3, [1]), (2, [0]), (3, [7])]];
        for dims in shapes.map(|dims| Dims(dims.to_vec())) {
            for first in 0..dims.count() {
                for count in 1..=dims.count() - first {
                    let offsets = || (first..first + count).map(|index| dims.offsets(index)[0]);
                    let expected = (offsets().min().unwrap(), offsets().max().unwrap());
                    assert_eq!(dims.extent(0, first, count), expected, "{dims:?}, {count} from {first}");
                }
            }
        }
    }

    /// Ranges as long as tensors are allowed to be take no time.
    #[test]
    fn extents_of_long_ranges() {
        let dims = Dims::new([(1 << 15, [1]), (1 << 16, [1 << 15])]);
        assert_eq!((dims.count(), dims.extent(0, 0, 1 << 31)), (1 << 31, (0, (1 << 31) - 1)));
        assert_eq!(dims.extent(0, (1 << 31) - 3, 3), ((((1 << 16) - 2) << 15) - 1, (1 << 31) - 1));
        assert_eq!(dims.offsets((1 << 31) - 1), [(1 << 31) - 1]);
    }

    #[test]
    fn boxes_cover_everything_once() {
        // A copy of five dimensions that exchanges some, one that repeats, and one of a single element.
        let shapes: [&[(usize, [usize; 2])]; 3] =
            [&[(3, [40, 1]), (2, [20, 75]), (5, [4, 15]), (4, [1, 3]), (1, [9, 9])], &[(7, [0, 12]), (4, [3, 3]), (3, [1, 1])], &[]];
        for dims in shapes.map(|dims| Dims::new(dims.to_vec())) {
            for (most, room) in [(1000, 1000), (7, 1000), (1000, 13), (1, 1)] {
                let mut seen = vec![];
                let run = &mut |part: &Dims<2>, start: [usize; 2]| {
                    let count = part.count();
                    assert!(count <= most && (0..2).all(|t| part.extent(t, 0, count).1 < room), "{part:?}");
                    seen.extend((0..count).map(|i| part.offsets(i)).map(|at| [at[0] + start[0], at[1] + start[1]]));
                    Ok(())
                };
                dims.boxes(most, [room; 2], run).unwrap();
                let mut all: Vec<[usize; 2]> = (0..dims.count()).map(|i| dims.offsets(i)).collect();
                seen.sort_unstable();
                all.sort_unstable();
                assert_eq!(seen, all, "{dims:?}, at most {most}, {room} wide");
            }
        }
    }

    #[test]
    fn dense_is_one_after_the_other() {
        let dims = Dims::new([(2, [15, 1]), (3, [5, 2]), (5, [1, 6])]);
        assert_eq!([dims.is_dense(0), dims.is_dense(1)], [true, false]);
        assert!(Dims::<1>::new([]).is_dense(0) && !Dims::new([(3, [0])]).is_dense(0));
    }

    #[test]
    fn a_dimension_that_was_used_up_is_not_the_widest() {
        let (low, ..) = Dims(vec![(2, [100]), (9, [1])]).halves(0);
        assert_eq!((low.widest(0), low.longest(0)), (Some(1), 1));
    }

    #[test]
    fn halves_cover_the_whole() {
        let dims = Dims::new([(5, [7, 1])]);
        let (low, high, start) = dims.halves(0);
        assert_eq!((low.count(), high.count(), start), (2, 3, [14, 2]));
    }
}
