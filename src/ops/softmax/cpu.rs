//! The reference, row by row.

use super::{OP, Problem, SoftmaxOptions};
use crate::Result;
use crate::ops::host::{reals, required, visible};
use crate::ops::{Real, References, Request, Values, parallel};

/// y [C] and lse of one row: x [C], visible [C].
fn forward<R: Real>(x: &[R], visible: &[bool], options: &SoftmaxOptions) -> (Vec<R>, R) {
    let scale = R::new(options.scale as f64);
    let nothing = R::new(f64::NEG_INFINITY);
    // s = scale x
    let s: Vec<Option<R>> = x.iter().zip(visible).map(|(&x, &v)| v.then(|| scale * x)).collect();
    let hidden = if options.log { nothing } else { R::ZERO };
    // m = max s. A NaN is never the larger one; it reaches the row through l.
    let Some(m) = s.iter().flatten().copied().reduce(|m, s| if s > m { s } else { m }) else {
        return (vec![hidden; x.len()], nothing);
    };
    // l = sum exp(s - m)
    let mut l = R::ZERO;
    s.iter().flatten().for_each(|&s| l += (s - m).exp());
    // y = exp(s - m) / l, or its logarithm s - m - ln l
    let y = |s: R| if options.log { s - m - l.ln() } else { (s - m).exp() / l };
    // lse = m + ln l
    (s.iter().map(|s| s.map_or(hidden, y)).collect(), m + l.ln())
}

/// d_x [C] of one row: y [C] from the forward, d_y [C], visible [C].
fn backward<R: Real>(y: &[R], d_y: &[R], visible: &[bool], options: &SoftmaxOptions) -> Vec<R> {
    let scale = R::new(options.scale as f64);
    let mut sum = R::ZERO;
    let shown = || y.iter().zip(d_y).zip(visible).filter_map(|(pair, &v)| v.then_some(pair));
    if options.log {
        // y = s - ln sum exp(s):  d_s = d_y - exp(y) sum d_y
        shown().for_each(|(_, &d_y)| sum += d_y);
    } else {
        // y = exp(s) / sum exp(s):  d_s = y (d_y - sum d_y y)
        shown().for_each(|(&y, &d_y)| sum += d_y * y);
    }
    // s = scale x:  d_x = scale d_s
    let d_s = |y: R, d_y: R| if options.log { d_y - y.exp() * sum } else { y * (d_y - sum) };
    y.iter().zip(d_y).zip(visible).map(|((&y, &d_y), &v)| if v { scale * d_s(y, d_y) } else { R::ZERO }).collect()
}

/// y and lse and, with an upstream gradient, d_x.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let Problem { rows, columns, options, .. } = &problem;
    let x: Vec<R> = reals(required(OP, request, "x")?);
    let mask = request.tensor("mask").zip(problem.mask_strides.as_deref());
    let mut visible = visible(mask, &problem.shape);
    // A logit of -inf has probability 0 whatever the mask says.
    let scale = R::new(options.scale as f64);
    visible.iter_mut().zip(&x).for_each(|(v, &x)| *v &= scale * x != R::new(f64::NEG_INFINITY));

    let row = |i: usize| i * columns..(i + 1) * columns;
    let forward = |i| forward(&x[row(i)], &visible[row(i)], options);
    let (y, lse): (Vec<Vec<R>>, Vec<R>) = parallel::map(*rows, forward).into_iter().unzip();
    let y = y.concat();
    let mut results =
        References::from([("y".to_string(), Values::of(&problem.shape, &y)), ("lse".to_string(), Values::of(problem.lse_shape(), &lse))]);
    if request.wants_gradients() {
        let d_y: Vec<R> = reals(required(OP, request, "d_y")?);
        let backward = |i| backward(&y[row(i)], &d_y[row(i)], &visible[row(i)], options);
        results.insert("d_x".into(), Values::of(&problem.shape, &parallel::map(*rows, backward).concat()));
    }
    Ok(results)
}
