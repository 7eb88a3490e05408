//! The reference: the terms of each sum in row-major order.

use super::{OP, Problem};
use crate::Result;
use crate::ops::broadcast::offsets;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values, parallel};

/// y and, with an upstream gradient, d_x.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let x: Vec<R> = reals(required(OP, request, "x")?);
    let at = |summed: bool| {
        let (sizes, strides) = problem.dims(summed);
        offsets(&sizes, &strides)
    };
    let (kept, terms) = (at(false), at(true));

    // y[kept] = sum over terms x[kept + term]
    let sum = |i: usize| {
        let mut sum = R::ZERO;
        terms.iter().for_each(|term| sum += x[kept[i] + term]);
        sum
    };
    let y: Vec<R> = parallel::map(kept.len(), sum);
    let mut results = References::from([("y".to_string(), Values::of(&problem.y_shape, &y))]);
    if request.wants_gradients() {
        let d_y: Vec<R> = reals(required(OP, request, "d_y")?);
        // y[kept] = sum over terms x[kept + term]:  d_x[kept + term] = d_y[kept]
        let mut d_x = vec![R::ZERO; x.len()];
        for (start, &d_y) in kept.iter().zip(&d_y) {
            terms.iter().for_each(|term| d_x[start + term] = d_y);
        }
        results.insert("d_x".into(), Values::of(&problem.x_shape, &d_x));
    }
    Ok(results)
}
