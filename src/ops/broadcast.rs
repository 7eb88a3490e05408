//! Broadcasting as numpy does it: shapes are aligned at their last dimension, and a dimension of 1, or one that is absent,
//! is repeated. Source: numpy's user guide, "Broadcasting".
//!
//! A tensor is never copied to the larger shape. It is read through strides that are 0 along every repeated dimension, by
//! the references and by the kernels alike.

/// The shape that both tensors are repeated to; `None` when two dimensions differ and neither is 1.
pub(crate) fn common(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (dim(a, axis), dim(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// The strides, in elements, with which a row-major tensor of `shape` is read at an index of `into`: 0 where it is repeated.
/// `None` when `shape` does not broadcast to `into`.
pub(crate) fn strides(shape: &[usize], into: &[usize]) -> Option<Vec<usize>> {
    let absent = into.len().checked_sub(shape.len())?;
    let mut strides = vec![0; into.len()];
    let mut stride = 1;
    for (axis, &dim) in shape.iter().enumerate().rev() {
        if dim == into[absent + axis] {
            // A dimension of 1 has one index only; stride 0 lets a caller see that nothing varies along it.
            strides[absent + axis] = if dim == 1 { 0 } else { stride };
        } else if dim != 1 {
            return None;
        }
        stride *= dim;
    }
    Some(strides)
}

/// The offset of every index of `shape`, in row-major order: the sum of index times stride. `[0]` for the shape `[]`.
pub(crate) fn offsets(shape: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut offsets = vec![0];
    for (&dim, &stride) in shape.iter().zip(strides) {
        offsets = offsets.iter().flat_map(|&offset| (0..dim).map(move |i| offset + i * stride)).collect();
    }
    offsets
}

/// The converse of [`offsets`]: for each of `count` slices, the indices that read it. A gradient is summed over them.
pub(crate) fn readers(count: usize, offsets: &[usize]) -> Vec<Vec<usize>> {
    let mut readers = vec![Vec::new(); count];
    for (index, &offset) in offsets.iter().enumerate() {
        readers[offset].push(index);
    }
    readers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_shape() {
        assert_eq!(common(&[], &[]), Some(vec![]));
        assert_eq!(common(&[3, 1], &[4]), Some(vec![3, 4]));
        assert_eq!(common(&[2, 1, 5], &[3, 1]), Some(vec![2, 3, 5]));
        assert_eq!(common(&[7], &[2, 3, 7]), Some(vec![2, 3, 7]));
        assert_eq!(common(&[2], &[3]), None);
        assert_eq!(common(&[2, 3], &[2, 1, 2]), None);
    }

    #[test]
    fn strides_are_zero_where_repeated() {
        assert_eq!(strides(&[2, 3, 5], &[2, 3, 5]), Some(vec![15, 5, 1]));
        assert_eq!(strides(&[2, 1, 5], &[2, 3, 5]), Some(vec![5, 0, 1]));
        assert_eq!(strides(&[3, 1], &[2, 3, 5]), Some(vec![0, 1, 0]));
        assert_eq!(strides(&[], &[2, 3]), Some(vec![0, 0]));
        assert_eq!(strides(&[1, 1], &[1, 1]), Some(vec![0, 0]));
        assert_eq!(strides(&[2], &[2, 3]), None);
        assert_eq!(strides(&[4, 2, 3], &[2, 3]), None, "broadcasting goes one way");
        assert_eq!(strides(&[2, 3], &[1, 3]), None, "a dimension of the result is never narrower");
    }

    #[test]
    fn offsets_and_readers_are_converse() {
        let into = [2, 3, 2];
        let offsets = offsets(&into, &strides(&[2, 1, 2], &into).unwrap());
        assert_eq!(offsets, [0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3]);
        let readers = readers(4, &offsets);
        assert_eq!(readers[1], [1, 3, 5]);
        assert_eq!(readers.concat().len(), offsets.len());
        assert_eq!(super::offsets(&[], &[]), [0]);
    }
}
