//! The squared error, forward and backward, as `torch.nn.functional.mse_loss`.
//!
//! ```text
//! term[i]     = (x[i] - target[i])²
//! loss        = the mean of the terms, their sum, or the terms as they are
//! d_x[i]      = 2 (x[i] - target[i]) d_term[i]        d_term = d_loss, with mean divided by the number of elements
//! d_target[i] = -d_x[i]
//! ```
//!
//! x and target have the same shape: nothing is broadcast.

mod cases;
mod cpu;
mod gpu;

pub use gpu::{Gradients, backward, forward};

use super::host::{elements, expect_upstream, f32_bytes, misfit, normals, parse_sizes, required};
use super::loss::Reduction;
use super::{Applied, Arrays, Call, Case, Cost, Input, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::Result;
use crate::array::show_shape;
use crate::gpu::{AnyVariant, Caps, Gpu};

const OP: &str = "mse";
const SHAPE: &str = "…, for instance 2,3,65";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "the squared error (x - target)²",
    shape: SHAPE,
    inputs: &[Input::new("x", "[..]"), Input::new("target", "[..]")],
    outputs: &[Output::new("loss", "[], or [..] with reduction=none")],
    keys: &[Reduction::KEY],
};

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The shape of x and target.
    pub shape: Vec<usize>,
    /// What the terms become.
    pub reduction: Reduction,
}

impl Problem {
    /// Checks the shapes against one another.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for shapes that differ, [`Error::Limit`](crate::Error::Limit) for more than 2³¹ elements.
    pub fn new(x: &[usize], target: &[usize], reduction: Reduction) -> Result<Self> {
        elements(OP, "x", x)?;
        if target != x {
            return Err(misfit(OP, "target", target, show_shape(x)));
        }
        Ok(Problem { shape: x.to_vec(), reduction })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and for a key that cannot be read.
    pub fn of(request: &Request) -> Result<Self> {
        let shape = |name| required(OP, request, name).map(|t| t.shape());
        let problem = Problem::new(shape("x")?, shape("target")?, Reduction::of(OP, &request.settings)?)?;
        expect_upstream(OP, request, "loss", &problem.loss_shape())?;
        Ok(problem)
    }

    /// The shape of the loss.
    pub fn loss_shape(&self) -> Vec<usize> {
        self.reduction.shape(&self.shape)
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Mse;

impl Operation for Mse {
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
        let problem = Problem::new(&shape, &shape, Reduction::of(OP, settings)?)?;
        Ok(normals(seed, [("x", &shape), ("target", &shape), ("d_loss", &problem.loss_shape())]))
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

    /// A difference, a square and a sum forward; a difference, two products and a sign backward.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let x = problem.shape.iter().product::<usize>() as f64;
        let loss = problem.loss_shape().iter().product::<usize>() as f64;
        let mut cost = Cost { flops: 3.0 * x, bytes: f32_bytes(2.0 * x + loss) };
        if request.wants_gradients() {
            cost.flops += 4.0 * x;
            cost.bytes += f32_bytes(4.0 * x + loss);
        }
        Ok(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert!(Problem::new(&[2, 3], &[2, 3], Reduction::Sum).unwrap().loss_shape().is_empty());
        assert_eq!(Problem::new(&[2, 3], &[2, 3], Reduction::None).unwrap().loss_shape(), [2, 3]);
        let message = Problem::new(&[2, 3], &[3], Reduction::Mean).unwrap_err().to_string();
        assert_eq!(message, "mse: 'target' has shape [3]; expected [2, 3]");
    }
}
