//! The reference, row by row.

use super::{Kind, NormOptions, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values, parallel};

/// rstd of one row: x [C].
fn rstd<R: Real>(x: &[R], eps: R) -> R {
    // rstd = 1 / sqrt(sum x² / C + eps)
    let mut squares = R::ZERO;
    x.iter().for_each(|&x| squares += x * x);
    R::new(1.0) / (squares / R::new(x.len() as f64) + eps).sqrt()
}

/// d_x [C] of one row: x [C], its rstd, g [C].
fn backward<R: Real>(x: &[R], rstd: R, g: &[R]) -> Vec<R> {
    // h = x rstd(x):  d_x = rstd (g - h sum(g h) / C)
    let h = |x: R| x * rstd;
    let mut along = R::ZERO;
    g.iter().zip(x).for_each(|(&g, &x)| along += g * h(x));
    let along = along / R::new(x.len() as f64);
    g.iter().zip(x).map(|(&g, &x)| rstd * (g - h(x) * along)).collect()
}

/// y and, with an upstream gradient, d_x, d_weight and d_bias.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let Problem { rows, columns, shape, .. } = Problem::of(Kind::Rms, request)?;
    let eps = R::new(NormOptions::of(Kind::Rms, &request.settings)?.eps as f64);
    let read = |name: &str| required("rms_norm", request, name).map(reals::<R>);
    let x = read("x")?;
    let has = |name: &str| request.tensor(name).is_some();
    let weight = if has("weight") { read("weight")? } else { vec![R::new(1.0); columns] };
    let bias = if has("bias") { read("bias")? } else { vec![R::ZERO; columns] };
    let row = |r: usize| r * columns..(r + 1) * columns;
    let rstd = parallel::map(rows, |r| rstd(&x[row(r)], eps));

    // y[r,c] = x[r,c] rstd[r] weight[c] + bias[c]
    let y: Vec<R> = (0..rows * columns).map(|i| x[i] * rstd[i / columns] * weight[i % columns] + bias[i % columns]).collect();
    let mut results = References::from([("y".to_string(), Values::of(&shape, &y))]);
    if !request.wants_gradients() {
        return Ok(results);
    }

    let d_y = read("d_y")?;
    // y = h weight + bias:  g = d_y weight
    let g: Vec<R> = d_y.iter().enumerate().map(|(i, &d_y)| d_y * weight[i % columns]).collect();
    let d_x = parallel::map(rows, |r| backward(&x[row(r)], rstd[r], &g[row(r)])).concat();
    results.insert("d_x".into(), Values::of(&shape, &d_x));
    // y[r] = h[r] weight + bias:  d_weight = sum_r d_y[r] h[r], d_bias = sum_r d_y[r]
    let (mut d_weight, mut d_bias) = (vec![R::ZERO; columns], vec![R::ZERO; columns]);
    for (i, &d_y) in d_y.iter().enumerate() {
        d_weight[i % columns] += d_y * (x[i] * rstd[i / columns]);
        d_bias[i % columns] += d_y;
    }
    let gradients = [("weight", d_weight), ("bias", d_bias)].into_iter().filter(|(name, _)| has(name));
    results.extend(gradients.map(|(name, d)| (format!("d_{name}"), Values::of(&[columns], &d))));
    Ok(results)
}
