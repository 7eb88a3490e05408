//! The reference, row by row.

use super::{Kind, NormOptions, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values, parallel};

/// The mean of some numbers.
fn mean<R: Real>(terms: impl ExactSizeIterator<Item = R>) -> R {
    let count = R::new(terms.len() as f64);
    let mut sum = R::ZERO;
    terms.for_each(|term| sum += term);
    sum / count
}

/// h [C] and rstd of one row: x [C].
fn forward<R: Real>(x: &[R], eps: R) -> (Vec<R>, R) {
    let m = mean(x.iter().copied());
    // rstd = 1 / sqrt(mean of (x - m)² + eps)
    let variance = mean(x.iter().map(|&x| (x - m) * (x - m)));
    let rstd = R::new(1.0) / (variance + eps).sqrt();
    (x.iter().map(|&x| (x - m) * rstd).collect(), rstd)
}

/// d_x [C] of one row: h [C] and rstd from the forward, g [C].
fn backward<R: Real>(h: &[R], rstd: R, g: &[R]) -> Vec<R> {
    // h = (x - mean x) rstd:  d_x = rstd (g - mean g - h mean(g h))
    let level = mean(g.iter().copied());
    let along = mean(g.iter().zip(h).map(|(&g, &h)| g * h));
    g.iter().zip(h).map(|(&g, &h)| rstd * (g - level - h * along)).collect()
}

/// y and, with an upstream gradient, d_x, d_weight and d_bias.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(Kind::Layer, request)?;
    let eps = R::new(NormOptions::of(Kind::Layer, &request.settings)?.eps as f64);
    let Problem { rows, columns, shape, .. } = &problem;
    let read = |name: &str| required("layer_norm", request, name).map(reals::<R>);
    let x = read("x")?;
    let weight = request.tensor("weight").map(reals::<R>);
    let bias = request.tensor("bias").map(reals::<R>);
    let row = |r: usize| r * columns..(r + 1) * columns;

    let (h, rstd): (Vec<Vec<R>>, Vec<R>) = parallel::map(*rows, |r| forward(&x[row(r)], eps)).into_iter().unzip();
    // y = h weight + bias
    let scaled = |c: usize, h: R| weight.as_ref().map_or(h, |weight| h * weight[c]);
    let moved = |c: usize, y: R| bias.as_ref().map_or(y, |bias| y + bias[c]);
    let y: Vec<R> = h.iter().flat_map(|h| h.iter().enumerate().map(|(c, &h)| moved(c, scaled(c, h)))).collect();
    let mut results = References::from([("y".to_string(), Values::of(shape, &y))]);
    if !request.wants_gradients() {
        return Ok(results);
    }

    let d_y = read("d_y")?;
    // y = h weight + bias:  g = d_y weight
    let g = |r: usize| d_y[row(r)].iter().enumerate().map(|(c, &d_y)| scaled(c, d_y)).collect::<Vec<R>>();
    let d_x = parallel::map(*rows, |r| backward(&h[r], rstd[r], &g(r))).concat();
    results.insert("d_x".into(), Values::of(shape, &d_x));
    let over_rows = |term: &dyn Fn(usize, usize) -> R| {
        let mut sums = vec![R::ZERO; *columns];
        (0..*rows).for_each(|r| sums.iter_mut().enumerate().for_each(|(c, sum)| *sum += term(r, c)));
        Values::of(&[*columns], &sums)
    };
    // y[r] = h[r] weight + bias:  d_weight = sum_r d_y[r] h[r], d_bias = sum_r d_y[r]
    if weight.is_some() {
        results.insert("d_weight".into(), over_rows(&|r, c| d_y[r * columns + c] * h[r][c]));
    }
    if bias.is_some() {
        results.insert("d_bias".into(), over_rows(&|r, c| d_y[r * columns + c]));
    }
    Ok(results)
}
