//! What the operations share on the host: shape checks with their errors, reading a tensor as numbers, drawing one.

use super::philox::Rng;
use super::{Arrays, Real, Request, broadcast, parse_shape};
use crate::array::show_shape;
use crate::gpu::{Caps, Gpu, Tensor};
use crate::{Array, DType, Data, Error, Result};

/// The most elements that a tensor may have: kernels count them in u32, and a sum of two indices must fit as well.
const MAX_ELEMENTS: u64 = 1 << 31;

/// The error for a tensor whose shape does not fit.
pub(crate) fn misfit(op: &'static str, tensor: &str, got: &[usize], expected: impl Into<String>) -> Error {
    Error::Shape { op, tensor: tensor.into(), expected: expected.into(), got: show_shape(got) }
}

/// Checks a shape that is known in full. For a scalar both `[]` and `[1]` are accepted, since some file formats have no `[]`.
pub(crate) fn expect_shape(op: &'static str, tensor: &str, got: &[usize], expected: &[usize]) -> Result<()> {
    if got == expected || (expected.is_empty() && got == [1]) {
        return Ok(());
    }
    Err(misfit(op, tensor, got, show_shape(expected)))
}

/// Checks the upstream gradient of an output, if there is one.
pub(crate) fn expect_upstream(op: &'static str, request: &Request, output: &str, shape: &[usize]) -> Result<()> {
    let name = format!("d_{output}");
    request.tensor(&name).map_or(Ok(()), |upstream| expect_shape(op, &name, upstream.shape(), shape))
}

/// The strides with which a tensor is read at the elements of one of shape `into`, to which it is repeated; `whose` is that one in the error.
pub(crate) fn expect_broadcast(op: &'static str, tensor: &str, got: &[usize], whose: &str, into: &[usize]) -> Result<Vec<usize>> {
    let apart = || misfit(op, tensor, got, format!("a shape that broadcasts to {whose}, {}", show_shape(into)));
    broadcast::strides(got, into).ok_or_else(apart)
}

/// The shape of x in a request, with which the upstream gradient of y agrees: of what works element by element.
pub(crate) fn elementwise_shape<'a>(op: &'static str, request: &'a Request) -> Result<&'a [usize]> {
    let shape = required(op, request, "x")?.shape();
    elements(op, "x", shape)?;
    expect_upstream(op, request, "y", shape)?;
    Ok(shape)
}

/// The number of elements of a tensor of this shape.
///
/// # Errors
/// [`Error::Shape`] when there are none, [`Error::Limit`] when there are more than a kernel can count.
pub(crate) fn elements(op: &'static str, tensor: &str, shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64)).unwrap_or(u64::MAX);
    if count == 0 {
        return Err(misfit(op, tensor, shape, "every dimension at least 1"));
    }
    if count > MAX_ELEMENTS {
        let what = format!("the number of elements of '{tensor}' {}", show_shape(shape));
        return Err(Error::Limit { op, what, limit: MAX_ELEMENTS, got: count });
    }
    Ok(count as usize)
}

/// A tensor that the operation cannot do without.
pub(crate) fn required<'a>(op: &'static str, request: &'a Request, name: &str) -> Result<&'a Array> {
    let missing = || Error::Tensors { op, what: format!("tensor '{name}' is missing"), expected: name.to_string() };
    request.tensor(name).ok_or_else(missing)
}

/// The error for a `--shape` that is not as the operation takes it.
pub(crate) fn wrong_shape(op: &'static str, expected: &str, got: &str) -> Error {
    Error::Argument { op, key: "shape".into(), expected: expected.into(), got: format!("'{got}'") }
}

/// A `--shape` of plain sizes.
pub(crate) fn parse_sizes(op: &'static str, expected: &'static str, text: &str) -> Result<Vec<usize>> {
    let fields = parse_shape(op, expected, text)?;
    if fields.iter().any(|field| field.len() > 1) {
        return Err(wrong_shape(op, expected, text));
    }
    Ok(fields.concat())
}

/// A `--shape` of a product: the batch dimensions of both operands, of which a field has one size for both or one for each, and the
/// three sizes of the matrices.
pub(crate) fn parse_product(op: &'static str, expected: &'static str, text: &str) -> Result<([Vec<usize>; 2], [usize; 3])> {
    let fields = parse_shape(op, expected, text)?;
    let wrong = || wrong_shape(op, expected, text);
    let [batch @ .., m, k, n] = fields.as_slice() else { return Err(wrong()) };
    let (&[m], &[k], &[n]) = (m.as_slice(), k.as_slice(), n.as_slice()) else { return Err(wrong()) };
    if batch.iter().any(|field| field.len() > 2) {
        return Err(wrong());
    }
    let own = |operand: usize| batch.iter().map(|field| field[operand.min(field.len() - 1)]).collect();
    Ok(([own(0), own(1)], [m, k, n]))
}

/// An index among `count`, of which a negative one is counted from the end; `None` for one before the first.
pub(crate) fn from_end(index: isize, count: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add_unsigned(count)? } else { index };
    usize::try_from(index).ok()
}

/// The place of an axis that may be counted from the end, as -1 is the last.
///
/// # Errors
/// [`Error::Argument`] when there is no such axis.
pub(crate) fn axis_of(op: &'static str, key: &str, axis: isize, rank: usize) -> Result<usize> {
    from_end(axis, rank).filter(|&i| i < rank).ok_or_else(|| {
        let expected = format!("one of {rank} dimensions, counted from 0, or from -1 backwards");
        Error::Argument { op, key: key.into(), expected, got: axis.to_string() }
    })
}

/// The elements in the precision of a reference.
pub(crate) fn reals<R: Real>(array: &Array) -> Vec<R> {
    array.to_f64().into_iter().map(R::new).collect()
}

/// What a reference computes with of an operand that is stored as `dtype`. What another reference made is not rounded to f32.
pub(crate) fn stored(array: &Array, dtype: DType) -> Array {
    if dtype == DType::F16 { array.to_float(dtype) } else { array.clone() }
}

/// Whether each element of a tensor of `shape` is visible under a mask that is read with these strides.
pub(crate) fn visible(mask: Option<(&Array, &[usize])>, shape: &[usize]) -> Vec<bool> {
    match mask {
        None => vec![true; shape.iter().product()],
        Some((mask, strides)) => {
            let keep = mask.to_f64();
            broadcast::offsets(shape, strides).into_iter().map(|offset| keep[offset] != 0.0).collect()
        }
    }
}

/// That a tensor on a device is stored as a float.
pub(crate) fn expect_float(op: &'static str, name: &str, tensor: &Tensor) -> Result<()> {
    match tensor.dtype() {
        DType::F32 | DType::F16 => Ok(()),
        other => Err(Error::Dtype { op, tensor: name.into(), expected: "f32 or f16".into(), got: other.to_string() }),
    }
}

/// That a tensor on a device is stored as `dtype`.
pub(crate) fn expect_dtype(op: &'static str, name: &str, tensor: &Tensor, dtype: DType) -> Result<()> {
    if tensor.dtype() == dtype {
        return Ok(());
    }
    Err(Error::Dtype { op, tensor: name.into(), expected: dtype.to_string(), got: tensor.dtype().to_string() })
}

/// The storage types of floats on a device.
pub(crate) fn floats(caps: &Caps) -> &'static [DType] {
    if caps.f16 { &[DType::F32, DType::F16] } else { &[DType::F32] }
}

/// Uploads a float tensor of a request, stored as `dtype`; `None` when it was not given.
pub(crate) fn float_tensor(gpu: &Gpu, request: &Request, name: &str, dtype: DType) -> Result<Option<Tensor>> {
    request.tensor(name).map(|array| gpu.upload(&array.to_float(dtype))).transpose()
}

/// Uploads a tensor of a request as it is; `None` when it was not given.
pub(crate) fn plain_tensor(gpu: &Gpu, request: &Request, name: &str) -> Result<Option<Tensor>> {
    request.tensor(name).map(|array| gpu.upload(array)).transpose()
}

/// The elements of a tensor of indices.
pub(crate) fn integers<'a>(op: &'static str, name: &str, array: &'a Array) -> Result<&'a [i32]> {
    match array.data() {
        Data::I32(values) => Ok(values),
        _ => Err(Error::Dtype { op, tensor: name.into(), expected: DType::I32.to_string(), got: array.dtype().to_string() }),
    }
}

/// The elements of a tensor of indices with one dimension.
pub(crate) fn list<'a>(op: &'static str, name: &str, expected: &str, array: &'a Array) -> Result<&'a [i32]> {
    let values = integers(op, name, array)?;
    if array.shape().len() == 1 { Ok(values) } else { Err(misfit(op, name, array.shape(), expected)) }
}

/// Standard-normal elements.
pub(crate) fn normal(rng: &mut Rng, shape: &[usize]) -> Array {
    Array::f32(shape, rng.normals(shape.iter().product()))
}

/// Tensors of standard-normal elements, drawn in this order.
pub(crate) fn normals<N: Into<String>, S: AsRef<[usize]>>(seed: u64, drawn: impl IntoIterator<Item = (N, S)>) -> Arrays {
    let mut rng = Rng::new(seed);
    drawn.into_iter().map(|(name, shape)| (name.into(), normal(&mut rng, shape.as_ref()))).collect()
}

/// The bytes of so many elements of f32, for the cost of an operation.
pub(crate) fn f32_bytes(elements: f64) -> f64 {
    elements * DType::F32.bytes() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert!(expect_shape("sum", "d_y", &[1], &[]).is_ok());
        assert!(expect_shape("sum", "d_y", &[1], &[1, 1]).is_err());
        let error = expect_shape("sum", "d_y", &[2], &[3]).unwrap_err();
        assert_eq!(error.to_string(), "sum: 'd_y' has shape [2]; expected [3]");
        assert_eq!(elements("sum", "x", &[1 << 16, 1 << 15]).unwrap(), 1 << 31);
        assert!(matches!(elements("sum", "x", &[usize::MAX, 2]), Err(Error::Limit { .. })));
        assert!(matches!(elements("sum", "x", &[3, 0]), Err(Error::Shape { .. })));
    }

    #[test]
    fn axes() {
        let axis = |axis| axis_of("slice", "axis", axis, 3).ok();
        assert_eq!([0, 2, -1, -3].map(axis), [Some(0), Some(2), Some(2), Some(0)]);
        assert_eq!([3, -4, isize::MAX, isize::MIN].map(axis), [None; 4]);
    }
}
