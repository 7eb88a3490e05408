//! A tensor with its dimensions in another order, forward and backward.
//!
//! ```text
//! y[i_a0, i_a1, ..] = x[i_0, i_1, ..]          axes = a0, a1, ..: dimension k of y is dimension a_k of x
//! d_x               = d_y transposed back
//! ```
//!
//! Without `axes` the order is turned around, which for two dimensions is the transpose of a matrix. It copies, by strides: one dispatch for four
//! dimensions that are left when neighbours that stay neighbours count as one. Where none stay, on a GPU, tiles of the matrices that are turned
//! over pass through workgroup memory.
//!
//! When not to use it: products take transposed operands as they are ([`matmul`](super::matmul), [`linear`](super::linear)). Source: numpy's
//! `transpose`.

mod cases;
mod cpu;
pub(crate) mod gpu;
mod tiles;

pub use gpu::{backward, forward};

use super::host::{axis_of, elements, expect_upstream, normals, parse_sizes, required};
use super::strided::contiguous;
use super::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{DType, Error, Result};

const OP: &str = "transpose";
const SHAPE: &str = "…, for instance 2,3,65";
const AXES: &str = "every dimension of x once, separated by commas; -1 is the last";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = x with its dimensions in another order",
    shape: SHAPE,
    inputs: &[Input::new("x", "[..]")],
    outputs: &[Output::new("y", "[..], x's sizes in the order of the axes")],
    keys: &[Key::new("axes", "none", "the dimensions of x in the order that y has them, as in 1,0,2; none turns the order around")],
};

/// The order of the dimensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransposeOptions {
    /// The dimensions of x in the order that y has them, negative ones counted from the end; `None` turns the order around.
    pub axes: Option<Vec<isize>>,
}

impl TransposeOptions {
    fn of(settings: &Settings) -> Result<Self> {
        Ok(TransposeOptions { axes: settings.axes(OP, "axes", AXES)? })
    }
}

/// A shape and an order that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The shape of x.
    pub x_shape: Vec<usize>,
    /// The shape of y.
    pub y_shape: Vec<usize>,
    /// The strides of x along the dimensions of y.
    pub x_strides: Vec<usize>,
}

impl Problem {
    /// Checks the axes against the shape of `x`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the axes do not name every dimension of x once, [`Error::Limit`] for more than 2³¹ elements.
    pub fn new(x: &[usize], options: &TransposeOptions) -> Result<Self> {
        elements(OP, "x", x)?;
        let axes: Vec<usize> = match &options.axes {
            None => (0..x.len()).rev().collect(),
            Some(axes) => {
                let places = axes.iter().map(|&axis| axis_of(OP, "axes", axis, x.len())).collect::<Result<Vec<_>>>()?;
                if places.len() != x.len() || (0..x.len()).any(|axis| !places.contains(&axis)) {
                    let expected = format!("{AXES}; x has {} dimensions", x.len());
                    return Err(Error::Argument { op: OP, key: "axes".into(), expected, got: format!("{axes:?}") });
                }
                places
            }
        };
        let strides = contiguous(x, 1);
        let (y_shape, x_strides) = axes.into_iter().map(|axis| (x[axis], strides[axis])).unzip();
        Ok(Problem { x_shape: x.to_vec(), y_shape, x_strides })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and for keys that cannot be read.
    pub fn of(request: &Request) -> Result<Self> {
        let problem = Problem::new(required(OP, request, "x")?.shape(), &TransposeOptions::of(&request.settings)?)?;
        expect_upstream(OP, request, "y", &problem.y_shape)?;
        Ok(problem)
    }
}

/// What copying `elements` f32 costs, there and, with `back`, back.
pub(super) fn copy_cost(elements: usize, back: bool) -> Cost {
    let passes = if back { 2.0 } else { 1.0 };
    Cost { flops: 0.0, bytes: passes * 2.0 * (elements * DType::F32.bytes()) as f64 }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Transpose;

impl Operation for Transpose {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels(caps)
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        Tuning::all::<tiles::Way>(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let shape = parse_sizes(OP, SHAPE, shape)?;
        let problem = Problem::new(&shape, &TransposeOptions::of(settings)?)?;
        Ok(normals(seed, [("x", &shape), ("d_y", &problem.y_shape)]))
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
        let problem = Problem::of(request)?;
        Ok(copy_cost(problem.x_shape.iter().product(), request.wants_gradients()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let problem = |axes: &[isize]| Problem::new(&[2, 3, 5], &TransposeOptions { axes: Some(axes.to_vec()) });
        let p = problem(&[1, -1, 0]).unwrap();
        assert_eq!((p.y_shape, p.x_strides), (vec![3, 5, 2], vec![5, 1, 15]));
        assert_eq!(Problem::new(&[2, 3, 5], &TransposeOptions::default()).unwrap().y_shape, [5, 3, 2]);
        assert_eq!(Problem::new(&[], &TransposeOptions::default()).unwrap().y_shape, [0usize; 0]);
        for wrong in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3], &[0, 1, 2, 0], &[0, 1, -2]] {
            assert!(matches!(problem(wrong), Err(Error::Argument { .. })), "{wrong:?}");
        }
    }
}
