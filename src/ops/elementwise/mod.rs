//! The sum and the product of two tensors, element by element, forward and backward: a residual connection, a bias, a gate.
//!
//! ```text
//! y = a + b          d_a = d_y             d_b = d_y
//! y = a · b          d_a = d_y · b         d_b = d_y · a          each summed over the dimensions in which it was repeated
//! ```
//!
//! Shapes are broadcast as numpy does it: aligned at their last dimension, and a dimension of 1, or one that is absent, is repeated. Nothing is
//! copied for that. The sums of the gradients are [`sum`](super::sum)'s, in a fixed order.
//!
//! When not to use it: a bias after a product is [`matmul`](super::matmul)'s own. Source: numpy's user guide, "Broadcasting".

mod cases;
mod cpu;
mod gpu;

pub use gpu::{Gradients, backward, forward};

use std::str::FromStr;

use super::host::{elements, expect_upstream, misfit, normals, required, wrong_shape};
use super::{Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use super::{broadcast, parse_shape};
use crate::array::show_shape;
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{DType, Result};

const OP: &str = "elementwise";
const SHAPE: &str = "…, each size one for both or a's/b's, for instance 2,3/1,5: a [2,3,5], b [2,1,5]";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = a + b or a · b, broadcast",
    shape: SHAPE,
    inputs: &[Input::new("a", "[..]"), Input::new("b", "[..], as a or broadcast with it")],
    outputs: &[Output::new("y", "[..]")],
    keys: &[Key::new("kind", "add", "add or mul")],
};

/// What is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// a + b
    #[default]
    Add,
    /// a · b
    Mul,
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "add" => Ok(Kind::Add),
            "mul" => Ok(Kind::Mul),
            _ => Err(()),
        }
    }
}

/// Shapes that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The shape of y.
    pub shape: Vec<usize>,
    /// The strides of a along the dimensions of y, 0 where it is repeated.
    pub a_strides: Vec<usize>,
    /// The strides of b.
    pub b_strides: Vec<usize>,
}

impl Problem {
    /// Checks the shapes of `a` and `b` against one another.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for shapes that do not fit, [`Error::Limit`](crate::Error::Limit) for more than 2³¹ elements.
    pub fn new(a: &[usize], b: &[usize]) -> Result<Self> {
        elements(OP, "a", a)?;
        elements(OP, "b", b)?;
        let apart = || misfit(OP, "b", b, format!("a shape that broadcasts with a's, {}", show_shape(a)));
        let shape = broadcast::common(a, b).ok_or_else(apart)?;
        elements(OP, "y", &shape)?;
        let strides = |own: &[usize]| broadcast::strides(own, &shape).ok_or_else(apart);
        Ok(Problem { a_strides: strides(a)?, b_strides: strides(b)?, shape })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`].
    pub fn of(request: &Request) -> Result<Self> {
        let problem = Problem::new(required(OP, request, "a")?.shape(), required(OP, request, "b")?.shape())?;
        expect_upstream(OP, request, "y", &problem.shape)?;
        Ok(problem)
    }
}

fn kind(settings: &Settings) -> Result<Kind> {
    Ok(settings.get(OP, "kind", "add or mul")?.unwrap_or_default())
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Elementwise;

impl Operation for Elementwise {
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
        let fields = parse_shape(OP, SHAPE, shape)?;
        if fields.iter().any(|field| field.len() > 2) {
            return Err(wrong_shape(OP, SHAPE, shape));
        }
        let own = |operand: usize| fields.iter().map(|field| field[operand.min(field.len() - 1)]).collect::<Vec<_>>();
        let problem = Problem::new(&own(0), &own(1))?;
        Ok(normals(seed, [("a", own(0)), ("b", own(1)), ("d_y", problem.shape)]))
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
        let (problem, kind) = (Problem::of(request)?, kind(&request.settings)?);
        let y = problem.shape.iter().product::<usize>() as f64;
        let given = |name: &str| request.tensor(name).map_or(0, |t| t.len()) as f64;
        let inputs = given("a") + given("b");
        let mut cost = Cost { flops: y, bytes: inputs + y };
        if request.wants_gradients() {
            let product = kind == Kind::Mul;
            let sums = ["a", "b"].into_iter().filter(|name| given(name) < y).count() as f64;
            cost.flops += (if product { 2.0 } else { 0.0 } + sums) * y;
            cost.bytes += 2.0 * y + inputs + if product { inputs } else { 0.0 };
        }
        cost.bytes *= DType::F32.bytes() as f64;
        Ok(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let p = Problem::new(&[2, 3, 5], &[3, 1]).unwrap();
        assert_eq!((p.shape, p.a_strides, p.b_strides), (vec![2, 3, 5], vec![15, 5, 1], vec![0, 1, 0]));
        assert_eq!(Problem::new(&[3, 1], &[1, 4]).unwrap().shape, [3, 4]);
        assert_eq!(Problem::new(&[], &[]).unwrap().shape, [0usize; 0]);
        let message = Problem::new(&[2, 3], &[2]).unwrap_err().to_string();
        assert_eq!(message, "elementwise: 'b' has shape [2]; expected a shape that broadcasts with a's, [2, 3]");
        assert!(matches!(Problem::new(&[1 << 20, 1], &[1 << 20]), Err(crate::Error::Limit { .. })));
    }
}
