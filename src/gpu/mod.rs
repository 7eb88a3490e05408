//! The device layer: it knows wgpu, and it knows no operation.
//!
//! A [`Kernel`] is a WGSL file with its bindings and params declared once; a [`Variant`] sets its knobs. [`Gpu::dispatch`]
//! records one variant on [`Tensor`] views. Everything that the operations of this crate use is public, so that an application's
//! own WGSL can join a chain (examples/own_kernel.rs).

mod adapter;
mod arena;
mod budget;
mod calibrate;
mod ceilings;
mod choice;
mod compose;
mod device;
mod flag;
mod kernel;
mod pipeline;
mod pool;
mod profile;
mod read;
mod recorder;
mod tensor;
mod trace;

pub(crate) use adapter::MatrixTeams;
#[cfg(not(target_arch = "wasm32"))]
pub use adapter::adapters;
pub use adapter::{AdapterReport, Caps, MatrixUnit, Optional, recommended};
pub use ceilings::{Bound, Ceilings};
pub use choice::{Choice, Finding, Tunings};
pub use compose::{LIBRARY, compose, compose_strict};
pub use device::{Counters, Gpu, GpuOptions};
pub use flag::Flag;
pub use kernel::{Access, AnyVariant, Binding, Field, Kernel, Knobs, Params, Variant};
pub use pool::Memory;
pub use profile::{Clock, Span};
pub use recorder::{Bind, Work, spread};
pub use tensor::{Element, Tensor, View};
pub use trace::{Dispatch, Range, Step, Trace};

/// The kernels of the device layer itself.
pub fn kernels() -> Vec<AnyVariant> {
    [calibrate::kernels(), ceilings::kernels()].concat()
}

impl AnyVariant {
    /// The bind group layout of the variant, for checks without a device.
    pub fn layout_entries(&self) -> Vec<wgpu::BindGroupLayoutEntry> {
        pipeline::layout_entries(self.kernel, &self.knobs)
    }
}
