//! The device: which adapter, what it can do, and the handle that everything else hangs on.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::adapter::{Caps, Optional, pick, wanted};
use super::budget::Budget;
use super::choice::{Choices, Tunings};
use super::flag::Flags;
use super::pipeline::Cache;
use super::pool::{Buffer, Kind, Memory, Pool};
use super::recorder::Recorder;
use crate::{Error, Result};

/// How a [`Gpu`] is made. `GpuOptions::default()` takes the best adapter with everything it offers.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// `auto`, the index of an adapter as [`adapters`](crate::gpu::adapters) lists them, or a part of its name.
    pub device: String,
    /// Ask for WebGPU's default limits and no optional feature, whatever the adapter offers.
    pub baseline: bool,
    /// Ask for these limits instead of the adapter's own.
    pub limits: Option<wgpu::Limits>,
    /// Refuse allocations beyond this many bytes with [`Error::OutOfMemory`].
    pub max_bytes: Option<u64>,
    /// Give up waiting for the device after this long; `None` waits as long as it takes.
    pub timeout: Option<Duration>,
    /// Cut work into submissions of about this many floating-point operations, or what takes as long, so that none runs into a driver's
    /// watchdog. `None` goes by the kind of the device, and by its speed once there is work that needs cutting.
    pub flops_per_submission: Option<f64>,
    /// Choose kernels by what `wattn tune` found on this device, or wattn knows of it. Otherwise only by the device's kind.
    pub tuned: bool,
}

impl Default for GpuOptions {
    fn default() -> Self {
        GpuOptions {
            device: "auto".into(),
            baseline: false,
            limits: None,
            max_bytes: None,
            timeout: None,
            flops_per_submission: None,
            tuned: true,
        }
    }
}

/// What all handles to one device share.
#[derive(Debug)]
pub(super) struct Shared {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub caps: Caps,
    pub info: wgpu::AdapterInfo,
    pub pool: Arc<Pool>,
    pub timeout: Option<Duration>,
    pub measured_budget: OnceLock<Budget>,
    pub pipelines: Cache,
    pub flags: Flags,
    pipelines_created: AtomicU64,
    dispatches: AtomicU64,
    submissions: AtomicU64,
    lost: Arc<Mutex<Option<String>>>,
    recorder: Mutex<Recorder>,
}

/// How often the host asked the device for something, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Pipelines compiled, one shader module each: a repeated operation compiles none.
    pub pipelines: u64,
    /// Kernels dispatched.
    pub dispatches: u64,
    /// Command buffers submitted.
    pub submissions: u64,
}

/// A handle to a device: cheap to clone, usable from any thread.
///
/// Operations record their kernels into one open command encoder; nothing runs before [`flush`](Gpu::flush) or a read. Memory
/// that a dropped [`Tensor`](crate::Tensor) leaves is used again in the order of the queue.
#[derive(Clone, Debug)]
pub struct Gpu {
    pub(super) shared: Arc<Shared>,
    /// What this handle makes use of: all that the device can do, or less.
    caps: Arc<Caps>,
    /// What the user wants a submission to hold, which is not measured then.
    pub(super) fixed_budget: Option<Budget>,
    /// The recorder of a user's own command encoder, when this handle was made by [`Gpu::encode`].
    external: Option<Arc<Mutex<Recorder>>>,
    pub(super) choices: Choices,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

impl Gpu {
    /// Opens a device. On wasm, where nothing can block, use [`Gpu::request`].
    ///
    /// # Errors
    /// [`Error::NoAdapter`] when no adapter fits, with the reason for each that was passed over; [`Error::Argument`] for an index or
    /// name that there is not; [`Error::Device`] when the driver refuses.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(options: &GpuOptions) -> Result<Self> {
        pollster::block_on(Self::request(options))
    }

    /// Opens a device, asynchronously.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub async fn request(options: &GpuOptions) -> Result<Self> {
        let adapter = pick(&options.device).await?;
        let (mut features, mut limits) = wanted(&adapter);
        if options.baseline {
            features = wgpu::Features::empty();
            limits = wgpu::Limits::defaults().or_worse_values_from(&adapter.limits());
        }
        if let Some(wanted) = &options.limits {
            limits = wanted.clone();
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wattn"),
            required_features: features,
            required_limits: limits,
            memory_hints: wgpu::MemoryHints::Performance,
            // SAFETY: the one such feature is cooperative matrices, and kernels load them from workgroup memory alone, within its bounds.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|e| Error::Device { message: e.to_string() })?;
        let gpu = Self::wrap(&adapter, device, queue, options);
        gpu.shared.device.set_device_lost_callback(gpu.device_lost_callback());
        Ok(gpu)
    }

    /// Takes an application's own device and queue. No handler is installed on it: set [`Gpu::device_lost_callback`], or forward your own
    /// to [`Gpu::on_device_lost`]. Ask [`recommended`](crate::recommended) for the features and limits to create it with.
    ///
    /// # Errors
    /// [`Error::Limit`] when the device was created with fewer than 8 storage buffers a stage.
    pub fn from_wgpu(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        let got = u64::from(device.limits().max_storage_buffers_per_shader_stage);
        if got < u64::from(super::adapter::STORAGE_BUFFERS) {
            let limit = u64::from(super::adapter::STORAGE_BUFFERS);
            return Err(Error::Limit { op: "from_wgpu", what: "storage buffers a stage needed".into(), limit: got, got: limit });
        }
        Ok(Self::wrap(adapter, device, queue, &GpuOptions::default()))
    }

    fn wrap(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue, options: &GpuOptions) -> Self {
        let info = adapter.get_info();
        let caps = Caps::of(&info, device.features(), &device.limits(), adapter.cooperative_matrix_properties());
        let choices = if options.tuned { Choices::tuned(Tunings::of(&info)) } else { Choices::default() };
        let shared = Shared {
            measured_budget: OnceLock::new(),
            device,
            queue,
            caps,
            info,
            pool: Pool::new(options.max_bytes),
            timeout: options.timeout,
            pipelines: Cache::default(),
            flags: Flags::default(),
            pipelines_created: AtomicU64::new(0),
            dispatches: AtomicU64::new(0),
            submissions: AtomicU64::new(0),
            lost: Arc::default(),
            recorder: Mutex::new(Recorder::own()),
        };
        Gpu {
            caps: Arc::new(shared.caps.clone()),
            shared: Arc::new(shared),
            fixed_budget: options.flops_per_submission.map(Budget::of),
            external: None,
            choices,
        }
    }

    /// A handle to the same device that cuts its work into submissions of about this many floating-point operations, or what takes as
    /// long: small ones let a renderer's frames in between. What is computed is the same to the bit.
    pub fn submitting(&self, flops: f64) -> Gpu {
        Gpu { fixed_budget: Some(Budget::of(flops)), ..self.clone() }
    }

    /// A handle to the same device that makes no use of `features`: for a driver that gets them wrong, which
    /// [`Gpu::self_test`](crate::Gpu::self_test) finds out.
    pub fn without(&self, features: &[Optional]) -> Gpu {
        let mut caps = Caps::clone(&self.caps);
        features.iter().for_each(|feature| caps.remove(*feature));
        Gpu { caps: Arc::new(caps), ..self.clone() }
    }

    /// For an application that made the device itself and has no lost-device callback of its own: one to set. It holds nothing of
    /// the device, which could otherwise never be dropped.
    pub fn device_lost_callback(&self) -> impl Fn(wgpu::DeviceLostReason, String) + Send + 'static {
        let lost = self.shared.lost.clone();
        move |reason, message| record_loss(&lost, reason, &message)
    }

    /// For an application that made the device itself and has a lost-device callback: call this from it.
    pub fn on_device_lost(&self, reason: wgpu::DeviceLostReason, message: &str) {
        record_loss(&self.shared.lost, reason, message);
    }

    /// What the device can do, as far as this handle makes use of it.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The adapter's name, driver and kind.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.shared.info
    }

    /// The wgpu device.
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// The wgpu queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    /// Memory in use, its peak, and what is kept for reuse.
    pub fn memory(&self) -> Memory {
        self.shared.pool.memory()
    }

    /// Starts a new peak at what is in use now.
    pub fn reset_peak(&self) {
        self.shared.pool.reset_peak();
    }

    /// Gives the memory that is kept for reuse back to the driver.
    pub fn trim(&self) {
        self.shared.pool.trim();
    }

    /// How many pipelines, dispatches and submissions there were so far.
    pub fn counters(&self) -> Counters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let s = &self.shared;
        Counters { pipelines: of(&s.pipelines_created), dispatches: of(&s.dispatches), submissions: of(&s.submissions) }
    }

    /// Submits what has been recorded. A handle on a user's own encoder submits nothing.
    ///
    /// # Errors
    /// [`Error::DeviceLost`], [`Error::Device`].
    pub fn flush(&self) -> Result<()> {
        if self.is_external() { Ok(()) } else { self.shared.flush() }
    }

    /// Submits what has been recorded and waits until the device has done it.
    ///
    /// # Errors
    /// As [`Gpu::flush`], and [`Error::Timeout`].
    pub fn finish(&self) -> Result<()> {
        self.flush()?;
        self.shared.wait(None)
    }

    /// The same device with other choices.
    pub(super) fn choosing(&self, choices: Choices) -> Gpu {
        Gpu { choices, ..self.clone() }
    }

    /// Whether the handle records into a user's own encoder.
    pub(super) fn is_external(&self) -> bool {
        self.external.is_some()
    }

    /// The same device, recording elsewhere.
    pub(super) fn with_recorder(&self, recorder: Arc<Mutex<Recorder>>) -> Gpu {
        Gpu { external: Some(recorder), ..self.clone() }
    }

    pub(super) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        match &self.external {
            Some(external) => external.lock().unwrap_or_else(PoisonError::into_inner),
            None => self.shared.recorder(),
        }
    }
}

fn record_loss(lost: &Mutex<Option<String>>, reason: wgpu::DeviceLostReason, message: &str) {
    let text = if message.is_empty() { format!("{reason:?}") } else { format!("{reason:?}: {message}") };
    lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
}

impl Shared {
    pub fn count_pipeline(&self) {
        self.pipelines_created.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_dispatch(&self) {
        self.dispatches.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_submission(&self) {
        self.submissions.fetch_add(1, Ordering::Relaxed);
    }

    pub fn flush(&self) -> Result<()> {
        self.recorder().submit(self)
    }

    /// wattn's own recorder.
    pub fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a submission, or for all of them.
    pub fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let polled = self.device.poll(wgpu::PollType::Wait { submission_index: submission, timeout: self.timeout });
        self.check_lost()?;
        match polled {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => Err(Error::Timeout { seconds: self.timeout.unwrap_or_default().as_secs_f64() }),
            Err(other) => {
                // A submission to a device that was just destroyed leaves an index that there is not. What went before is still done, and
                // only then is the loss told.
                let _ = self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: self.timeout });
                self.check_lost()?;
                Err(Error::Device { message: other.to_string() })
            }
        }
    }

    /// An error when the device is known to be gone.
    pub fn check_lost(&self) -> Result<()> {
        match self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(message) => Err(Error::DeviceLost { message }),
            None => Ok(()),
        }
    }

    /// Runs `make` and turns what the device reports meanwhile into an error.
    pub fn scoped<T>(&self, make: impl FnOnce() -> T) -> Result<T> {
        self.check_lost()?;
        let scope = |filter| self.device.push_error_scope(filter);
        let (internal, memory, validation) =
            (scope(wgpu::ErrorFilter::Internal), scope(wgpu::ErrorFilter::OutOfMemory), scope(wgpu::ErrorFilter::Validation));
        let made = make();
        // Scopes are a stack: the last one pushed is the first one popped.
        let reported = [now(validation.pop()), now(memory.pop()), now(internal.pop())];
        self.check_lost()?;
        match reported.into_iter().flatten().next() {
            None => Ok(made),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory { wanted: 0, in_use: self.pool.memory().in_use, limit: None }),
            Some(wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. }) => {
                Err(Error::Device { message: description })
            }
        }
    }

    /// Device memory from the pool; `ahead` as in the pool.
    pub fn take(&self, bytes: u64, kind: Kind, ahead: bool) -> Result<Arc<Buffer>> {
        let limit = self.caps.max_buffer;
        if bytes > limit {
            return Err(Error::Limit { op: "buffer", what: "size in bytes".into(), limit, got: bytes });
        }
        self.pool.take(bytes, limit, kind, ahead, |descriptor| self.scoped(|| self.device.create_buffer(descriptor)))
    }
}

/// The outcome of a future that is ready at once, as error scopes are outside the browser. There the outcome arrives later, and the
/// browser's own console reports it.
fn now<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => None,
    }
}
