//! The reference: every index of y.

use super::{OP, Problem};
use crate::Result;
use crate::ops::broadcast::offsets;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values};

/// y and, with an upstream gradient, d_x.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let x: Vec<R> = reals(required(OP, request, "x")?);
    // Which element of x each element of y is.
    let places = offsets(&problem.y_shape, &problem.x_strides);
    let y: Vec<R> = places.iter().map(|&place| x[place]).collect();
    let mut results = References::from([("y".to_string(), Values::of(&problem.y_shape, &y))]);
    if request.wants_gradients() {
        let d_y: Vec<R> = reals(required(OP, request, "d_y")?);
        let mut d_x = vec![R::ZERO; x.len()];
        places.iter().zip(d_y).for_each(|(&place, d_y)| d_x[place] = d_y);
        results.insert("d_x".into(), Values::of(&problem.x_shape, &d_x));
    }
    Ok(results)
}
