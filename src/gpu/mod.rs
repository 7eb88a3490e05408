//! The device layer: it knows wgpu, and it knows no operation.

mod kernel;

pub use kernel::{Access, AnyVariant, Binding, Field, Kernel, Knobs, Params, Variant};

/// Stub.
#[derive(Clone)]
pub struct Gpu;
/// Stub.
#[derive(Clone)]
pub struct Tensor;
/// Stub.
#[derive(Clone)]
pub struct Caps;
