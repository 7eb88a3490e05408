//! Indices that only the device sees: a kernel that meets one out of range raises a flag, and the next read reports it.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::device::{Gpu, Shared};
use super::tensor::Tensor;
use crate::{DType, Error, Result};

/// What a kernel that takes indices binds: one word for all kernels of a device, and what to write to it.
///
/// The kernel imports lib/flag.wgsl, binds `tensor` as `flag`, and calls `raise(code)` for an index that is out of range. It leaves out what
/// the index would have reached.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The word: 0 while nothing is wrong.
    pub tensor: Tensor,
    /// What stands for the operation and its tensor, never 0.
    pub code: u32,
}

/// The word of a device, once a kernel has asked for it, and what its codes stand for: operations and their tensors.
#[derive(Debug, Default)]
pub(super) struct Flags {
    word: OnceLock<wgpu::Buffer>,
    codes: Mutex<Vec<(&'static str, &'static str)>>,
}

/// Bytes of the word.
pub(super) const BYTES: u64 = 4;

impl Flags {
    fn code(&self, op: &'static str, tensor: &'static str) -> u32 {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let place = codes.iter().position(|code| *code == (op, tensor)).unwrap_or_else(|| {
            codes.push((op, tensor));
            codes.len() - 1
        });
        place as u32 + 1
    }

    /// The word to be read, where a kernel may have written it.
    pub fn word(&self) -> Option<&wgpu::Buffer> {
        self.word.get()
    }

    /// Takes note of the word as it was read: an error when it was raised, which lowers it.
    pub fn check(&self, shared: &Shared, word: u32) -> Result<()> {
        let codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((op, tensor)) = (word as usize).checked_sub(1).and_then(|place| codes.get(place).copied()) else { return Ok(()) };
        if let Some(buffer) = self.word() {
            shared.scoped(|| shared.queue.write_buffer(buffer, 0, &[0; BYTES as usize]))?;
        }
        Err(Error::Index { op, tensor })
    }
}

impl Gpu {
    /// The flag that a kernel raises when an index in `tensor`, an input of `op`, is out of range. The next read of any tensor is then
    /// [`Error::Index`], once.
    ///
    /// # Errors
    /// [`Error::Device`], [`Error::DeviceLost`].
    pub fn flag(&self, op: &'static str, tensor: &'static str) -> Result<Flag> {
        let Flags { word, .. } = &self.shared.flags;
        let buffer = match word.get() {
            Some(buffer) => buffer,
            None => {
                let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
                let descriptor = wgpu::BufferDescriptor { label: Some("wattn flag"), size: BYTES, usage, mapped_at_creation: false };
                // Another thread's may be first; then this one is dropped.
                let created = self.shared.scoped(|| self.shared.device.create_buffer(&descriptor))?;
                word.get_or_init(|| created)
            }
        };
        let tensor_of_word = Tensor::from_buffer(self, buffer.clone(), 0, &[1], DType::I32)?;
        Ok(Flag { tensor: tensor_of_word, code: self.shared.flags.code(op, tensor) })
    }
}
