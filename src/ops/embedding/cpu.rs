//! The reference, id by id.

use super::{OP, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values};

/// y and, with an upstream gradient, d_weight.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let columns = problem.columns;
    let rows: Vec<usize> = problem.rows_of(required(OP, request, "ids")?)?;
    let weight: Vec<R> = reals(required(OP, request, "weight")?);
    // y[i] = weight[ids[i]]
    let y: Vec<R> = rows.iter().flat_map(|&row| weight[row * columns..][..columns].iter().copied()).collect();
    let mut results = References::from([("y".to_string(), Values::of(&problem.y_shape(), &y))]);
    if request.wants_gradients() {
        let d_y: Vec<R> = reals(required(OP, request, "d_y")?);
        // d_weight[r] = sum of d_y[i] where ids[i] = r
        let mut d_weight = vec![R::ZERO; weight.len()];
        for (&row, d_y) in rows.iter().zip(d_y.chunks_exact(columns)).filter(|(row, _)| Some(**row) != problem.padding) {
            d_weight[row * columns..].iter_mut().zip(d_y).for_each(|(sum, &d)| *sum += d);
        }
        results.insert("d_weight".into(), Values::of(&[problem.vocabulary, columns], &d_weight));
    }
    Ok(results)
}
