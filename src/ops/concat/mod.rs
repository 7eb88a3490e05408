//! Tensors one behind the other in one dimension, forward and backward.
//!
//! ```text
//! y     = [x0; x1; ..] along the axis
//! d_xn  = the part of d_y that xn became
//! ```
//!
//! It copies each tensor, and uses [`transpose`](super::transpose)'s kernel. Source: numpy's `concatenate`.

mod cases;
mod cpu;
mod gpu;

pub use gpu::{backward, forward};

use super::host::{axis_of, elements, expect_upstream, misfit, normals};
use super::parse_shape;
use super::transpose::copy_cost;
use super::{Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::Result;
use crate::array::show_shape;
use crate::gpu::{AnyVariant, Caps, Gpu};

const OP: &str = "concat";
const SHAPE: &str = "…, with the sizes of the axis one for each tensor, for instance 3/1/4,65: x0 [3,65], x1 [1,65], x2 [4,65]";

const PARTS: Input = Input::numbered("x", 0, "[..], as the others but for the axis");

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = x0, x1, … one behind the other in one dimension",
    shape: SHAPE,
    inputs: &[PARTS],
    outputs: &[Output::new("y", "[..]")],
    keys: &[Key::new("axis", "0", "the dimension; -1 is the last")],
};

fn axis(settings: &Settings) -> Result<isize> {
    Ok(settings.get(OP, "axis", "an integer")?.unwrap_or(0))
}

/// Shapes that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The shape of y.
    pub shape: Vec<usize>,
    /// The dimension.
    pub axis: usize,
    /// The size of each tensor in that dimension.
    pub sizes: Vec<usize>,
}

impl Problem {
    /// Checks the shapes against one another.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for shapes that do not fit and for scalars, [`Error::Argument`](crate::Error::Argument) for an axis that
    /// there is not, [`Error::Tensors`](crate::Error::Tensors) for no tensors, [`Error::Limit`](crate::Error::Limit) for more than 2³¹ elements.
    pub fn new(parts: &[&[usize]], axis: isize) -> Result<Self> {
        let Some(&first) = parts.first() else {
            let what = "there is no tensor".to_string();
            return Err(crate::Error::Tensors { op: OP, what, expected: "at least one".into() });
        };
        if first.is_empty() {
            return Err(misfit(OP, "x0", first, "at least one dimension"));
        }
        let axis = axis_of(OP, "axis", axis, first.len())?;
        let others = |shape: &[usize]| [&shape[..axis], &shape[axis + 1..]].concat();
        for (n, part) in parts.iter().enumerate() {
            elements(OP, &format!("x{n}"), part)?;
            if part.len() != first.len() || others(part) != others(first) {
                return Err(misfit(OP, &format!("x{n}"), part, format!("x0's, {}, but for dimension {axis}", show_shape(first))));
            }
        }
        let sizes: Vec<usize> = parts.iter().map(|part| part[axis]).collect();
        let mut shape = first.to_vec();
        shape[axis] = sizes.iter().fold(0, |sum, &size| sum.saturating_add(size));
        elements(OP, "y", &shape)?;
        Ok(Problem { shape, axis, sizes })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and when a number is left out.
    pub fn of(request: &Request) -> Result<Self> {
        let parts: Vec<&[usize]> = request.series(OP, &PARTS)?.into_iter().map(|part| part.shape()).collect();
        let problem = Problem::new(&parts, axis(&request.settings)?)?;
        expect_upstream(OP, request, "y", &problem.shape)?;
        Ok(problem)
    }

    /// The shape of tensor n.
    fn part(&self, n: usize) -> Vec<usize> {
        let mut shape = self.shape.clone();
        shape[self.axis] = self.sizes[n];
        shape
    }

    /// Elements of what is behind the axis.
    fn inner(&self) -> usize {
        self.shape[self.axis + 1..].iter().product()
    }

    /// Where each tensor begins in the dimension.
    fn starts(&self) -> impl Iterator<Item = usize> {
        self.sizes.iter().scan(0, |sum, &size| {
            *sum += size;
            Some(*sum - size)
        })
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Concat;

impl Operation for Concat {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, _caps: &Caps) -> Vec<AnyVariant> {
        Vec::new()
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let fields = parse_shape(OP, SHAPE, shape)?;
        let count = fields.iter().map(Vec::len).max().unwrap_or(1);
        let own = |n: usize| fields.iter().map(|field| field[n.min(field.len() - 1)]).collect::<Vec<_>>();
        let shapes: Vec<Vec<usize>> = (0..count).map(own).collect();
        let problem = Problem::new(&shapes.iter().map(Vec::as_slice).collect::<Vec<_>>(), axis(settings)?)?;
        let parts = shapes.iter().enumerate().map(|(n, shape)| (format!("x{n}"), shape));
        Ok(normals(seed, parts.chain([("d_y".to_string(), &problem.shape)])))
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
        Ok(copy_cost(problem.shape.iter().product(), request.wants_gradients()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn shapes() {
        let p = Problem::new(&[&[2, 3, 5], &[2, 1, 5], &[2, 4, 5]], -2).unwrap();
        assert_eq!((p.axis, p.inner(), p.part(2), p.starts().collect::<Vec<_>>()), (1, 5, vec![2, 4, 5], vec![0, 3, 4]));
        assert_eq!(p.shape, [2, 8, 5]);
        let message = Problem::new(&[&[2, 3], &[2, 4]], 0).unwrap_err().to_string();
        assert_eq!(message, "concat: 'x1' has shape [2, 4]; expected x0's, [2, 3], but for dimension 0");
        assert!(matches!(Problem::new(&[&[2, 3], &[2]], 0), Err(Error::Shape { .. })));
        assert!(matches!(Problem::new(&[&[]], 0), Err(Error::Shape { .. })));
        assert!(matches!(Problem::new(&[&[2]], 1), Err(Error::Argument { .. })));
        assert!(matches!(Problem::new(&[], 0), Err(Error::Tensors { .. })));
        assert!(matches!(Problem::new(&[&[1 << 31], &[1]], 0), Err(Error::Limit { .. })));
    }
}
