//! The reference, element by element.

use super::{OP, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::loss::cpu::{d_terms, reduce};
use crate::ops::{Real, References, Request, Values};

/// The loss and, with an upstream gradient, d_x and d_target.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let Problem { shape, reduction } = Problem::of(request)?;
    let tensor = |name| required(OP, request, name).map(reals::<R>);
    let (x, target) = (tensor("x")?, tensor("target")?);
    let weights = vec![R::new(1.0); x.len()];
    // term = (x - target)²
    let terms = x.iter().zip(&target).map(|(&x, &t)| (x - t) * (x - t)).collect();
    let loss = reduce(terms, &weights, reduction);
    let mut results = References::from([("loss".to_string(), Values::of(&reduction.shape(&shape), &loss))]);
    if request.wants_gradients() {
        let d = d_terms(&tensor("d_loss")?, &weights, reduction);
        // d_x = 2 (x - target) d_term
        let d_x: Vec<R> = x.iter().zip(&target).zip(d).map(|((&x, &t), d)| R::new(2.0) * (x - t) * d).collect();
        let d_target: Vec<R> = d_x.iter().map(|&d| -d).collect();
        results.insert("d_x".into(), Values::of(&shape, &d_x));
        results.insert("d_target".into(), Values::of(&shape, &d_target));
    }
    Ok(results)
}
