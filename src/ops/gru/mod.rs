//! The gated recurrent unit, forward and backward, with weights laid out as `torch.nn.GRU` has them.
//!
//! ```text
//! a = W x + b,  u = U h + b'       W = weight_ih, b = bias_ih, U = weight_hh, b' = bias_hh; rows by gates r, z, n
//! r = σ(a_r + u_r)
//! z = σ(a_z + u_z)
//! n = tanh(a_n + r * u_n)                        reset after the product
//! n = tanh(a_n + U_n (r * h) + b'_n)             reset before it
//! h' = (1 - z) n + z h
//!
//! d_a_n = d_h' (1 - z) (1 - n²),  d_a_z = d_h' (h - n) z (1 - z),  d_a_r = d_r r (1 - r)
//! after:   d_u_n = d_a_n r,  d_r = d_a_n u_n,    d_h = d_h' z + Uᵀ (d_a_r, d_a_z, d_u_n)
//! before:  d_v = U_nᵀ d_a_n, d_r = d_v h,        d_h = d_h' z + d_v r + U_rᵀ d_a_r + U_zᵀ d_a_z
//! ```
//!
//! Layers, directions, lengths and dropout are those of [`recurrent`].
//! Sources: Cho et al. 2014, arXiv:1406.1078, with the reset before the product; PyTorch's documentation of `torch.nn.GRU`, with the reset
//! after it.

mod cases;
pub(super) mod cpu;
pub(crate) mod gpu;

pub use gpu::{forward, forward_saving};

pub use super::recurrent::backward;

use super::recurrent::operation::{self, BATCH_FIRST, DROPOUT_P, H0, HN, LENGTHS, SEED, X, Y};
use super::recurrent::{self, Cell, Reset, tunings};
use super::{Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Precision, Prepared, References, Request, Settings, Spec, Tuning};
use crate::Result;
use crate::gpu::{AnyVariant, Caps, Gpu};

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: "gru",
    about: "h' = (1 - z) n + z h over time, gates r, z, n; layers, directions, lengths",
    shape: "T,B,I,H[,layers[,directions]], for instance 13,3,7,11,2,2: x [13,3,7], weight_hh_l0 [33,11], y [13,3,22]",
    inputs: &[
        X,
        H0,
        LENGTHS,
        Input::layered("weight_ih", "[3·H, I] (r, z, n); for layers from 1 [3·H, dirs·H]"),
        Input::layered("weight_hh", "[3·H, H]"),
        Input::layered("bias_ih", "[3·H]").optional(),
        Input::layered("bias_hh", "[3·H]").optional(),
    ],
    outputs: &[Y, HN],
    keys: &[
        Key::new("reset", "after", "where the reset gate acts: after or before the product with weight_hh"),
        BATCH_FIRST,
        DROPOUT_P,
        SEED,
    ],
};

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Gru;

impl Operation for Gru {
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
        operation::draw(&SPEC, Cell::Gru(Reset::After), shape, settings, seed)
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
        operation::cost(&SPEC, Cell::Gru(Reset::After).with_settings(&request.settings)?, request)
    }

    fn steps(&self, request: &Request) -> Option<usize> {
        operation::steps(&SPEC, request)
    }
}
