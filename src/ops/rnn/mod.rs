//! The plain recurrent layer, forward and backward, as `torch.nn.RNN` has it.
//!
//! ```text
//! a  = W x + b + U h + b'          W = weight_ih, b = bias_ih, U = weight_hh, b' = bias_hh
//! h' = tanh(a), or max(a, 0)
//!
//! d_a = d_h' (1 - h'²), or d_h' where a > 0
//! d_x = Wᵀ d_a,  d_h = Uᵀ d_a,  d_W = Σ d_a xᵀ,  d_U = Σ d_a hᵀ,  d_b = d_b' = Σ d_a
//! ```
//!
//! Layers, directions, lengths and dropout are those of [`recurrent`].
//! Sources: Elman 1990, "Finding structure in time"; Werbos 1990, "Backpropagation through time"; PyTorch's documentation of `torch.nn.RNN`.

mod cases;
pub(super) mod cpu;
pub(crate) mod gpu;

pub use gpu::{forward, forward_saving};

pub use super::recurrent::backward;

use super::recurrent::operation::{self, BATCH_FIRST, DROPOUT_P, H0, HN, LENGTHS, SEED, X, Y};
use super::recurrent::{self, Cell, Nonlinearity, tunings};
use super::{Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Precision, Prepared, References, Request, Settings, Spec, Tuning};
use crate::Result;
use crate::gpu::{AnyVariant, Caps, Gpu};

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: "rnn",
    about: "h' = act(W x + b + U h + b') over time; layers, directions, lengths",
    shape: "T,B,I,H[,layers[,directions]], for instance 13,3,7,11,2,2: x [13,3,7], weight_hh_l0 [11,11], y [13,3,22]",
    inputs: &[
        X,
        H0,
        LENGTHS,
        Input::layered("weight_ih", "[H, I]; for layers from 1 [H, dirs·H]"),
        Input::layered("weight_hh", "[H, H]"),
        Input::layered("bias_ih", "[H]").optional(),
        Input::layered("bias_hh", "[H]").optional(),
    ],
    outputs: &[Y, HN],
    keys: &[Key::new("nonlinearity", "tanh", "tanh or relu"), BATCH_FIRST, DROPOUT_P, SEED],
};

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Rnn;

impl Operation for Rnn {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels(caps)
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        tunings(caps)
    }

    fn cases(&self) -> Vec<Case> {
        recurrent::cases::with(cases::CASES)
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        operation::draw(&SPEC, Cell::Rnn(Nonlinearity::Tanh), shape, settings, seed)
    }

    fn prepare(&self, gpu: &Gpu, request: &Request) -> Result<Prepared> {
        gpu::prepare(gpu, request)
    }

    fn apply(&self, call: Call) -> Result<Applied> {
        gpu::apply(call)
    }

    fn reference(&self, request: &Request, precision: Precision) -> Result<References> {
        crate::evaluate!(cpu::run, request, precision)
    }

    fn cost(&self, request: &Request) -> Result<Cost> {
        operation::cost(&SPEC, Cell::Rnn(Nonlinearity::Tanh).with_settings(&request.settings)?, request)
    }

    fn steps(&self, request: &Request) -> Option<usize> {
        operation::steps(&SPEC, request)
    }
}
