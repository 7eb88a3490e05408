//! The sum over some dimensions, forward and backward. The gradient of anything that was repeated is such a sum: a bias, a
//! broadcast operand.
//!
//! ```text
//! y[kept]       = sum over the others x[kept, others]
//! d_x[kept, ..] = d_y[kept]
//! ```
//!
//! A dimension that is summed over is dropped from y, or stays as 1 with `keepdim`. Without `axes` all are summed over.
//! The order of the additions is fixed, so that two runs give the same bits. Source: numpy's `sum` for the shapes.

mod cases;
mod cpu;
pub(crate) mod gpu;

pub(crate) use gpu::rows;
pub use gpu::{backward, forward};

use super::host::{axis_of, elements, expect_upstream, f32_bytes, normals, parse_sizes, required};
use super::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{Error, Result};

const OP: &str = "sum";
const SHAPE: &str = "…, for instance 2,3,65";
const AXES: &str = "different dimensions of x, separated by commas; -1 is the last";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = the sum of x over some dimensions",
    shape: SHAPE,
    inputs: &[Input::new("x", "[..]")],
    outputs: &[Output::new("y", "[..] without the axes, or with 1 in their place")],
    keys: &[
        Key::new("axes", "none", "the dimensions to sum over, as in 0,2 or -1; none sums over all"),
        Key::new("keepdim", "false", "summed dimensions stay as 1"),
    ],
};

/// What is summed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SumOptions {
    /// The dimensions to sum over, negative ones counted from the end; `None` sums over all.
    pub axes: Option<Vec<isize>>,
    /// Summed dimensions stay as 1.
    pub keepdim: bool,
}

impl SumOptions {
    fn of(settings: &Settings) -> Result<Self> {
        Ok(SumOptions { axes: settings.axes(OP, "axes", AXES)?, keepdim: settings.flag(OP, "keepdim", false)? })
    }
}

/// All sizes, derived from a shape and the options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The shape of x.
    pub x_shape: Vec<usize>,
    /// Whether each dimension of x is summed over.
    pub summed: Vec<bool>,
    /// The shape of y.
    pub y_shape: Vec<usize>,
    /// Elements of y.
    pub outputs: usize,
    /// Terms of each sum.
    pub terms: usize,
}

impl Problem {
    /// Checks the axes against the shape of `x`.
    ///
    /// # Errors
    /// [`Error::Argument`] for an axis that x does not have or that is named twice, [`Error::Limit`] for more than 2³¹ elements.
    pub fn new(x: &[usize], options: &SumOptions) -> Result<Self> {
        elements(OP, "x", x)?;
        let mut summed = vec![options.axes.is_none(); x.len()];
        if let Some(axes) = &options.axes {
            for &axis in axes {
                let place = axis_of(OP, "axes", axis, x.len())?;
                if std::mem::replace(&mut summed[place], true) {
                    return Err(Error::Argument { op: OP, key: "axes".into(), expected: AXES.into(), got: format!("{axes:?}") });
                }
            }
        }
        let dims = || x.iter().copied().zip(summed.iter().copied());
        let y_shape = if options.keepdim {
            dims().map(|(dim, summed)| if summed { 1 } else { dim }).collect()
        } else {
            dims().filter(|&(_, summed)| !summed).map(|(dim, _)| dim).collect()
        };
        let product = |wanted: bool| dims().filter(|&(_, summed)| summed == wanted).map(|(dim, _)| dim).product();
        Ok(Problem { x_shape: x.to_vec(), y_shape, outputs: product(false), terms: product(true), summed })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and for keys that cannot be read.
    pub fn of(request: &Request) -> Result<Self> {
        let problem = Problem::new(required(OP, request, "x")?.shape(), &SumOptions::of(&request.settings)?)?;
        expect_upstream(OP, request, "y", &problem.y_shape)?;
        Ok(problem)
    }

    /// The dimensions of x that are summed over, or those that are kept, as (sizes, strides in elements).
    pub fn dims(&self, summed: bool) -> (Vec<usize>, Vec<usize>) {
        let stride = |axis: usize| self.x_shape[axis + 1..].iter().product::<usize>();
        let wanted = self.summed.iter().enumerate().filter(|&(_, &s)| s == summed);
        wanted.map(|(axis, _)| (self.x_shape[axis], stride(axis))).unzip()
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Sum;

impl Operation for Sum {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels(caps)
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        gpu::tunings(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let shape = parse_sizes(OP, SHAPE, shape)?;
        let problem = Problem::new(&shape, &SumOptions::of(settings)?)?;
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
        let (x, y) = ((problem.outputs * problem.terms) as f64, problem.outputs as f64);
        // The backward only copies: it reads d_y and writes d_x.
        let passes = if request.wants_gradients() { 2.0 } else { 1.0 };
        Ok(Cost { flops: x, bytes: passes * f32_bytes(x + y) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let problem = |axes: &[isize], keepdim| Problem::new(&[2, 3, 5], &SumOptions { axes: Some(axes.to_vec()), keepdim });
        let p = problem(&[-3, 2], false).unwrap();
        assert_eq!((p.y_shape.as_slice(), p.outputs, p.terms), ([3].as_slice(), 3, 10));
        assert_eq!((p.dims(true), p.dims(false)), ((vec![2, 5], vec![15, 1]), (vec![3], vec![5])));
        assert_eq!(problem(&[1], true).unwrap().y_shape, [2, 1, 5]);
        assert_eq!(problem(&[], false).unwrap().terms, 1);
        assert!(Problem::new(&[2, 3], &SumOptions::default()).unwrap().y_shape.is_empty());
        assert_eq!(Problem::new(&[], &SumOptions::default()).unwrap().terms, 1);
        for wrong in [[3, 0], [-4, 0], [0, -3], [isize::MAX, 0], [isize::MIN, 0]] {
            assert!(matches!(problem(&wrong, false), Err(Error::Argument { .. })), "{wrong:?}");
        }
    }
}
