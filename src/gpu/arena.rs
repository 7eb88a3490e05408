//! Tensors that share a buffer: the parameters of a model side by side, and parts of tensors.

use super::device::Gpu;
use super::tensor::{Tensor, checked_len};
use crate::array::show_shape;
use crate::{Array, DType, Error, Result};

impl Gpu {
    /// Device memory for several tensors of one type, in as few buffers as the device allows: one after the other, each from where a binding
    /// can begin. They hold anything. A kernel can work on neighbours in one dispatch ([`Optimizer`](crate::ops::optimizer::Optimizer)); the
    /// memory goes back to the pool when the last of them is dropped.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn arena(&self, dtype: DType, shapes: &[&[usize]]) -> Result<Vec<Tensor>> {
        self.side_by_side(dtype, shapes, false)
    }

    /// Uploads arrays of one type to an arena: the parameters of a model, from a checkpoint or freshly drawn.
    ///
    /// ```
    /// # use wattn::Array;
    /// # let gpu = wattn::Gpu::new(&wattn::GpuOptions::default())?;
    /// let (weight, bias) = (Array::f32(&[2, 2], vec![1.0, 2.0, 3.0, 4.0]), Array::f32(&[2], vec![5.0, 6.0]));
    /// let parameters = gpu.upload_arena(&[&weight, &bias])?;
    /// assert_eq!(parameters[1].read_blocking::<f32>()?, [5.0, 6.0]);
    /// assert!(parameters[0].buffer() == parameters[1].buffer());
    /// # Ok::<(), wattn::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Gpu::tensor`]; [`Error::Dtype`] for arrays of different types.
    pub fn upload_arena(&self, arrays: &[&Array]) -> Result<Vec<Tensor>> {
        let Some(dtype) = arrays.first().map(|array| array.dtype()) else { return Ok(vec![]) };
        if let Some((i, other)) = arrays.iter().enumerate().find(|(_, array)| array.dtype() != dtype) {
            let (tensor, expected) = (format!("arrays[{i}]"), format!("{dtype}, as arrays[0]"));
            return Err(Error::Dtype { op: "upload_arena", tensor, expected, got: other.dtype().to_string() });
        }
        let shapes: Vec<&[usize]> = arrays.iter().map(|array| array.shape()).collect();
        let tensors = self.side_by_side(dtype, &shapes, true)?;
        tensors.iter().zip(arrays).try_for_each(|(tensor, array)| self.fill(tensor, array.bytes()))?;
        Ok(tensors)
    }

    fn side_by_side(&self, dtype: DType, shapes: &[&[usize]], upload: bool) -> Result<Vec<Tensor>> {
        let caps = self.caps();
        let most = caps.max_buffer / dtype.bytes() as u64;
        let align = (u64::from(caps.storage_alignment) / dtype.bytes() as u64).max(1);
        let (mut tensors, mut from) = (Vec::with_capacity(shapes.len()), 0);
        while from < shapes.len() {
            // Where each tensor of this buffer begins, and the end of the last one.
            let (mut starts, mut end) = (vec![], 0u64);
            for shape in &shapes[from..] {
                let start = end.next_multiple_of(align);
                let len = checked_len(shape).filter(|&len| len > 0).map_or(u64::MAX, |len| len as u64);
                let Some(reached) = start.checked_add(len).filter(|&end| end <= most) else { break };
                starts.push(start as usize);
                end = reached;
            }
            if starts.is_empty() {
                // Too large for any buffer, or without elements: the error says which.
                tensors.push(self.allocate(dtype, shapes[from], upload)?);
                from += 1;
                continue;
            }
            let whole = self.allocate(dtype, &[end as usize], upload)?;
            let places = starts.iter().zip(&shapes[from..]);
            tensors.extend(places.map(|(&start, shape)| whole.part(start, shape)).collect::<Result<Vec<_>>>()?);
            from += starts.len();
        }
        Ok(tensors)
    }
}

impl Tensor {
    /// A tensor of `shape` within this one, from element `first` on. Nothing is copied: what is written to one shows in the other.
    ///
    /// # Errors
    /// [`Error::Shape`] when it would reach past the end; [`Error::Argument`] when it would not begin at a whole word, as may happen with
    /// types of fewer bytes.
    pub fn part(&self, first: usize, shape: &[usize]) -> Result<Tensor> {
        let end = checked_len(shape).filter(|&len| len > 0).and_then(|len| len.checked_add(first));
        if end.is_none_or(|end| end > self.len()) {
            let expected =
                format!("at least one element, and no more than the {} from element {first} on", self.len().saturating_sub(first));
            return Err(Error::Shape { op: "part", tensor: "tensor".into(), expected, got: show_shape(shape) });
        }
        let offset = self.offset + (first * self.dtype.bytes()) as u64;
        if !offset.is_multiple_of(4) {
            let expected = format!("an element at a multiple of 4 bytes; {} has {}", self.dtype, self.dtype.bytes());
            return Err(Error::Argument { op: "part", key: "first".into(), expected, got: first.to_string() });
        }
        Ok(Tensor { offset, shape: shape.to_vec(), ..self.clone() })
    }

    /// How many bytes after the other's first one this tensor begins; `None` when they are not in the same memory.
    pub(crate) fn bytes_after(&self, other: &Tensor) -> Option<i64> {
        (self.buffer.raw == other.buffer.raw).then(|| self.offset as i64 - other.offset as i64)
    }

    /// Everything from the start of this tensor to the end of `last`, which is behind it in the same memory, in one dimension.
    pub(crate) fn through(&self, last: &Tensor) -> Tensor {
        let elements = (last.offset + last.bytes() - self.offset) as usize / self.dtype.bytes();
        Tensor { shape: vec![elements], ..self.clone() }
    }
}
