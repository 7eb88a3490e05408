//! Long short-term memory, forward and backward, with weights laid out as `torch.nn.LSTM` has them; with peepholes and projection.
//!
//! ```text
//! a  = W x + b + U h + b'          W = weight_ih, b = bias_ih, U = weight_hh, b' = bias_hh; rows by gates i, f, g, o
//! i  = σ(a_i + p_i c)              p = peep, 0 when it was not given
//! f  = σ(a_f + p_f c)
//! g  = tanh(a_g)
//! c' = f c + i g
//! o  = σ(a_o + p_o c')
//! m  = o tanh(c')
//! h' = W_hr m                      W_hr = weight_hr; h' = m when it was not given
//!
//! d_m   = W_hrᵀ d_h',              d_a_o = d_m tanh(c') o (1 - o)
//! d_c'  = d_m o (1 - tanh²(c')) + d_a_o p_o + (what comes back from the next step)
//! d_a_i = d_c' g i (1 - i),        d_a_f = d_c' c f (1 - f),        d_a_g = d_c' i (1 - g²)
//! d_c   = d_c' f + d_a_i p_i + d_a_f p_f,        d_h = Uᵀ d_a
//! d_W = Σ d_a xᵀ,  d_U = Σ d_a hᵀ,  d_b = d_b' = Σ d_a,  d_W_hr = Σ d_h' mᵀ
//! d_p_i = Σ d_a_i c,  d_p_f = Σ d_a_f c,  d_p_o = Σ d_a_o c'
//! ```
//!
//! Layers, directions, lengths and dropout are those of [`recurrent`].
//! Sources: Hochreiter and Schmidhuber 1997, "Long short-term memory"; Gers, Schraudolph and Schmidhuber 2002, "Learning precise timing with
//! LSTM recurrent networks", for peepholes; Sak, Senior and Beaufays 2014, arXiv:1402.1128, for the projection; PyTorch's documentation
//! of `torch.nn.LSTM`.

mod cases;
pub(super) mod cpu;
pub(crate) mod gpu;

pub use gpu::{forward, forward_saving};

pub use super::recurrent::backward;

use super::recurrent::operation::{self, BATCH_FIRST, DROPOUT_P, H0, HN, LENGTHS, SEED, X, Y};
use super::recurrent::{self, Cell, tunings};
use super::{
    Applied, Arrays, Call, Case, Cost, Input, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
};
use crate::Result;
use crate::gpu::{AnyVariant, Caps, Gpu};

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: "lstm",
    about: "c' = f c + i g, h' = o tanh(c') over time, gates i, f, g, o; peepholes, projection, layers, directions, lengths",
    shape: "T,B,I,H[,layers[,directions]], H being H or H/P with a projection, for instance 13,3,7,11/5,2,2: x [13,3,7], weight_hh_l0 [44,5], y [13,3,10]",
    inputs: &[
        X,
        Input { shape: "[layers·dirs, B, H or P]", ..H0 },
        Input::new("c0", "[layers·dirs, B, H]").optional(),
        LENGTHS,
        Input::layered("weight_ih", "[4·H, I] (i, f, g, o); for layers from 1 [4·H, dirs·(H or P)]"),
        Input::layered("weight_hh", "[4·H, H or P]"),
        Input::layered("bias_ih", "[4·H]").optional(),
        Input::layered("bias_hh", "[4·H]").optional(),
        Input::layered("weight_hr", "[P, H]").optional(),
        Input::new("peep", "[3, H] (i, f, o), for all layers and directions").optional(),
        Input::layered("peep", "[3, H], in place of peep").optional(),
    ],
    outputs: &[
        Output { shape: "[T, B, dirs·(H or P)], or [B, T, ..] with batch_first", ..Y },
        Output { shape: "[layers·dirs, B, H or P]", ..HN },
        Output::new("cn", "[layers·dirs, B, H]"),
    ],
    keys: &[BATCH_FIRST, DROPOUT_P, SEED],
};

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Lstm;

impl Operation for Lstm {
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
        operation::draw(&SPEC, Cell::Lstm, shape, settings, seed)
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
        operation::cost(&SPEC, Cell::Lstm.with_settings(&request.settings)?, request)
    }

    fn steps(&self, request: &Request) -> Option<usize> {
        operation::steps(&SPEC, request)
    }
}
