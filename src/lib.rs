//! Attention, forward and backward, on any GPU that wgpu reaches (Vulkan, Metal, DX12), with kernels written by hand in WGSL
//! and a reference in f64 beside each; and recurrent layers with backpropagation through time.
//!
//! ```
//! use wattn::ops::attention::{self, AttentionOptions, Inputs};
//! use wattn::{Gpu, GpuOptions};
//!
//! fn main() -> wattn::Result<()> {
//!     let gpu = Gpu::new(&GpuOptions::default())?;
//!     let shape = [1, 2, 3, 4]; // [batch, heads, seq, dim]
//!     let ones = gpu.tensor(&[1.0f32; 24], &shape)?;
//!     let v = gpu.tensor(&Vec::from_iter((0..24).map(|i| i as f32)), &shape)?;
//!     let inputs = Inputs::new(&ones, &ones, &v);
//!     let options = AttentionOptions { causal: true, ..Default::default() };
//!     let attended = attention::forward(&gpu, &inputs, &options)?;
//!     let gradients = attention::backward(&gpu, &inputs, &attended, &ones, &options)?;
//!     // The keys are all alike, so the second query takes the mean of the first two values.
//!     assert_eq!(attended.o.read_blocking::<f32>()?[4..8], [2.0, 3.0, 4.0, 5.0]);
//!     // Three queries see the first value, with weights of 1, 1/2 and 1/3.
//!     assert!((gradients.d_v.read_blocking::<f32>()?[0] - 11.0 / 6.0).abs() < 1e-6);
//!     Ok(())
//! }
//! ```
//!
//! # Where things are
//!
//! - [`gpu`]: the device, tensors, and kernels. It knows no operation. [`Gpu::from_wgpu`] takes an application's own device, [`Gpu::encode`] its
//!   own command encoder, and [`Tensor::from_buffer`] its own buffer.
//! - [`ops`]: the operations, each with its formulas, shapes and references: [`ops::attention`], [`ops::attention_varlen`],
//!   [`ops::multi_head_attention`], [`ops::additive_attention`], [`ops::luong_attention`], [`ops::matmul`], [`ops::softmax`],
//!   [`ops::weighted_sum`], [`ops::linear`], [`ops::sum`], [`ops::rnn`], [`ops::gru`], [`ops::lstm`], [`ops::crf`], [`ops::layer_norm`],
//!   [`ops::rms_norm`], [`ops::rotary_embedding`], [`ops::embedding`], [`ops::cross_entropy`], [`ops::mse`], [`ops::binary_cross_entropy`].
//!   [`ops::REGISTRY`] lists them.
//!   [`ops::attention::KvCache`] keeps keys and values between calls, for decoding.
//! - [`autograd`]: a tape over the operations, on a GPU and on the references. [`nn`]: layers with PyTorch's names and initial values. [`optim`]:
//!   optimizers of named parameters. [`models`]: an encoder-decoder with attention, and a tagger.
//! - [`tasks`]: data that models learn from: generated or read, as indices in batches, and how good answers are.
//! - [`ops::check`]: the comparison with the reference, and the budget that decides it.
//! - [`Error`]: the one error type. What does not fit is an error that says what would, not a panic.
//!
//! Operations only record. The device starts with a read, [`Gpu::flush`], or when enough work has come together. Several operations
//! in a row are one submission, and nothing travels to the host between them. [`Gpu::self_test`] says whether this driver is right.
//!
//! # When not to use it
//!
//! - Where CUDA and a framework are at hand: their kernels use matrix units, and these do not yet.
//! - For images and audio: there are no convolutions.
//! - For f64, bf16 or quantized weights: storage is f32 or f16, accumulation f32.
//!
//! # Features
//!
//! - `cli`, on by default: the command `wattn`, with the modules `cli` and `io` behind it (tensor files, checkpoints, pictures, the shader
//!   translator). A program that embeds the library turns it off with `default-features = false` and compiles none of that.
//!
//! On wasm the blocking calls are compiled out: use [`Gpu::request`] and [`Tensor::read`]. `nn`, `optim` and `models`, which wait for what they read,
//! are left out as well.

mod array;
pub mod autograd;
#[cfg(feature = "cli")]
pub mod cli;
mod error;
pub mod gpu;
#[cfg(feature = "cli")]
pub mod io;
#[cfg(not(target_arch = "wasm32"))]
pub mod models;
#[cfg(not(target_arch = "wasm32"))]
pub mod nn;
pub mod ops;
#[cfg(not(target_arch = "wasm32"))]
pub mod optim;
pub mod tasks;

pub use array::{Array, DType, Data};
#[doc(hidden)]
pub use bytemuck;
pub use error::{Error, Result};
pub use gpu::{Gpu, GpuOptions, Tensor, recommended};
pub use half::f16;
pub use wgpu;

#[cfg(test)]
mod tests {
    /// The README shows the example above, which is run as a doctest.
    #[test]
    fn the_readme_has_the_same_example() {
        let lines = include_str!("lib.rs").lines().filter_map(|line| line.strip_prefix("//!"));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        let text = lines.join("\n");
        let example = text.split("```").nth(1).unwrap();
        assert!(include_str!("../README.md").contains(&format!("```rust{example}```")), "README.md lacks:{example}");
    }
}
