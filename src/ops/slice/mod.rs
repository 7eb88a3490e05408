//! Some indices of one dimension, forward and backward.
//!
//! ```text
//! y[.., i, ..]                  = x[.., start + i step, ..]          as long as start + i step < end
//! d_x[.., start + i step, ..]   = d_y[.., i, ..]                     0 elsewhere
//! ```
//!
//! Places are counted from the end where they are negative, as Python does; unlike there, an `end` beyond the dimension and a slice of nothing are
//! errors. It copies, and uses [`transpose`](super::transpose)'s kernel.
//!
//! When not to use it: a stretch of the first dimension is a tensor without a copy, [`Tensor::part`](crate::Tensor::part). Source: Python's
//! slices.

mod cases;
mod cpu;
mod gpu;

pub use gpu::{backward, forward};

use super::host::{axis_of, elements, expect_upstream, from_end, misfit, normals, parse_sizes, required};
use super::transpose::copy_cost;
use super::{Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{Error, Result};

const OP: &str = "slice";
const SHAPE: &str = "…, for instance 2,3,65";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = every step-th index of x from start to before end in one dimension",
    shape: SHAPE,
    inputs: &[Input::new("x", "[..]")],
    outputs: &[Output::new("y", "[..], as x but for the axis")],
    keys: &[
        Key::new("axis", "0", "the dimension; -1 is the last"),
        Key::new("start", "0", "the first index; -1 is the last"),
        Key::new("end", "none", "the one after the last index, -1 is the last; none is the dimension's end"),
        Key::new("step", "1", "how far it is from one index to the next, at least 1"),
    ],
};

/// Which indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceOptions {
    /// The dimension; negative ones are counted from the end.
    pub axis: isize,
    /// The first index, likewise.
    pub start: isize,
    /// The one after the last, likewise; `None` is the dimension's end.
    pub end: Option<isize>,
    /// From one index to the next; at least 1.
    pub step: usize,
}

impl Default for SliceOptions {
    fn default() -> Self {
        SliceOptions { axis: 0, start: 0, end: None, step: 1 }
    }
}

impl SliceOptions {
    fn of(settings: &Settings) -> Result<Self> {
        let place = |key: &str| settings.get(OP, key, "an integer");
        let step = settings.get(OP, "step", "an integer of at least 1")?;
        Ok(SliceOptions {
            axis: place("axis")?.unwrap_or(0),
            start: place("start")?.unwrap_or(0),
            end: place("end")?,
            step: step.unwrap_or(1),
        })
    }
}

/// A shape and indices that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The shape of x.
    pub x_shape: Vec<usize>,
    /// The shape of y.
    pub y_shape: Vec<usize>,
    /// The dimension.
    pub axis: usize,
    /// The first index.
    pub start: usize,
    /// From one index to the next.
    pub step: usize,
}

impl Problem {
    /// Checks the indices against the shape of `x`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a dimension or indices that x does not have, for no indices and for a step of 0; [`Error::Shape`] for a scalar;
    /// [`Error::Limit`] for more than 2³¹ elements.
    pub fn new(x: &[usize], options: &SliceOptions) -> Result<Self> {
        elements(OP, "x", x)?;
        if x.is_empty() {
            return Err(misfit(OP, "x", x, "at least one dimension"));
        }
        let axis = axis_of(OP, "axis", options.axis, x.len())?;
        let size = x[axis];
        // An end may be that of the dimension.
        let place = |key: &str, place: isize, below: usize| {
            let found = from_end(place, size).filter(|&i| i < below);
            let expected = format!("a place in dimension {axis} of x, which has {size}");
            found.ok_or(Error::Argument { op: OP, key: key.into(), expected, got: place.to_string() })
        };
        let start = place("start", options.start, size)?;
        let end = options.end.map_or(Ok(size), |end| place("end", end, size + 1))?;
        let wrong = |key: &str, expected: String, got: usize| Error::Argument { op: OP, key: key.into(), expected, got: got.to_string() };
        if end <= start {
            return Err(wrong("end", format!("a place after start, which is {start}"), end));
        }
        if options.step == 0 {
            return Err(wrong("step", "at least 1".into(), 0));
        }
        let mut y_shape = x.to_vec();
        y_shape[axis] = (end - start).div_ceil(options.step);
        Ok(Problem { x_shape: x.to_vec(), y_shape, axis, start, step: options.step })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and for keys that cannot be read.
    pub fn of(request: &Request) -> Result<Self> {
        let problem = Problem::new(required(OP, request, "x")?.shape(), &SliceOptions::of(&request.settings)?)?;
        expect_upstream(OP, request, "y", &problem.y_shape)?;
        Ok(problem)
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Slice;

impl Operation for Slice {
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
        let shape = parse_sizes(OP, SHAPE, shape)?;
        let problem = Problem::new(&shape, &SliceOptions::of(settings)?)?;
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

    /// Backward the rest of d_x is written as well.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let [x, y] = [&problem.x_shape, &problem.y_shape].map(|shape| shape.iter().product::<usize>());
        let mut cost = copy_cost(y, request.wants_gradients());
        if request.wants_gradients() {
            cost.bytes += copy_cost(x - y, false).bytes / 2.0;
        }
        Ok(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices() {
        let problem = |axis, start, end, step| Problem::new(&[2, 7], &SliceOptions { axis, start, end, step });
        let p = problem(-1, 1, Some(-1), 2).unwrap();
        assert_eq!((p.axis, p.start, p.y_shape), (1, 1, vec![2, 3]));
        assert_eq!(problem(1, -3, None, 1).unwrap().y_shape, [2, 3]);
        assert_eq!(problem(1, 0, Some(7), 100).unwrap().y_shape, [2, 1]);
        for (axis, start, end, step) in
            [(2, 0, None, 1), (1, 7, None, 1), (1, -8, None, 1), (1, 0, Some(8), 1), (1, 3, Some(3), 1), (1, 0, None, 0)]
        {
            assert!(matches!(problem(axis, start, end, step), Err(Error::Argument { .. })), "{axis} {start} {end:?} {step}");
        }
        assert!(matches!(Problem::new(&[], &SliceOptions::default()), Err(Error::Shape { .. })));
    }
}
