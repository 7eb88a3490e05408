//! Times kernels: while a profile is taken every dispatch is a pass of its own between two timestamps, or a submission of its own that the
//! host waits for.

use std::time::Instant;

use super::device::{Gpu, Shared};
use super::kernel::Knobs;
use super::recorder::{SLOTS, Work};
use crate::{Error, Result};

/// Who measures the time of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The device, by timestamps at both ends of a pass.
    Device,
    /// The host, around a submission that holds one dispatch and the wait for it: what it takes to submit is counted too.
    Host,
}

impl Clock {
    /// `device` or `host`.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Device => "device",
            Clock::Host => "host",
        }
    }
}

/// One dispatch of a profile.
#[derive(Clone, Debug)]
pub struct Span {
    /// The kernel.
    pub kernel: &'static str,
    /// Its variant.
    pub variant: String,
    /// Whether matrix units do its arithmetic.
    pub matrix_units: bool,
    /// What measured `start` and `seconds`.
    pub clock: Clock,
    /// When it began, in seconds after the first dispatch of the profile; `None` like `seconds`.
    pub start: Option<f64>,
    /// How long it took; `None` by the clock of a device that has no timestamps.
    pub seconds: Option<f64>,
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

impl Span {
    /// The seconds of all of them; those without a time count as none.
    pub fn total(spans: &[Span]) -> f64 {
        spans.iter().filter_map(|span| span.seconds).sum()
    }
}

/// Two timestamps for each dispatch of one submission.
struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
}

/// The profile that is being taken.
pub(super) struct Profile {
    clock: Clock,
    timestamps: Option<Timestamps>,
    /// The device's ticks at the first dispatch.
    origin: Option<u64>,
    /// When the host submitted the first dispatch, and the last one.
    submitted: Option<(Instant, Instant)>,
    spans: Vec<Span>,
    /// Spans whose times have been read.
    timed: usize,
}

/// Bytes of one timestamp.
const TICK: u64 = 8;

impl Profile {
    #[cfg(not(target_arch = "wasm32"))]
    fn new(shared: &Shared, clock: Clock) -> Result<Self> {
        let device = &shared.device;
        let count = 2 * SLOTS as u32;
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: u64::from(count) * TICK,
                usage,
                mapped_at_creation: false,
            })
        };
        let make = || Timestamps {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            staging: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
        };
        let timestamps = if clock == Clock::Device && shared.caps.timestamps { Some(shared.scoped(make)?) } else { None };
        Ok(Profile { clock, timestamps, origin: None, submitted: None, spans: vec![], timed: 0 })
    }

    /// The dispatches since the last submission.
    fn pending(&self) -> u32 {
        (self.spans.len() - self.timed) as u32
    }

    /// The timestamps of the next pass.
    pub fn timestamps(&self) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let at = 2 * self.pending();
        self.timestamps.as_ref().map(|t| wgpu::ComputePassTimestampWrites {
            query_set: &t.queries,
            beginning_of_pass_write_index: Some(at),
            end_of_pass_write_index: Some(at + 1),
        })
    }

    /// Notes a dispatch; true when there is no room for another before a submission.
    pub fn record(&mut self, kernel: &'static str, knobs: &Knobs, work: Work) -> bool {
        let (variant, Work { flops, bytes }) = (knobs.to_string(), work);
        let matrix_units = knobs.uses_matrix_units();
        self.spans.push(Span { kernel, variant, matrix_units, clock: self.clock, start: None, seconds: None, flops, bytes });
        self.clock == Clock::Host || self.pending() as usize == SLOTS
    }

    /// Called just before a submission. By the host's clock the device must have nothing else to do: neither earlier work nor uploads.
    pub fn submitting(&mut self, shared: &Shared) {
        if self.clock == Clock::Host {
            shared.queue.submit([]);
            // What goes wrong here shows at the wait for the submission itself.
            let _ = shared.wait(None);
            let now = Instant::now();
            self.submitted = Some((self.submitted.map_or(now, |(first, _)| first), now));
        }
    }

    /// Records the copy of the timestamps to where the host can read them.
    pub fn resolve(&mut self, encoder: &mut wgpu::CommandEncoder) {
        let count = 2 * self.pending();
        if let Some(t) = &self.timestamps
            && count > 0
        {
            encoder.resolve_query_set(&t.queries, 0..count, &t.resolved, 0);
            encoder.copy_buffer_to_buffer(&t.resolved, 0, &t.staging, 0, u64::from(count) * TICK);
        }
    }

    /// Waits for the submission and reads its timestamps.
    pub fn collect(&mut self, shared: &Shared) -> Result<()> {
        let pending = self.pending();
        let first = std::mem::replace(&mut self.timed, self.spans.len());
        if pending == 0 {
            return Ok(());
        }
        if let (Clock::Host, Some((began, submitted))) = (self.clock, self.submitted) {
            shared.wait(None)?;
            let seconds = submitted.elapsed().as_secs_f64();
            // More than one dispatch in a submission there is not, see `record`.
            for span in &mut self.spans[first..] {
                (span.start, span.seconds) = (Some((submitted - began).as_secs_f64()), Some(seconds));
            }
        }
        let Some(t) = &self.timestamps else { return Ok(()) };
        let range = 0..u64::from(2 * pending) * TICK;
        t.staging.map_async(wgpu::MapMode::Read, range.clone(), |_| {});
        shared.wait(None)?;
        let bytes = t.staging.get_mapped_range(range).map_err(|e| Error::Device { message: e.to_string() })?;
        let ticks: Vec<u64> = bytes.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
        drop(bytes);
        t.staging.unmap();
        let period = f64::from(shared.queue.get_timestamp_period()) * 1e-9;
        let origin = *self.origin.get_or_insert(ticks[0]);
        let between = |from: u64, to: u64| Some(to.saturating_sub(from) as f64 * period);
        for (span, tick) in self.spans[first..].iter_mut().zip(ticks.chunks_exact(2)) {
            (span.start, span.seconds) = (between(origin, tick[0]), between(tick[0], tick[1]));
        }
        Ok(())
    }
}

impl Gpu {
    /// The better clock that there is: the device's where it has timestamps, else the host's.
    pub fn clock(&self) -> Clock {
        if self.shared.caps.timestamps { Clock::Device } else { Clock::Host }
    }

    /// Runs `operations` and returns, beside its result, every dispatch with its time on the device, where that has timestamps.
    ///
    /// # Errors
    /// Those of `operations`, those of [`Gpu::flush`], and [`Error::Argument`] on a handle to a user's own encoder, whose passes are not
    /// wattn's to divide.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile<T>(&self, operations: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Span>)> {
        self.profile_by(Clock::Device, operations)
    }

    /// As [`Gpu::profile`], by a clock of one's choice. By the host's, every dispatch is submitted and waited for alone, which takes longer.
    ///
    /// # Errors
    /// As [`Gpu::profile`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile_by<T>(&self, clock: Clock, operations: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Span>)> {
        if self.is_external() {
            let expected = "a handle that submits its own work".to_string();
            return Err(Error::Argument { op: "profile", key: "gpu".into(), expected, got: "one inside Gpu::encode".into() });
        }
        self.flush()?;
        let profile = Profile::new(&self.shared, clock)?;
        self.recorder().profile = Some(profile);
        let result = operations().and_then(|value| self.flush().map(|()| value));
        let spans = self.recorder().profile.take().map(|p| p.spans).unwrap_or_default();
        result.map(|value| (value, spans))
    }
}
