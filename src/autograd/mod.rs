//! Reverse-mode differentiation over the operations of [`ops`](crate::ops): what is computed from [`Variable`]s is recorded, and
//! [`Variable::backward`] goes through the record from its end, with the backward kernel of each operation.
//!
//! ```
//! use wattn::autograd::Device;
//! use wattn::{Array, Gpu, GpuOptions};
//!
//! let device = Device::from(Gpu::new(&GpuOptions::default())?); // or Device::cpu()
//! let x = device.constant(Array::f32(&[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))?;
//! let weight = device.parameter(Array::f32(&[1, 3], vec![0.5, -1.0, 2.0]))?;
//! let loss = x.linear(&weight, None)?.tanh()?.sum(None)?;
//! loss.backward()?;
//! let d_weight = weight.gradient().unwrap().array()?; // Σ (1 - tanh²) x
//! assert_eq!(d_weight.shape(), [1, 3]);
//! # Ok::<(), wattn::Error>(())
//! ```
//!
//! # The tape in one page
//!
//! A [`Variable`] is a value and where it comes from: nowhere (a constant), a parameter, or an output of a node. A node is one use of an
//! operation: the origins of its inputs, and a function from the upstream gradients to theirs. Whatever is computed from a parameter is
//! recorded by itself, unless under [`no_grad`]. Nodes are numbered as they are made, so that a node's inputs have lower numbers.
//!
//! A backward keeps the nodes that have received a gradient by their numbers, and takes the highest one until none is left. Then nothing
//! can arrive any more at a node that is taken. A gradient that arrives where there is one already is added: a variable that is used twice has
//! the sum. The gradients of parameters stay with them and add up over several backwards until [`Variable::zero_gradient`].
//!
//! A node that is taken gives up its function and its origins, and with them the tensors that they held: the memory of what lies between
//! parameters and loss goes back to the pool while the backward proceeds. For the same reason a second backward over the same node is an error,
//! [`Error::Consumed`](crate::Error::Consumed).
//!
//! # One mechanism, two devices
//!
//! [`apply`] is the only place where operations are called. On a [`Gpu`](crate::Gpu) it calls [`Operation::apply`](crate::ops::Operation::apply), whose
//! tensors never leave the device, and of which `wattn verify` checks every operation. On the CPU it calls
//! [`Operation::reference`](crate::ops::Operation::reference) in f64, without upstream gradients for the forward and with them for the backward. What is
//! computed in a model is the same text for both, so that central differences through whole models are taken on the CPU, and a GPU's gradients are
//! compared with those. [`Device::Cpu`] takes any [`Precision`](crate::ops::Precision): f32 says how much rounding a model has by itself.
//!
//! There are no gradients of gradients. Where operations run in a fixed order, as the kernels do, gradients are the same bits on every run: so do
//! the sums here.
//!
//! Sources: Linnainmaa 1976 for reverse accumulation; Griewank & Walther 2008, "Evaluating derivatives", chapter 3; PyTorch for the behaviour.

mod apply;
mod device;
mod functions;
mod graph;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod variable;

pub use apply::{Outputs, apply, settings};
pub use device::{Device, Value};
pub use functions::concat;
pub use graph::{is_recording, no_grad};
pub use variable::Variable;
