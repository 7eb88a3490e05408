//! Activation functions, element by element, forward and backward.
//!
//! ```text
//! relu       y = max(x, 0)                                      y' = 1 for x > 0, else 0
//! gelu       y = x Φ(x)                                         y' = Φ(x) + x φ(x)        Φ, φ: the normal distribution and its density
//! gelu_tanh  y = x (1 + tanh u) / 2                             y' = (1 + tanh u) / 2 + x (1 - tanh² u) u' / 2
//!            u = √(2/π) (x + 0.044715 x³)
//! silu       y = x σ(x)                                         y' = σ(x) (1 + x (1 - σ(x)))
//! tanh       y = tanh x                                         y' = 1 - tanh² x
//! sigmoid    y = σ(x) = 1 / (1 + exp(-x))                       y' = σ(x) (1 - σ(x))
//! d_x = d_y y'
//! ```
//!
//! The backward takes x, and not y. No x is too large: nothing overflows on the way. A NaN stays one.
//!
//! Sources: Hendrycks & Gimpel 2016, arXiv:1606.08415 (gelu and its approximation); Elfwing et al. 2017, arXiv:1702.03118 (silu); PyTorch for the
//! names and for relu at 0.

mod cases;
mod cpu;
mod gpu;

pub use gpu::{backward, forward};

use std::str::FromStr;

use super::host::{elements, elementwise_shape, normals, parse_sizes};
use super::{Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{DType, Result};

const OP: &str = "activation";
const SHAPE: &str = "…, for instance 2,3,65";
const KINDS: &str = "relu, gelu, gelu_tanh, silu, tanh or sigmoid";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = f(x), element by element",
    shape: SHAPE,
    inputs: &[Input::new("x", "[..]")],
    outputs: &[Output::new("y", "[..]")],
    keys: &[Key::new("kind", "relu", KINDS)],
};

/// Which function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// max(x, 0)
    #[default]
    Relu,
    /// x Φ(x)
    Gelu,
    /// x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2
    GeluTanh,
    /// x / (1 + exp(-x))
    Silu,
    /// tanh x
    Tanh,
    /// 1 / (1 + exp(-x))
    Sigmoid,
}

impl Kind {
    /// All of them, in the order of shaders/lib/activation.wgsl.
    pub const ALL: [Kind; 6] = [Kind::Relu, Kind::Gelu, Kind::GeluTanh, Kind::Silu, Kind::Tanh, Kind::Sigmoid];

    /// The name, as the key has it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Relu => "relu",
            Kind::Gelu => "gelu",
            Kind::GeluTanh => "gelu_tanh",
            Kind::Silu => "silu",
            Kind::Tanh => "tanh",
            Kind::Sigmoid => "sigmoid",
        }
    }

    /// Floating-point operations of an element forward and, beside those, backward; an exponential and a division count as one each.
    const fn flops(self) -> [f64; 2] {
        match self {
            Kind::Relu => [1.0, 1.0],
            Kind::Gelu => [24.0, 29.0],
            Kind::GeluTanh => [14.0, 24.0],
            Kind::Silu => [5.0, 8.0],
            Kind::Tanh => [6.0, 7.0],
            Kind::Sigmoid => [4.0, 6.0],
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Kind::ALL.into_iter().find(|kind| kind.name() == text).ok_or(())
    }
}

fn kind(settings: &Settings) -> Result<Kind> {
    Ok(settings.get(OP, "kind", KINDS)?.unwrap_or_default())
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Activation;

impl Operation for Activation {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, _caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels()
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, _settings: &Settings, seed: u64) -> Result<Arrays> {
        let shape = parse_sizes(OP, SHAPE, shape)?;
        elements(OP, "x", &shape)?;
        Ok(normals(seed, ["x", "d_y"].map(|name| (name, &shape))))
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
        let x = elementwise_shape(OP, request)?.iter().product::<usize>() as f64;
        let [forward, backward] = kind(&request.settings)?.flops();
        let (flops, moved) = if request.wants_gradients() { (forward + backward, 5.0) } else { (forward, 2.0) };
        Ok(Cost { flops: flops * x, bytes: moved * x * DType::F32.bytes() as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kinds() {
        for kind in Kind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!("Relu".parse::<Kind>(), Err(()));
    }
}
