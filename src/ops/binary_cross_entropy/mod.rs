//! Binary cross entropy of logits, forward and backward, as `torch.nn.functional.binary_cross_entropy_with_logits`.
//!
//! ```text
//! term[i]     = w (p t ln(1 + exp(-x)) + (1 - t) ln(1 + exp(x)))       x = logits[i], t = target[i], w = weight or 1, p = pos_weight or 1
//! loss        = the mean of the terms, their sum, or the terms as they are
//! d_logits[i] = d_term w ((1 - t) s(x) - p t s(-x))                    s(x) = 1 / (1 + exp(-x))
//! ```
//!
//! t is from 0 to 1; that is not checked, and the formula holds for any. The mean is over all elements, whatever they weigh. Both logarithms are
//! max(·, 0) + ln(1 + exp(-|x|)), so that no logit overflows and no small loss is lost. target, weight and pos_weight have no gradient.

mod cases;
mod cpu;
mod gpu;

pub use gpu::{Inputs, backward, forward};

use super::host::{elements, expect_broadcast, expect_upstream, f32_bytes, misfit, normal, parse_sizes, required};
use super::loss::Reduction;
use super::philox::Rng;
use super::{Applied, Arrays, Call, Case, Cost, Input, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::array::show_shape;
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{Array, Result};

const OP: &str = "binary_cross_entropy";
const SHAPE: &str = "…, for instance 2,3,65";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "the binary cross entropy of logits against targets from 0 to 1",
    shape: SHAPE,
    inputs: &[
        Input::new("logits", "[..]"),
        Input { differentiable: false, ..Input::new("target", "[..]") },
        Input { differentiable: false, ..Input::new("weight", "broadcastable to logits").optional() },
        Input { differentiable: false, ..Input::new("pos_weight", "broadcastable to logits").optional() },
    ],
    outputs: &[Output::new("loss", "[], or [..] with reduction=none")],
    keys: &[Reduction::KEY],
};

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The shape of logits and target.
    pub shape: Vec<usize>,
    /// The weight's stride along each dimension, 0 where it is repeated.
    pub weight_strides: Option<Vec<usize>>,
    /// The same of pos_weight.
    pub pos_weight_strides: Option<Vec<usize>>,
    /// What the terms become.
    pub reduction: Reduction,
}

impl Problem {
    /// Checks the shapes against one another; `weights` are those of weight and pos_weight.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for shapes that do not fit, [`Error::Limit`](crate::Error::Limit) for more than 2³¹ elements.
    pub fn new(logits: &[usize], target: &[usize], weights: [Option<&[usize]>; 2], reduction: Reduction) -> Result<Self> {
        elements(OP, "logits", logits)?;
        if target != logits {
            return Err(misfit(OP, "target", target, show_shape(logits)));
        }
        let strides = |name: &str, weight: Option<&[usize]>| {
            weight.map(|shape| expect_broadcast(OP, name, shape, "that of the logits", logits)).transpose()
        };
        Ok(Problem {
            shape: logits.to_vec(),
            weight_strides: strides("weight", weights[0])?,
            pos_weight_strides: strides("pos_weight", weights[1])?,
            reduction,
        })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and for a key that cannot be read.
    pub fn of(request: &Request) -> Result<Self> {
        let shape = |name| required(OP, request, name).map(Array::shape);
        let weights = ["weight", "pos_weight"].map(|name| request.tensor(name).map(Array::shape));
        let problem = Problem::new(shape("logits")?, shape("target")?, weights, Reduction::of(OP, &request.settings)?)?;
        expect_upstream(OP, request, "loss", &problem.loss_shape())?;
        Ok(problem)
    }

    /// The shape of the loss.
    pub fn loss_shape(&self) -> Vec<usize> {
        self.reduction.shape(&self.shape)
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct BinaryCrossEntropy;

impl Operation for BinaryCrossEntropy {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, _caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels()
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let shape = parse_sizes(OP, SHAPE, shape)?;
        let problem = Problem::new(&shape, &shape, [None, None], Reduction::of(OP, settings)?)?;
        let mut rng = Rng::new(seed);
        let logits = normal(&mut rng, &shape);
        let target = Array::f32(&shape, (0..logits.len()).map(|_| rng.uniform() as f32).collect());
        let d_loss = normal(&mut rng, &problem.loss_shape());
        Ok([("logits", logits), ("target", target), ("d_loss", d_loss)].map(|(name, array)| (name.to_string(), array)).into())
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

    /// An exponential or a logarithm counts as one operation: ten operations forward, ten backward.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let x = problem.shape.iter().product::<usize>() as f64;
        let loss = problem.loss_shape().iter().product::<usize>() as f64;
        let weights = ["weight", "pos_weight"].iter().filter_map(|name| request.tensor(name)).map(|t| t.len() as f64).sum::<f64>();
        let mut cost = Cost { flops: 10.0 * x, bytes: f32_bytes(2.0 * x + weights + loss) };
        if request.wants_gradients() {
            cost.flops += 10.0 * x;
            cost.bytes += f32_bytes(3.0 * x + weights + loss);
        }
        Ok(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let problem = |weights| Problem::new(&[2, 3], &[2, 3], weights, Reduction::None);
        let p = problem([Some(&[2, 1]), Some(&[3])]).unwrap();
        assert_eq!((p.weight_strides, p.pos_weight_strides), (Some(vec![1, 0]), Some(vec![0, 1])));
        let message = problem([None, Some(&[2])]).unwrap_err().to_string();
        assert_eq!(
            message,
            "binary_cross_entropy: 'pos_weight' has shape [2]; expected a shape that broadcasts to that of the logits, [2, 3]"
        );
        assert!(Problem::new(&[2, 3], &[3], [None, None], Reduction::Mean).is_err());
    }
}
