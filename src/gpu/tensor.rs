//! Tensors: device memory with a shape and an element type.

use std::sync::Arc;

use half::f16;

use super::device::{Gpu, Shared};
use super::pool::{Buffer, Kind};
use super::read::Download;
use crate::array::show_shape;
use crate::{Array, DType, Error, Result};

/// A Rust type that tensors hold.
pub trait Element: bytemuck::Pod {
    /// How it is stored.
    const DTYPE: DType;
    /// An array of it.
    fn array(shape: &[usize], data: Vec<Self>) -> Array;
}

macro_rules! element {
    ($ty:ty, $dtype:ident, $make:ident) => {
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            fn array(shape: &[usize], data: Vec<Self>) -> Array {
                Array::$make(shape, data)
            }
        }
    };
}
element!(f32, F32, f32);
element!(f16, F16, f16);
element!(i32, I32, i32);
element!(u8, U8, u8);

/// A row-major tensor on a device. Clones share the memory, which goes back to the pool when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(super) shared: Arc<Shared>,
    pub(super) buffer: Arc<Buffer>,
    /// Bytes from the start of the buffer.
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: DType,
}

impl Gpu {
    /// Uploads elements in row-major order.
    ///
    /// ```
    /// # let gpu = wattn::Gpu::new(&wattn::GpuOptions::default())?;
    /// let x = gpu.tensor(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.read_blocking::<f32>()?[4], 5.0);
    /// # Ok::<(), wattn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] when the product of the shape is not the number of elements or is zero, [`Error::Dtype`] for f16 on a
    /// device without it, [`Error::OutOfMemory`], [`Error::Limit`].
    pub fn tensor<T: Element>(&self, data: &[T], shape: &[usize]) -> Result<Tensor> {
        if checked_len(shape) != Some(data.len()) {
            let expected = format!("one of {} elements", data.len());
            return Err(Error::Shape { op: "tensor", tensor: "data".into(), expected, got: show_shape(shape) });
        }
        self.store(T::DTYPE, shape, bytemuck::cast_slice(data))
    }

    /// Uploads an array.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn upload(&self, array: &Array) -> Result<Tensor> {
        self.store(array.dtype(), array.shape(), array.bytes())
    }

    /// Device memory for a tensor, holding anything: for a kernel to write.
    ///
    /// # Errors
    /// As [`Gpu::tensor`].
    pub fn empty(&self, dtype: DType, shape: &[usize]) -> Result<Tensor> {
        self.allocate(dtype, shape, false)
    }

    fn expect_storable(&self, op: &'static str, tensor: &str, dtype: DType) -> Result<()> {
        let got = match dtype {
            DType::F16 if !self.caps().f16 => "f16, and this device lacks SHADER_F16".to_string(),
            DType::F64 => "f64, which there is on the host alone".to_string(),
            _ => return Ok(()),
        };
        Err(Error::Dtype { op, tensor: tensor.into(), expected: "f32".into(), got })
    }

    /// Memory for a tensor; with `upload` it may be written to before what is recorded.
    pub(super) fn allocate(&self, dtype: DType, shape: &[usize], upload: bool) -> Result<Tensor> {
        self.expect_storable("tensor", "data", dtype)?;
        let Some(len) = checked_len(shape).filter(|&len| len > 0) else {
            let expected = "every dimension at least 1, and a product that can be counted".to_string();
            return Err(Error::Shape { op: "tensor", tensor: "data".into(), expected, got: show_shape(shape) });
        };
        let bytes = (len as u64).checked_mul(dtype.bytes() as u64);
        let limit = self.caps().max_buffer;
        let bytes = bytes.ok_or(Error::Limit { op: "tensor", what: "size in bytes".into(), limit, got: u64::MAX })?;
        // A user's encoder may be submitted before what this device has recorded, just as an upload comes before it.
        let buffer = self.shared.take(bytes, Kind::Storage, upload || self.is_external())?;
        if let Some(trace) = &mut self.recorder().trace {
            trace.allocated(&buffer.raw);
        }
        Ok(Tensor { shared: self.shared.clone(), buffer, offset: 0, shape: shape.to_vec(), dtype })
    }

    fn store(&self, dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor> {
        let tensor = self.allocate(dtype, shape, true)?;
        self.fill(&tensor, bytes)?;
        Ok(tensor)
    }

    /// Writes the bytes to a tensor whose memory was allocated for an upload.
    pub(super) fn fill(&self, tensor: &Tensor, bytes: &[u8]) -> Result<()> {
        let whole = bytes.len() / 4 * 4;
        let (queue, buffer, offset) = (&self.shared.queue, &tensor.buffer.raw, tensor.offset);
        self.shared.scoped(|| {
            if whole > 0 {
                queue.write_buffer(buffer, offset, &bytes[..whole]);
            }
            if whole < bytes.len() {
                // The queue writes whole words: the last, partial one is filled up with zeros.
                let mut word = [0; 4];
                word[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
                queue.write_buffer(buffer, offset + whole as u64, &word);
            }
        })?;
        if let Some(trace) = &mut self.recorder().trace {
            trace.written(buffer, offset, bytes);
        }
        Ok(())
    }
}

pub(super) fn checked_len(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

impl Tensor {
    /// A tensor in an application's own buffer, `offset` bytes from its start. Nothing is copied.
    ///
    /// # Errors
    /// [`Error::Argument`] when the buffer lacks the usages `STORAGE` and `COPY_SRC`, when `offset` is not a multiple of 4 or when the
    /// tensor reaches past the buffer's end, rounded up to whole words; [`Error::Shape`], [`Error::Dtype`] as [`Gpu::tensor`].
    pub fn from_buffer(gpu: &Gpu, buffer: wgpu::Buffer, offset: u64, shape: &[usize], dtype: DType) -> Result<Self> {
        let wrong = |key: &str, expected: String, got: String| Err(Error::Argument { op: "from_buffer", key: key.into(), expected, got });
        let usages = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        if !buffer.usage().contains(usages) {
            return wrong("usage", format!("at least {usages:?}"), format!("{:?}", buffer.usage()));
        }
        if !offset.is_multiple_of(4) {
            return wrong("offset", "a multiple of 4 bytes".into(), offset.to_string());
        }
        gpu.expect_storable("from_buffer", "buffer", dtype)?;
        let bytes = checked_len(shape).filter(|&len| len > 0).and_then(|len| (len as u64).checked_mul(dtype.bytes() as u64));
        let end = bytes.and_then(|bytes| bytes.checked_next_multiple_of(4)?.checked_add(offset));
        if end.is_none_or(|end| end > buffer.size()) {
            let expected = format!("a tensor within the buffer's {} bytes", buffer.size());
            return Err(Error::Shape {
                op: "from_buffer",
                tensor: "buffer".into(),
                expected,
                got: format!("{shape:?} {dtype} at byte {offset}"),
            });
        }
        Ok(Tensor { shared: gpu.shared.clone(), buffer: Buffer::foreign(buffer), offset, shape: shape.to_vec(), dtype })
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How elements are stored.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Never: tensors have elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the elements take.
    pub fn bytes(&self) -> u64 {
        (self.len() * self.dtype.bytes()) as u64
    }

    /// The buffer, of which the tensor is the [`bytes`](Self::bytes) from [`offset`](Self::offset) on. It stays valid while the tensor lives.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer.raw
    }

    /// Bytes from the start of the buffer.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The same memory under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        if checked_len(shape) != Some(self.len()) {
            let expected = format!("a shape of {} elements", self.len());
            return Err(Error::Shape { op: "reshape", tensor: "tensor".into(), expected, got: show_shape(shape) });
        }
        Ok(Tensor { shape: shape.to_vec(), ..self.clone() })
    }

    /// All of the tensor, to be bound.
    pub fn view(&self) -> View<'_> {
        self.window(0, self.len())
    }

    /// The elements from `first` on, to be bound: a piece of a tensor that is larger than one binding. The binding starts at the alignment that
    /// the device asks for, so the kernel adds [`View::base`] to its indices.
    pub fn window(&self, first: usize, count: usize) -> View<'_> {
        let size = self.dtype.bytes() as u64;
        let start = self.offset + first as u64 * size;
        let aligned = start - start % u64::from(self.shared.caps.storage_alignment);
        let bytes = (start - aligned + count as u64 * size).next_multiple_of(4);
        View { buffer: &self.buffer, offset: aligned, bytes, base: ((start - aligned) / size) as u32 }
    }

    /// The elements, after all work recorded so far. Await it from any executor.
    ///
    /// # Errors
    /// [`Error::Dtype`] when `T` is not how the tensor is stored; [`Error::Argument`] when it was recorded in an application's own encoder that
    /// has not been submitted; [`Error::DeviceLost`], [`Error::Timeout`], [`Error::OutOfMemory`].
    pub async fn read<T: Element>(&self) -> Result<Vec<T>> {
        self.check::<T>()?;
        let bytes = self.download()?.finish().await?;
        Ok(elements(&bytes, self.len()))
    }

    /// The elements, after all work recorded so far; blocks until they are there.
    ///
    /// # Errors
    /// As [`Tensor::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking<T: Element>(&self) -> Result<Vec<T>> {
        self.check::<T>()?;
        let bytes = self.download()?.finish_blocking()?;
        Ok(elements(&bytes, self.len()))
    }

    /// The tensor as an array; blocks until it is there.
    ///
    /// # Errors
    /// As [`Tensor::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn array(&self) -> Result<Array> {
        fn get<T: Element>(tensor: &Tensor) -> Result<Array> {
            Ok(T::array(&tensor.shape, tensor.read_blocking::<T>()?))
        }
        match self.dtype {
            DType::F32 => get::<f32>(self),
            DType::F16 => get::<f16>(self),
            DType::I32 => get::<i32>(self),
            DType::U8 => get::<u8>(self),
            DType::F64 => Err(self.misread(DType::F32)),
        }
    }

    fn check<T: Element>(&self) -> Result<()> {
        if T::DTYPE == self.dtype {
            return Ok(());
        }
        Err(self.misread(T::DTYPE))
    }

    fn misread(&self, as_dtype: DType) -> Error {
        Error::Dtype { op: "read", tensor: "tensor".into(), expected: self.dtype.to_string(), got: as_dtype.to_string() }
    }

    fn download(&self) -> Result<Download> {
        Download::start(&self.shared, &self.buffer, self.offset, self.bytes().next_multiple_of(4))
    }
}

fn elements<T: Element>(bytes: &[u8], len: usize) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).take(len).map(bytemuck::pod_read_unaligned).collect()
}

/// A range of a tensor, as it is bound to a kernel.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(super) buffer: &'a Arc<Buffer>,
    offset: u64,
    pub(super) bytes: u64,
    base: u32,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes from byte {}", self.bytes, self.offset)
    }
}

impl View<'_> {
    /// The index in the binding of the range's first element.
    pub fn base(&self) -> u32 {
        self.base
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn resource(&self) -> wgpu::BindingResource<'_> {
        let size = std::num::NonZeroU64::new(self.bytes);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &self.buffer.raw, offset: self.offset, size })
    }
}
