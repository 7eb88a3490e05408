//! Writes down what the queue is given, so that it can be looked at, or done again by another implementation of WebGPU.

use std::collections::HashMap;
use std::sync::Arc;

use super::device::Gpu;
use super::kernel::AnyVariant;
use super::pipeline::Pipeline;
use super::pool::Buffer;
use super::recorder::Bind;
use super::tensor::Tensor;
use crate::Result;
#[cfg(not(target_arch = "wasm32"))]
use crate::{Error, gpu::read::Download};

/// What operations asked of the device: every write of the host and every dispatch, in the order of the queue, and nothing else.
///
/// A trace is whole. Who makes buffers of these sizes, takes the steps one after the other and reads a tensor where [`Trace::find`]
/// says, has computed it. It keeps the memory of its buffers until it is dropped. The text of a dispatch's shader is [`compose`](super::compose)'s, or that of
/// [`compose_strict`](super::compose_strict), and its bind group layout is [`AnyVariant::layout_entries`].
#[derive(Debug, Default)]
pub struct Trace {
    /// The bytes of each buffer that there was, by its number. Memory that was used a second time is a second buffer. What a buffer holds
    /// before the first step that writes it may be anything.
    pub buffers: Vec<u64>,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// The number of each buffer; of memory that was used again, the last one. A handle that lives cannot be mistaken for a later one.
    numbers: HashMap<wgpu::Buffer, usize>,
}

/// One step of a trace.
#[derive(Clone, Debug)]
pub enum Step {
    /// The host writes to a buffer: an upload, or what a buffer from before the trace held when it was first bound.
    Write {
        /// Where, as long as the bytes are.
        range: Range,
        /// What: whole words of 4 bytes.
        bytes: Vec<u8>,
    },
    /// The device runs a kernel.
    Dispatch(Dispatch),
}

/// One dispatch of a trace.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The kernel and its knobs.
    pub variant: AnyVariant,
    /// The uniform at binding 0.
    pub params: Vec<u8>,
    /// What is bound from binding 1 on: the number, and the memory. The layout says which of it the kernel writes.
    pub binds: Vec<(u32, Range)>,
    /// The workgroups in each dimension.
    pub groups: [u32; 3],
}

/// A part of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The buffer's number.
    pub buffer: usize,
    /// Bytes from its start.
    pub offset: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Trace {
    /// Where a tensor is that was made or used in the trace, while it lives; `None` for any other.
    pub fn find(&self, tensor: &Tensor) -> Option<Range> {
        let buffer = *self.numbers.get(tensor.buffer())?;
        Some(Range { buffer, offset: tensor.offset(), bytes: tensor.bytes() })
    }

    /// Notes memory for a new tensor.
    pub(super) fn allocated(&mut self, buffer: &wgpu::Buffer) -> usize {
        self.numbers.insert(buffer.clone(), self.buffers.len());
        self.buffers.push(buffer.size());
        self.buffers.len() - 1
    }

    /// Notes a write of the host to a buffer, from a byte on; the last word is filled up with zeros.
    pub(super) fn written(&mut self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        let number = self.numbers.get(buffer).copied();
        let number = number.unwrap_or_else(|| self.allocated(buffer));
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let range = Range { buffer: number, offset, bytes: bytes.len() as u64 };
        self.steps.push(Step::Write { range, bytes });
    }

    /// Notes a dispatch, after [`Gpu::capture`].
    pub(super) fn dispatched(&mut self, pipeline: &Pipeline, params: &[u8], binds: &[Bind<'_>], groups: [u32; 3]) {
        let bound = pipeline.bindings.iter().flatten().zip(binds.iter().filter_map(Bind::view));
        let binds = bound.map(|(&(number, _), view)| {
            let buffer = *self.numbers.get(&view.buffer.raw)?;
            Some((number, Range { buffer, offset: view.offset(), bytes: view.bytes }))
        });
        // A buffer is unknown when another thread began the dispatch before the trace. What it wrote is read back once it is bound.
        let Some(binds) = binds.collect() else { return };
        let variant = AnyVariant { kernel: pipeline.kernel, knobs: pipeline.knobs.clone() };
        self.steps.push(Step::Dispatch(Dispatch { variant, params: params.to_vec(), binds, groups }));
    }
}

impl Gpu {
    /// Runs `operations` and returns, beside its result, what they asked of the device. Keep the tensors among the result, to
    /// [`find`](Trace::find) them.
    ///
    /// Tensors may be older than the trace: what their buffers hold is read back when a dispatch first binds them, and that is a
    /// step that writes it. So a trace needs nothing but itself, and taking one is slow. What other threads do on this device meanwhile is
    /// in it too. What bypasses the recorder is not: writes to the buffers of an application, and its own encoders ([`Gpu::encode`]).
    ///
    /// ```
    /// use wattn::gpu::Step;
    /// # let gpu = wattn::Gpu::new(&wattn::GpuOptions::default())?;
    /// let (x, trace) = gpu.trace(|| gpu.tensor(&[1.0f32, 2.0], &[2]))?;
    /// assert!(matches!(&trace.steps[..], [Step::Write { range, .. }] if Some(*range) == trace.find(&x)));
    /// # Ok::<(), wattn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `operations`, those of [`Tensor::read`], and [`Error::Argument`] inside another trace or on a handle to a user's own
    /// encoder.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn trace<T>(&self, operations: impl FnOnce() -> Result<T>) -> Result<(T, Trace)> {
        let wrong =
            |expected: &str, got: &str| Err(Error::Argument { op: "trace", key: "gpu".into(), expected: expected.into(), got: got.into() });
        if self.is_external() {
            return wrong("a handle that submits its own work", "one inside Gpu::encode");
        }
        // In a statement of its own: the recorder must be free when the operations run.
        let other = self.recorder().trace.replace(Trace::default());
        if other.is_some() {
            self.recorder().trace = other;
            return wrong("a device of which no trace is taken", "one inside Gpu::trace");
        }
        let result = operations();
        let trace = self.recorder().trace.take().unwrap_or_default();
        result.map(|value| (value, trace))
    }

    /// While a trace is taken: reads what buffers from before it hold. Waits for the device, so the recorder must be free.
    pub(super) fn capture<'a>(&self, buffers: impl Iterator<Item = &'a Arc<Buffer>>) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        for buffer in buffers {
            if self.recorder().trace.as_ref().is_none_or(|trace| trace.numbers.contains_key(&buffer.raw)) {
                continue;
            }
            let bytes = Download::start(&self.shared, buffer, 0, buffer.raw.size() & !3)?.finish_blocking()?;
            if let Some(trace) = &mut self.recorder().trace {
                trace.allocated(&buffer.raw);
                trace.written(&buffer.raw, 0, &bytes);
            }
        }
        #[cfg(target_arch = "wasm32")]
        let _ = buffers;
        Ok(())
    }
}
