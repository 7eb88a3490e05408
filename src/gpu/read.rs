//! Reading device memory back.

use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::device::Shared;
use super::flag;
use super::pool::{Buffer, Kind};
use crate::{Error, Result};

/// Bytes read through one staging buffer; a larger tensor is read in several pieces.
const PIECE: u64 = 64 << 20;

type Mapped = Result<(), wgpu::BufferAsyncError>;

/// Whoever polls a device runs the callbacks of all that wait for it, and another thread's may still be on its way when one's own poll has
/// returned. They are given this long.
#[cfg(not(target_arch = "wasm32"))]
const GRACE: Duration = Duration::from_secs(5);
/// The same for the callback of an encoder's end, which is waited for in full before a read is refused.
const LATE: Duration = Duration::from_millis(100);

/// Set by the callback of a mapping, awaited by the reader.
#[derive(Default)]
struct Signal {
    state: Mutex<(Option<Mapped>, Option<Waker>)>,
    changed: Condvar,
}

impl Signal {
    fn set(&self, outcome: Mapped) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = Some(outcome);
        self.changed.notify_all();
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }

    fn get(&self) -> Option<Mapped> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// What the callback said, once the device has been waited for.
    #[cfg(not(target_arch = "wasm32"))]
    fn settled(&self) -> Mapped {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, GRACE, |state| state.0.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.0.clone().unwrap_or(Err(wgpu::BufferAsyncError))
    }

    async fn wait(&self) -> Mapped {
        poll_fn(|context| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match state.0.take() {
                Some(outcome) => Poll::Ready(outcome),
                None => {
                    state.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

struct Piece {
    staging: Arc<Buffer>,
    bytes: u64,
    /// Behind them there is the device's flag.
    flag: bool,
    signal: Arc<Signal>,
}

impl Piece {
    fn mapped(&self) -> u64 {
        self.bytes + if self.flag { flag::BYTES } else { 0 }
    }
}

/// A read that is under way.
pub(super) struct Download {
    shared: Arc<Shared>,
    pieces: Vec<Piece>,
    submission: wgpu::SubmissionIndex,
}

impl Download {
    /// Submits what was recorded, then a copy of the range to memory that the host can map.
    ///
    /// # Errors
    /// [`Error::Argument`] for a tensor that was recorded in a user's encoder which has not been submitted.
    pub fn start(shared: &Arc<Shared>, buffer: &Buffer, offset: u64, bytes: u64) -> Result<Self> {
        // In the browser there is no waiting here, and no telling the two apart.
        if cfg!(not(target_arch = "wasm32")) && buffer.awaits_encoder() {
            // What was submitted has run after this.
            shared.flush()?;
            shared.wait(None)?;
            if buffer.still_awaits_encoder(LATE) {
                let expected = "one whose command encoder has been submitted".to_string();
                return Err(Error::Argument {
                    op: "read",
                    key: "tensor".into(),
                    expected,
                    got: "one that no submission has written".into(),
                });
            }
        }
        // Held until the copy is submitted: what another thread records meanwhile would count as submitted with it, and memory that it
        // uses could be given to an upload that the queue puts first.
        let mut recorder = shared.recorder();
        recorder.submit(shared)?;
        let mut pieces = vec![];
        let mut encoder = shared.device.create_command_encoder(&Default::default());
        for start in (0..bytes).step_by(PIECE as usize) {
            let bytes = PIECE.min(bytes - start);
            let word = shared.flags.word().filter(|_| start == 0);
            let staging = shared.take(bytes + word.map_or(0, |_| flag::BYTES), Kind::Staging, true)?;
            shared.scoped(|| {
                encoder.copy_buffer_to_buffer(&buffer.raw, offset + start, &staging.raw, 0, bytes);
                if let Some(word) = word {
                    encoder.copy_buffer_to_buffer(word, 0, &staging.raw, bytes, flag::BYTES);
                }
            })?;
            pieces.push(Piece { staging, bytes, flag: word.is_some(), signal: Arc::default() });
        }
        let submission = shared.scoped(|| shared.queue.submit([encoder.finish()]))?;
        shared.pool.next_batch();
        shared.count_submission();
        drop(recorder);
        for piece in &pieces {
            let signal = piece.signal.clone();
            piece.staging.set_mapped(true);
            piece.staging.raw.map_async(wgpu::MapMode::Read, 0..piece.mapped(), move |outcome| signal.set(outcome));
        }
        Ok(Download { shared: shared.clone(), pieces, submission })
    }

    /// Waits without blocking the executor: outside the browser a thread of its own waits for the device.
    pub async fn finish(self) -> Result<Vec<u8>> {
        #[cfg(not(target_arch = "wasm32"))]
        {
            let (shared, submission) = (self.shared.clone(), self.submission.clone());
            let waiting: Vec<Arc<Signal>> = self.pieces.iter().map(|piece| piece.signal.clone()).collect();
            std::thread::spawn(move || {
                // The error of a wait that fails is found again, with its reason, when the bytes are collected.
                let failed = shared.wait(Some(submission)).is_err();
                for signal in waiting.iter().filter(|signal| signal.get().is_none()) {
                    signal.set(if failed { Err(wgpu::BufferAsyncError) } else { signal.settled() });
                }
            });
        }
        for piece in &self.pieces {
            let outcome = piece.signal.wait().await;
            piece.signal.set(outcome);
        }
        self.collect()
    }

    /// Waits.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn finish_blocking(self) -> Result<Vec<u8>> {
        self.shared.wait(Some(self.submission.clone()))?;
        self.pieces.iter().for_each(|piece| piece.signal.set(piece.signal.settled()));
        self.collect()
    }

    fn collect(self) -> Result<Vec<u8>> {
        let mut flagged = 0;
        let mut out = Vec::with_capacity(self.pieces.iter().map(|piece| piece.bytes as usize).sum());
        for piece in &self.pieces {
            if piece.signal.get() != Some(Ok(())) {
                self.shared.wait(Some(self.submission.clone()))?;
                return Err(Error::DeviceLost { message: "a buffer could not be mapped for reading".into() });
            }
            let mapped = piece.staging.raw.get_mapped_range(0..piece.mapped()).map_err(|e| Error::Device { message: e.to_string() })?;
            let (bytes, word) = mapped.split_at(piece.bytes as usize);
            out.extend_from_slice(bytes);
            flagged = flagged.max(word.try_into().map_or(0, u32::from_le_bytes));
            drop(mapped);
            piece.staging.raw.unmap();
            piece.staging.set_mapped(false);
        }
        self.shared.flags.check(&self.shared, flagged)?;
        Ok(out)
    }
}
