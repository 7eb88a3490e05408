//! Normalization of the last dimension by its root mean square, forward and backward.
//!
//! ```text
//! rstd        = 1 / sqrt(1/C sum_c x[c]² + eps)
//! h[c]        = x[c] rstd
//! y[c]        = h[c] weight[c] + bias[c]
//! g[c]        = d_y[c] weight[c]
//! d_x[c]      = rstd (g[c] - h[c] 1/C sum_j g[j] h[j])
//! d_weight[c] = sum over rows d_y[c] h[c]
//! d_bias[c]   = sum over rows d_y[c]
//! ```
//!
//! Weight and bias may be left out, each by itself; the paper has no bias. Sizes, options and kernels are those of
//! [`layer_norm`](super::layer_norm), without the mean.
//!
//! Source: Zhang & Sennrich 2019, "Root mean square layer normalization", arXiv:1910.07467.

mod cases;
mod cpu;
mod gpu;

pub use super::layer_norm::{Gradients, NormOptions, Normalized, Problem, Saved};
pub use gpu::{backward, forward};

use super::layer_norm::{Kind, SHAPE, apply, cost, draw, kernels, prepare, tunings};
use super::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
};
use crate::Result;
use crate::gpu::{AnyVariant, Caps, Gpu};

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: "rms_norm",
    about: "y = x / √(mean of x² + eps) · weight + bias over the last dimension",
    shape: SHAPE,
    inputs: &[Input::new("x", "[.., C]"), Input::new("weight", "[C]").optional(), Input::new("bias", "[C]").optional()],
    outputs: &[Output::new("y", "[.., C]")],
    keys: &[Key::new("eps", "1e-5", "added to the mean square; not negative")],
};

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct RmsNorm;

impl Operation for RmsNorm {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        kernels(caps, Kind::Rms)
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        tunings(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, _settings: &Settings, seed: u64) -> Result<Arrays> {
        draw(Kind::Rms, shape, seed)
    }

    fn prepare(&self, gpu: &Gpu, request: &Request) -> Result<Prepared> {
        prepare(gpu, Kind::Rms, request)
    }

    fn apply(&self, call: Call) -> Result<Applied> {
        apply(Kind::Rms, call)
    }

    fn reference(&self, request: &Request, precision: Precision) -> Result<References> {
        crate::evaluate!(cpu::run, request, precision)
    }

    fn cost(&self, request: &Request) -> Result<Cost> {
        cost(Kind::Rms, &SPEC, request)
    }
}
