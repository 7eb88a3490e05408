//! The reference: index by index.

use super::{OP, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values};

/// y and, with an upstream gradient, d_x.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let Problem { x_shape, y_shape, axis, start, step } = &problem;
    let x: Vec<R> = reals(required(OP, request, "x")?);
    let inner: usize = x_shape[axis + 1..].iter().product();
    // The element of x that element i of y is.
    let place = |i: usize| {
        let (column, index, outer) = (i % inner, i / inner % y_shape[*axis], i / inner / y_shape[*axis]);
        (outer * x_shape[*axis] + start + index * step) * inner + column
    };
    let y: Vec<R> = (0..y_shape.iter().product()).map(|i| x[place(i)]).collect();
    let mut results = References::from([("y".to_string(), Values::of(y_shape, &y))]);
    if request.wants_gradients() {
        let d_y: Vec<R> = reals(required(OP, request, "d_y")?);
        let mut d_x = vec![R::ZERO; x.len()];
        d_y.into_iter().enumerate().for_each(|(i, d_y)| d_x[place(i)] = d_y);
        results.insert("d_x".into(), Values::of(x_shape, &d_x));
    }
    Ok(results)
}
