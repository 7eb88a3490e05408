//! Strategies that several operations share, and broadcasting, which masks and planted values go by.

use proptest::prelude::*;
use proptest::sample::select;

/// One of these; a failure shrinks towards the first.
pub fn one_of<T: Clone + std::fmt::Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = T> {
    select(values)
}

/// One of these, or in most requests none.
pub fn maybe<T: Clone + std::fmt::Debug + 'static>(share: f64, values: &'static [T]) -> impl Strategy<Value = Option<T>> {
    proptest::option::weighted(share, select(values))
}

/// True in this share of the requests.
pub fn chance(share: f64) -> impl Strategy<Value = bool> {
    proptest::bool::weighted(share)
}

/// A few small dimensions.
pub fn dims(largest: usize, most: usize) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1..=largest, 0..=most)
}

/// How a tensor is smaller than the shape that it is repeated to.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// Which dimensions stay; the others are 1. Repeats for shapes of more.
    keep: Vec<bool>,
    /// So many of the first ones are left out.
    absent: usize,
}

/// Any way of broadcasting.
pub fn broadcast() -> impl Strategy<Value = Broadcast> {
    let absent = prop_oneof![3 => Just(0), 2 => 0..=5usize];
    (proptest::collection::vec(chance(0.6), 5), absent).prop_map(|(keep, absent)| Broadcast { keep, absent })
}

impl Broadcast {
    /// The smaller shape.
    pub fn of(&self, full: &[usize]) -> Vec<usize> {
        let kept = full.iter().enumerate().map(|(axis, &dim)| if self.keep[axis % self.keep.len()] { dim } else { 1 });
        kept.skip(self.absent).collect()
    }
}

/// The shape that both are repeated to.
pub fn common(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank).map(|axis| dim(a, axis).max(dim(b, axis))).collect()
}

/// For each element of a tensor of shape `into`, row-major, the element of one of `shape` that is repeated there.
pub fn repeated(shape: &[usize], into: &[usize]) -> Vec<usize> {
    let element = |mut at: usize| {
        let (mut offset, mut stride) = (0, 1);
        for axis in 0..into.len() {
            let (from_end, size) = (axis + 1, into[into.len() - axis - 1]);
            if let Some(&dim) = shape.len().checked_sub(from_end).map(|i| &shape[i]) {
                offset += if dim == 1 { 0 } else { at % size * stride };
                stride *= dim;
            }
            at /= size;
        }
        offset
    };
    (0..into.iter().product()).map(element).collect()
}

#[test]
fn repeated_elements() {
    assert_eq!(repeated(&[2, 1], &[2, 3]), [0, 0, 0, 1, 1, 1]);
    assert_eq!(repeated(&[3], &[2, 3]), [0, 1, 2, 0, 1, 2]);
    assert_eq!(repeated(&[], &[2]), [0, 0]);
    assert_eq!(repeated(&[2, 1, 2], &[2, 2, 2]), [0, 1, 0, 1, 2, 3, 2, 3]);
}
