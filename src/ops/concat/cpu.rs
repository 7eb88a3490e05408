//! The reference: one index of everything before the axis after the other.

use super::{OP, PARTS, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values};

/// y and, with an upstream gradient, d_x0, d_x1, …
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let parts: Vec<Vec<R>> = request.series(OP, &PARTS)?.into_iter().map(reals).collect();
    let outer: usize = problem.shape[..problem.axis].iter().product();
    let row = |n: usize| problem.sizes[n] * problem.inner();
    let mut y = vec![];
    for o in 0..outer {
        parts.iter().enumerate().for_each(|(n, part)| y.extend_from_slice(&part[o * row(n)..][..row(n)]));
    }
    let mut results = References::from([("y".to_string(), Values::of(&problem.shape, &y))]);
    if request.wants_gradients() {
        let d_y: Vec<R> = reals(required(OP, request, "d_y")?);
        let mut gradients: Vec<Vec<R>> = vec![vec![]; parts.len()];
        let mut rest = d_y.as_slice();
        for _ in 0..outer {
            for (n, gradient) in gradients.iter_mut().enumerate() {
                let (own, others) = rest.split_at(row(n));
                gradient.extend_from_slice(own);
                rest = others;
            }
        }
        for (n, gradient) in gradients.iter().enumerate() {
            results.insert(format!("d_x{n}"), Values::of(&problem.part(n), gradient));
        }
    }
    Ok(results)
}
