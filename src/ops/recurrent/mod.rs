//! What the recurrent layers [`rnn`](super::rnn), [`gru`](super::gru) and [`lstm`](super::lstm) share: everything but the formula of a step.
//!
//! ```text
//! h[t] = step(x[t], h[t-1])                 t = 0 … T-1, or T-1 … 0 in the reverse direction
//! y[t] = h[t], both directions side by side in the columns;  hn = the last state of each layer and direction
//! layer k > 0 takes as x the y of layer k-1, after dropout
//! ```
//!
//! Layers, directions, biases and projection are read off the names of the weights, which are PyTorch's: `weight_ih_l1_reverse` is the
//! input weight of the second layer's reverse direction. A state has the index layer · directions + direction.
//!
//! With lengths, steps at and after a sequence's length do not exist: y and d_x are 0 there, whatever x and d_y hold, hn is the
//! state after the last step that there is, and the reverse direction begins with that step. A sequence of length 0 leaves its initial
//! state as it is.
//!
//! Dropout acts on the output of every layer but the last. Element `((layer·T + t)·B + b)·columns + column` of the random numbers of
//! `seed` decides, for y in time-major order whatever the order in memory.
//!
//! Source: PyTorch's documentation of `torch.nn.RNN`, `GRU` and `LSTM`, for names, layouts and the order of gates.

mod arrange;
mod backward;
pub(crate) mod cases;
pub(crate) mod cpu;
mod forward;
mod gpu;
mod kernels;
mod layer;
mod names;
pub(crate) mod operation;
mod options;
mod peep;
mod prepare;
mod problem;
pub(crate) mod step;
#[cfg(test)]
mod tests;
mod tile;
mod walk;

pub(crate) use gpu::variants;
pub use gpu::{Gradients, Inputs, Outputs, Saved, Upstream, WeightGradients, Weights, backward, forward, forward_saving};
pub(crate) use kernels::FIELDS;
pub use options::{Cell, Nonlinearity, Options, Reset};
pub(crate) use peep::PeepParams;
pub(crate) use prepare::{apply, prepare};
pub use problem::{CellShapes, Peep, Problem, Shapes, suffix};
pub(crate) use tile::tunings;
