//! Device memory: buffers that are returned on drop and used again in queue order, and the counters of what is in use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// What a device's memory is used for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Held by live tensors and by work that is being recorded.
    pub in_use: u64,
    /// The largest `in_use` since the start or [`Gpu::reset_peak`](crate::Gpu::reset_peak).
    pub peak: u64,
    /// Kept for reuse.
    pub pooled: u64,
    /// Buffers created so far: a repeated operation creates none.
    pub buffers_created: u64,
}

/// What a buffer is made for. Each kind has its own free list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Tensors and scratch.
    Storage,
    /// Kernel parameters.
    Uniform,
    /// Read back by the host.
    Staging,
}

impl Kind {
    fn usage(self) -> wgpu::BufferUsages {
        use wgpu::BufferUsages as U;
        match self {
            Kind::Storage => U::STORAGE | U::COPY_SRC | U::COPY_DST,
            Kind::Uniform => U::UNIFORM | U::COPY_DST,
            Kind::Staging => U::MAP_READ | U::COPY_DST,
        }
    }
}

/// A buffer of the pool, or one that belongs to the user; the former goes back to the pool on drop.
#[derive(Debug)]
pub(super) struct Buffer {
    pub raw: wgpu::Buffer,
    home: Option<(Arc<Pool>, Kind)>,
    /// Not to be used again: it is, or may be, mapped.
    mapped: AtomicBool,
    /// Set once the user's encoder that last wrote the buffer has run.
    written: Mutex<Option<Arc<AtomicBool>>>,
}

impl Buffer {
    /// A buffer that the user owns: never pooled, never counted.
    pub fn foreign(raw: wgpu::Buffer) -> Arc<Self> {
        Arc::new(Buffer { raw, home: None, mapped: AtomicBool::new(false), written: Mutex::default() })
    }

    /// Notes that a user's encoder writes the buffer; `done` is set when it has run.
    pub fn written_in(&self, done: &Arc<AtomicBool>) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(done.clone());
    }

    /// Whether a user's encoder that writes the buffer has not run yet, as far as is known.
    pub fn awaits_encoder(&self) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.as_ref().is_some_and(|done| !done.load(Ordering::Acquire))
    }

    /// The same, when what was submitted has been waited for: the callback that says so may be late by as much.
    pub fn still_awaits_encoder(&self, late: Duration) -> bool {
        let start = Instant::now();
        while self.awaits_encoder() && start.elapsed() < late {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.awaits_encoder()
    }

    /// Says whether the buffer is mapped, or may be: if it is dropped then, it does not go back to the pool.
    pub fn set_mapped(&self, mapped: bool) {
        self.mapped.store(mapped, Ordering::Relaxed);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some((pool, kind)) = self.home.take() {
            pool.release(self.raw.clone(), kind, !self.mapped.load(Ordering::Relaxed));
        }
    }
}

#[derive(Debug)]
struct Free {
    buffer: wgpu::Buffer,
    /// The first submission that the host can write it ahead of: work recorded in an earlier one may still use it.
    ready: u64,
}

#[derive(Debug, Default)]
struct State {
    free: HashMap<(Kind, u64), Vec<Free>>,
    memory: Memory,
    /// The submission that is open.
    batch: u64,
    /// Whether it has work in it.
    begun: bool,
}

/// The buffers of one device.
#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<State>,
    max_bytes: Option<u64>,
}

impl Pool {
    pub fn new(max_bytes: Option<u64>) -> Arc<Self> {
        Arc::new(Pool { state: Mutex::default(), max_bytes })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every update below leaves the state whole, so a panic elsewhere while it was held does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn memory(&self) -> Memory {
        self.lock().memory
    }

    pub fn reset_peak(&self) {
        let mut state = self.lock();
        state.memory.peak = state.memory.in_use;
    }

    /// The open submission has work in it from now on: what is returned before it is handed to the queue may be used there.
    pub fn begin_batch(&self) {
        self.lock().begun = true;
    }

    /// The open submission was handed to the queue: what was returned before may be written by the host.
    pub fn next_batch(&self) {
        let mut state = self.lock();
        state.batch += 1;
        state.begun = false;
    }

    /// Gives the kept buffers back to the driver.
    pub fn trim(&self) {
        let mut state = self.lock();
        state.free.clear();
        state.memory.pooled = 0;
    }

    /// A buffer of at least `bytes`, and of no more than `limit`. One that is used `ahead` of work that is recorded but not submitted,
    /// written by the host or in a user's encoder, is none that this work uses.
    pub fn take(
        self: &Arc<Self>,
        bytes: u64,
        limit: u64,
        kind: Kind,
        ahead: bool,
        create: impl Fn(&wgpu::BufferDescriptor<'_>) -> Result<wgpu::Buffer>,
    ) -> Result<Arc<Buffer>> {
        let size = size_class(bytes).min(limit);
        let mut state = self.lock();
        let batch = state.batch;
        let list = state.free.entry((kind, size)).or_default();
        let found = list.iter().rposition(|free| !ahead || free.ready <= batch).map(|at| list.swap_remove(at).buffer);
        let raw = match found {
            Some(buffer) => {
                state.memory.pooled -= size;
                buffer
            }
            None => {
                let in_use = state.memory.in_use;
                let full = || Error::OutOfMemory { wanted: size, in_use, limit: self.max_bytes };
                let room = |state: &State| self.max_bytes.is_none_or(|max| state.memory.in_use + state.memory.pooled + size <= max);
                if !room(&state) {
                    state.free.clear();
                    state.memory.pooled = 0;
                    if !room(&state) {
                        return Err(full());
                    }
                }
                let label = Some("wattn pool");
                let descriptor = wgpu::BufferDescriptor { label, size, usage: kind.usage(), mapped_at_creation: false };
                let buffer = match create(&descriptor) {
                    Err(Error::OutOfMemory { .. }) if state.memory.pooled > 0 => {
                        state.free.clear();
                        state.memory.pooled = 0;
                        create(&descriptor)
                    }
                    other => other,
                };
                state.memory.buffers_created += 1;
                buffer.map_err(|e| if matches!(e, Error::OutOfMemory { .. }) { full() } else { e })?
            }
        };
        state.memory.in_use += size;
        state.memory.peak = state.memory.peak.max(state.memory.in_use);
        Ok(Arc::new(Buffer { raw, home: Some((self.clone(), kind)), mapped: AtomicBool::new(false), written: Mutex::default() }))
    }

    fn release(&self, buffer: wgpu::Buffer, kind: Kind, reusable: bool) {
        let mut state = self.lock();
        let (size, ready) = (buffer.size(), state.batch + u64::from(state.begun));
        state.memory.in_use -= size;
        if reusable {
            state.memory.pooled += size;
            state.free.entry((kind, size)).or_default().push(Free { buffer, ready });
        }
    }
}

/// Sizes are rounded up so that similar ones share buffers: to an eighth of the power of two below, in steps of 256 bytes at least and
/// 64 KiB at most, which keeps the waste of large tensors under a thousandth.
fn size_class(bytes: u64) -> u64 {
    let step = (bytes.max(1).next_power_of_two() / 16).clamp(256, 64 << 10);
    bytes.max(1).next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_hold_what_is_asked_and_waste_little() {
        for bytes in [0, 1, 255, 256, 257, 1000, 4097, 1 << 20, (1 << 20) + 1, (100 << 20) + 7] {
            let size = size_class(bytes);
            assert!(
                size >= bytes && size.is_multiple_of(256) && size <= (bytes + bytes / 8).max(256).next_multiple_of(256),
                "{bytes} -> {size}"
            );
        }
    }
}
