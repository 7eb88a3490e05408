//! Attention and recurrent layers, forward and backward, on any GPU that wgpu reaches.

mod array;
#[cfg(feature = "cli")]
pub mod cli;
mod error;
pub mod gpu;
#[cfg(feature = "cli")]
pub mod io;
pub mod ops;

pub use array::{Array, DType, Data};
#[doc(hidden)]
pub use bytemuck;
pub use error::{Error, Result};
pub use gpu::{Gpu, GpuOptions, Tensor, recommended};
pub use half::f16;
pub use wgpu;
