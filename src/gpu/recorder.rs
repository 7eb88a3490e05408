//! The recorder: dispatches join one open compute pass, and long work is cut into several submissions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::adapter::Caps;
use super::device::{Gpu, Shared};
use super::kernel::{Access, Params, Variant};
use super::pipeline::Pipeline;
use super::pool::{Buffer, Kind};
use super::profile::Profile;
use super::tensor::View;
use super::trace::Trace;
use crate::{Error, Result};

/// Bytes between the params of two dispatches: the largest alignment that WebGPU lets a device ask for.
const SLOT: usize = 256;
/// Dispatches whose params fit one uniform buffer, and so the most that one submission holds.
pub(super) const SLOTS: usize = 256;

/// What is bound to one of a kernel's bindings.
#[derive(Debug)]
pub enum Bind<'a> {
    /// A tensor that the kernel only reads.
    Read(View<'a>),
    /// A tensor that the kernel writes.
    Write(View<'a>),
    /// Nothing: the variant lacks this binding.
    Absent,
}

impl<'a> Bind<'a> {
    /// Reads the view when there is one.
    pub fn maybe(view: Option<View<'a>>) -> Self {
        view.map_or(Bind::Absent, Bind::Read)
    }

    /// Writes the view when there is one.
    pub fn maybe_write(view: Option<View<'a>>) -> Self {
        view.map_or(Bind::Absent, Bind::Write)
    }

    /// Bytes of everything that is bound: what a kernel moves that reads or writes all of it once.
    pub fn bytes(binds: &[Bind]) -> f64 {
        binds.iter().filter_map(Bind::view).map(|view| view.bytes as f64).sum()
    }

    /// What is bound, if anything.
    pub(super) fn view(&self) -> Option<&View<'a>> {
        match self {
            Bind::Read(view) | Bind::Write(view) => Some(view),
            Bind::Absent => None,
        }
    }
}

/// What a dispatch costs: it decides where submissions are cut, and a profile divides it by the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes read and written, each counted once.
    pub bytes: f64,
}

/// The groups of a dispatch of this many workgroups in a row, spread over two dimensions where one does not hold them. The kernel
/// counts them with `spread` of shaders/lib/index.wgsl and leaves out those past the end.
pub fn spread(workgroups: usize, caps: &Caps) -> [u32; 3] {
    let limit = caps.max_workgroups as usize;
    let x = workgroups.min(limit);
    [x as u32, workgroups.div_ceil(x.max(1)) as u32, 1]
}

/// Where dispatches are recorded: wattn's own encoder, or a user's.
pub(super) struct Recorder {
    /// A user's encoder is recorded into through `pass` alone and is never submitted here.
    external: bool,
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    uniforms: Option<Arc<Buffer>>,
    /// The params of the dispatches recorded since the last submission, written to `uniforms` just before it.
    staged: Vec<u8>,
    /// The part of a submission's budget that has been recorded.
    share: f64,
    /// Everything that dispatches in a user's encoder use: it must not be used for anything else until that encoder's work is done.
    retained: Vec<Arc<Buffer>>,
    /// Set when a user's encoder has run.
    done: Arc<AtomicBool>,
    pub profile: Option<Profile>,
    pub trace: Option<Trace>,
}

impl Recorder {
    pub fn own() -> Self {
        Recorder {
            external: false,
            encoder: None,
            pass: None,
            uniforms: None,
            staged: vec![],
            share: 0.0,
            retained: vec![],
            done: Arc::default(),
            profile: None,
            trace: None,
        }
    }

    fn external(pass: wgpu::ComputePass<'static>) -> Self {
        Recorder { external: true, pass: Some(pass), ..Recorder::own() }
    }

    /// Submits what has been recorded, if anything.
    pub fn submit(&mut self, shared: &Shared) -> Result<()> {
        self.pass = None;
        let Some(mut encoder) = self.encoder.take() else { return shared.check_lost() };
        if let Some(profile) = &mut self.profile {
            profile.resolve(&mut encoder);
        }
        self.write_uniforms(shared);
        self.share = 0.0;
        let profile = &mut self.profile;
        let submitted = shared.scoped(|| {
            let commands = encoder.finish();
            if let Some(profile) = profile {
                profile.submitting(shared);
            }
            shared.queue.submit([commands])
        });
        shared.pool.next_batch();
        shared.count_submission();
        // Callbacks and freed resources are only looked after in a poll; an error here shows up at the next wait.
        let _ = shared.device.poll(wgpu::PollType::Poll);
        submitted?;
        match &mut self.profile {
            Some(profile) => profile.collect(shared),
            None => Ok(()),
        }
    }

    fn write_uniforms(&mut self, shared: &Shared) {
        if let Some(buffer) = &self.uniforms
            && !self.staged.is_empty()
        {
            shared.queue.write_buffer(&buffer.raw, 0, &self.staged);
        }
        self.staged.clear();
    }

    /// A place for one dispatch's params: the uniform buffer and the offset in it.
    fn place_params(&mut self, shared: &Shared, params: &[u8]) -> Result<(Arc<Buffer>, u64)> {
        if self.staged.len() == SLOT * SLOTS {
            if self.external {
                self.write_uniforms(shared);
                self.uniforms = None;
            } else {
                self.submit(shared)?;
            }
        }
        let buffer = match &self.uniforms {
            Some(buffer) => buffer.clone(),
            None => {
                let buffer = shared.take((SLOT * SLOTS) as u64, Kind::Uniform, true)?;
                self.uniforms = Some(buffer.clone());
                if self.external {
                    self.retained.push(buffer.clone());
                }
                buffer
            }
        };
        let offset = self.staged.len();
        self.staged.extend_from_slice(params);
        self.staged.resize(offset + params.len().next_multiple_of(SLOT), 0);
        Ok((buffer, offset as u64))
    }

    /// The pass to record into, with timestamps when a profile is taken.
    fn pass(&mut self, shared: &Shared) -> Result<&mut wgpu::ComputePass<'static>> {
        if self.profile.is_some() {
            self.pass = None;
        }
        if self.pass.is_none() {
            if self.external {
                let expected = "a handle inside its Gpu::encode".to_string();
                return Err(Error::Argument { op: "encode", key: "gpu".into(), expected, got: "one whose encoder was handed back".into() });
            }
            let encoder = self.encoder.get_or_insert_with(|| {
                shared.pool.begin_batch();
                shared.device.create_command_encoder(&Default::default())
            });
            let timestamp_writes = self.profile.as_ref().and_then(Profile::timestamps);
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
            self.pass = Some(encoder.begin_compute_pass(&descriptor).forget_lifetime());
        }
        let Some(pass) = &mut self.pass else { unreachable!("made above") };
        Ok(pass)
    }
}

impl Gpu {
    /// Records one dispatch of `variant`: its params, one [`Bind`] for each of the kernel's bindings, and the number of workgroups.
    ///
    /// The caller answers for `groups`, `params` and the bound ranges belonging together; wgpu checks every access of the kernel
    /// against the bound range.
    ///
    /// # Errors
    /// [`Error::Shader`] when the variant does not compile or the binds are not those it declares; [`Error::Limit`] for more workgroups
    /// or larger bindings than the device allows, or for none; [`Error::OutOfMemory`], [`Error::DeviceLost`], [`Error::Device`].
    pub fn dispatch<V: Variant, P: Params>(&self, variant: V, params: &P, binds: &[Bind<'_>], groups: [u32; 3], work: Work) -> Result<()> {
        let shared = &self.shared;
        let pipeline = shared.pipelines.get(shared, &variant)?;
        let kernel = pipeline.kernel;
        check_declared(&pipeline, params, binds)?;
        let limit = u64::from(shared.caps.max_workgroups);
        if let Some(&got) = groups.iter().find(|&&g| g == 0 || u64::from(g) > limit) {
            return Err(Error::Limit {
                op: kernel.name,
                what: "workgroups in one dimension (at least 1)".into(),
                limit,
                got: u64::from(got),
            });
        }
        let views = || binds.iter().filter_map(Bind::view);
        if let Some(view) = views().find(|view| view.bytes > shared.caps.max_binding) {
            let limit = shared.caps.max_binding;
            return Err(Error::Limit { op: kernel.name, what: "bytes of one binding".into(), limit, got: view.bytes });
        }
        let mut recorder = self.recorder();
        if recorder.trace.is_some() {
            drop(recorder);
            self.capture(views().map(|view| view.buffer))?;
            recorder = self.recorder();
        }
        let (uniforms, offset) = recorder.place_params(shared, bytemuck::bytes_of(params))?;
        let size = std::num::NonZeroU64::new(pipeline.params_size as u64);
        let mut entries = vec![wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &uniforms.raw, offset, size }),
        }];
        let numbers = pipeline.bindings.iter().flatten();
        entries.extend(numbers.zip(views()).map(|(&(binding, _), view)| wgpu::BindGroupEntry { binding, resource: view.resource() }));
        let group = shared.scoped(|| {
            shared.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(kernel.name),
                layout: &pipeline.layout,
                entries: &entries,
            })
        })?;
        if recorder.external {
            recorder.retained.extend(views().map(|view| view.buffer.clone()));
            for bind in binds {
                if let Bind::Write(view) = bind {
                    view.buffer.written_in(&recorder.done);
                }
            }
        }
        let pass = recorder.pass(shared)?;
        pass.set_pipeline(&pipeline.raw);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
        shared.count_dispatch();
        if let Some(trace) = &mut recorder.trace {
            trace.dispatched(&pipeline, bytemuck::bytes_of(params), binds, groups);
        }
        recorder.share += self.budget().share(work, groups.map(f64::from).iter().product());
        let full = recorder.share >= 1.0;
        let mut profile_full = false;
        if let Some(profile) = &mut recorder.profile {
            profile_full = profile.record(kernel.name, &pipeline.knobs, work);
        }
        if (full || profile_full) && !recorder.external { recorder.submit(shared) } else { Ok(()) }
    }

    /// Records what `operations` does into an application's own command encoder, in one compute pass: nothing is submitted and nothing
    /// is cut. Tensors made inside hold their values once the application has submitted the encoder; memory used inside is
    /// returned when that work is done, or when the encoder is dropped. Use the handle that `operations` gets: what another handle
    /// records meanwhile is not submitted before the encoder, which must not depend on it.
    ///
    /// # Errors
    /// Whatever `operations` returns, and those of [`Gpu::flush`]: what was recorded before is submitted first, since the
    /// encoder may depend on it.
    pub fn encode<T>(&self, encoder: &mut wgpu::CommandEncoder, operations: impl FnOnce(&Gpu) -> Result<T>) -> Result<T> {
        self.shared.flush()?;
        let pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime();
        let recorder = Arc::new(Mutex::new(Recorder::external(pass)));
        let gpu = self.with_recorder(recorder);
        let result = operations(&gpu);
        let mut recorder = gpu.recorder();
        recorder.pass = None;
        recorder.write_uniforms(&self.shared);
        let retained = std::mem::take(&mut recorder.retained);
        let done = recorder.done.clone();
        // When the encoder is dropped the callback is too, and what was retained with it.
        encoder.on_submitted_work_done(move || {
            done.store(true, Ordering::Release);
            drop(retained);
        });
        result
    }
}

fn check_declared<P: Params>(pipeline: &Pipeline, params: &P, binds: &[Bind<'_>]) -> Result<()> {
    let wrong = |message: String| Err(Error::Shader { kernel: format!("{} ({})", pipeline.kernel.name, pipeline.knobs), message });
    if size_of_val(params) != pipeline.params_size {
        return wrong(format!("params take {} bytes, {} are declared", size_of_val(params), pipeline.params_size));
    }
    if binds.len() != pipeline.bindings.len() {
        return wrong(format!("{} bindings given, {} are declared", binds.len(), pipeline.bindings.len()));
    }
    for ((bind, declared), name) in binds.iter().zip(&pipeline.bindings).zip(pipeline.kernel.bindings.iter().map(|b| b.name)) {
        let fits = match (bind, declared) {
            (Bind::Read(_), Some((_, access))) => *access == Access::Read,
            (Bind::Write(_), Some((_, access))) => *access == Access::ReadWrite,
            (Bind::Absent, None) => true,
            _ => false,
        };
        if !fits {
            return wrong(format!("binding '{name}' is {declared:?} here, and {bind:?} was given"));
        }
    }
    Ok(())
}
