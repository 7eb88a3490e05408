//! Layers: named parameters, and the operations that use them. Names, shapes and initial values are PyTorch's where PyTorch has the layer, so
//! that a file of parameters goes either way.
//!
//! ```
//! use wattn::autograd::Device;
//! use wattn::nn::{Linear, Parameters};
//! use wattn::{Array, Gpu, GpuOptions};
//!
//! let device = Device::from(Gpu::new(&GpuOptions::default())?);
//! let mut parameters = Parameters::new(&device, 0);
//! let first = Linear::new(&mut parameters.at("first"), 4, 8, true)?;
//! let second = Linear::new(&mut parameters.at("second"), 8, 2, true)?;
//! let x = device.constant(Array::f32(&[1, 4], vec![1.0, 0.0, -1.0, 2.0]))?;
//! let y = second.forward(&first.forward(&x)?.tanh()?)?;
//! assert_eq!(y.shape(), [1, 2]);
//! assert_eq!(parameters.names().collect::<Vec<_>>(), ["first.bias", "first.weight", "second.bias", "second.weight"]);
//! # Ok::<(), wattn::Error>(())
//! ```
//!
//! A layer takes a [`Scope`] and draws its parameters there. [`Parameters`] has all of them by name: an optimizer goes through them, and
//! [`Parameters::arrays`] and [`Parameters::load`] are what files hold. Layers with dropout take a [`Mode`], which says whether to drop, and with
//! which random numbers.
//!
//! Sequences are `[batch, time, features]` everywhere. Lengths are i32 `[batch]`, masks u8 with 1 = keep, both made with
//! [`Device::constant`](crate::autograd::Device::constant).

mod attention;
mod basic;
mod crf;
mod mode;
mod multi_head;
mod parameters;
mod recurrent;
#[cfg(test)]
mod tests;
mod transformer;

pub use attention::{Attended, Attention, AttentionPooling, Score};
pub use basic::{Dropout, Embedding, LayerNorm, Linear, RmsNorm};
pub use crf::Crf;
pub use mode::Mode;
pub use multi_head::MultiHeadAttention;
pub use parameters::{Init, Parameters, Scope};
pub use recurrent::{Cell, Recurrent, RecurrentOptions, Sequence, States};
pub use transformer::{DecoderLayer, EncoderLayer, TransformerOptions, positions};
