//! Dropout: some elements are left out at random and the others made larger, forward and backward.
//!
//! ```text
//! y[i]   = keep[i] x[i] / (1 - p)          keep[i] = 1 when the Philox word of element i under the seed is at least p·2³², else 0
//! d_x[i] = keep[i] d_y[i] / (1 - p)
//! ```
//!
//! Nothing is stored: the backward draws the same words again ([`philox::element`](super::philox::element)). An element is dropped or not by the
//! seed and its place in the tensor alone, so every use in a model and every step takes a seed of its own. What is dropped is 0, NaN included.
//!
//! When not to use it: attention and recurrent layers have dropout of their own. Source: Srivastava et al. 2014, "Dropout: a simple way to prevent
//! neural networks from overfitting"; Salmon et al. 2011 for the random numbers.

mod cases;
mod cpu;
pub(crate) mod gpu;

pub use gpu::{backward, forward};

use super::host::{elements, elementwise_shape, normals, parse_sizes};
use super::{Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{DType, Error, Result};

const OP: &str = "dropout";
const SHAPE: &str = "…, for instance 2,3,65";
const PROBABILITY: &str = "a number p with 0 <= p < 1";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = x / (1 - p), or 0 with probability p",
    shape: SHAPE,
    inputs: &[Input::new("x", "[..]")],
    outputs: &[Output::new("y", "[..]")],
    keys: &[
        Key::new("p", "0.5", "the probability that an element is dropped, below 1"),
        Key::new("seed", "0", "the seed of the random numbers, an integer of at least 0"),
    ],
};

/// What is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutOptions {
    /// The probability that an element is dropped; at least 0 and below 1.
    pub p: f32,
    /// The seed of the random numbers.
    pub seed: u64,
}

impl Default for DropoutOptions {
    fn default() -> Self {
        DropoutOptions { p: 0.5, seed: 0 }
    }
}

impl DropoutOptions {
    fn of(settings: &Settings) -> Result<Self> {
        let default = DropoutOptions::default();
        let seed = settings.get(OP, "seed", "an integer of at least 0")?.unwrap_or(default.seed);
        let options = DropoutOptions { p: settings.number(OP, "p")?.unwrap_or(default.p), seed };
        options.check().map(|()| options)
    }

    fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.p) {
            return Ok(());
        }
        Err(Error::Argument { op: OP, key: "p".into(), expected: PROBABILITY.into(), got: self.p.to_string() })
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Dropout;

impl Operation for Dropout {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, _caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels().into()
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

    /// The random numbers are integers and not counted.
    fn cost(&self, request: &Request) -> Result<Cost> {
        DropoutOptions::of(&request.settings)?;
        let passes = if request.wants_gradients() { 2.0 } else { 1.0 };
        let x = elementwise_shape(OP, request)?.iter().product::<usize>() as f64 * passes;
        Ok(Cost { flops: x, bytes: 2.0 * x * DType::F32.bytes() as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities() {
        let of = |p: &str| DropoutOptions::of(&Settings::new([("p".to_string(), p.to_string())]));
        assert_eq!(of("0.25").unwrap(), DropoutOptions { p: 0.25, seed: 0 });
        for wrong in ["1", "-0.1", "nan", "inf", "half"] {
            assert!(matches!(of(wrong), Err(Error::Argument { .. })), "{wrong}");
        }
    }
}
