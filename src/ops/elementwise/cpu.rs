//! The reference: every index of y.

use super::{Kind, OP, Problem, kind};
use crate::Result;
use crate::ops::broadcast::offsets;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values};

/// y and, with an upstream gradient, d_a and d_b.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let kind = kind(&request.settings)?;
    let (a, b) = (required(OP, request, "a")?, required(OP, request, "b")?);
    let (a_shape, b_shape) = (a.shape(), b.shape());
    let (a, b): (Vec<R>, Vec<R>) = (reals(a), reals(b));
    let of = |strides: &[usize]| offsets(&problem.shape, strides);
    let places: Vec<(usize, usize)> = of(&problem.a_strides).into_iter().zip(of(&problem.b_strides)).collect();

    let value = |&(i, j): &(usize, usize)| match kind {
        Kind::Add => a[i] + b[j],
        Kind::Mul => a[i] * b[j],
    };
    let y: Vec<R> = places.iter().map(value).collect();
    let mut results = References::from([("y".to_string(), Values::of(&problem.shape, &y))]);
    if request.wants_gradients() {
        let d_y: Vec<R> = reals(required(OP, request, "d_y")?);
        let (mut d_a, mut d_b) = (vec![R::ZERO; a.len()], vec![R::ZERO; b.len()]);
        for (&(i, j), &d_y) in places.iter().zip(&d_y) {
            // y = a + b:  d_a = d_y, d_b = d_y          y = a b:  d_a = d_y b, d_b = d_y a
            let (to_a, to_b) = match kind {
                Kind::Add => (d_y, d_y),
                Kind::Mul => (d_y * b[j], d_y * a[i]),
            };
            d_a[i] += to_a;
            d_b[j] += to_b;
        }
        results.insert("d_a".into(), Values::of(a_shape, &d_a));
        results.insert("d_b".into(), Values::of(b_shape, &d_b));
    }
    Ok(results)
}
