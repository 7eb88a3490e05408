//! The reference, row by row.

use super::{OP, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::loss::cpu::{d_terms, reduce};
use crate::ops::{Real, References, Request, Values, parallel};

/// log p [C] of the logits x [C] of one row.
fn log_softmax<R: Real>(x: &[R]) -> Vec<R> {
    // A NaN is never the larger one; it reaches the row through l.
    let Some(m) = x.iter().copied().reduce(|m, x| if x > m { x } else { m }) else { return vec![] };
    let mut l = R::ZERO;
    x.iter().for_each(|&x| l += (x - m).exp());
    x.iter().map(|&x| x - m - l.ln()).collect()
}

/// q [C]: what each class weighs in the loss of a row with target t.
fn distribution<R: Real>(weight: &[R], t: usize, eps: f32) -> Vec<R> {
    let eps = R::new(eps.into());
    let share = eps / R::new(weight.len() as f64);
    let hit = (R::new(1.0) - eps) * weight[t];
    weight.iter().enumerate().map(|(c, &w)| if c == t { hit + share * w } else { share * w }).collect()
}

/// loss = - sum_c q[c] log p[c]. What has no part in it is left out: log p may be -inf there.
fn forward<R: Real>(x: &[R], q: &[R], t: usize, eps: f32) -> R {
    let log_p = log_softmax(x);
    if eps == 0.0 {
        return -(q[t] * log_p[t]);
    }
    let mut loss = R::ZERO;
    q.iter().zip(&log_p).for_each(|(&q, &log_p)| loss += -(q * log_p));
    loss
}

/// d_x[c] = d (p[c] sum_j q[j] - q[c])
fn backward<R: Real>(x: &[R], q: &[R], d: R) -> Vec<R> {
    let mut sum = R::ZERO;
    q.iter().for_each(|&q| sum += q);
    log_softmax(x).into_iter().zip(q).map(|(log_p, &q)| d * (log_p.exp() * sum - q)).collect()
}

/// The loss and, with an upstream gradient, d_logits.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let Problem { rows, columns, options, .. } = &problem;
    let (eps, reduction) = (options.label_smoothing, options.reduction);
    let logits: Vec<R> = reals(required(OP, request, "logits")?);
    let weight: Vec<R> = request.tensor("weight").map_or_else(|| vec![R::new(1.0); *columns], reals);
    // None where a row does not count.
    let targets: Vec<Option<usize>> = problem.classes(required(OP, request, "target")?)?;

    let row = |n: usize| &logits[n * columns..(n + 1) * columns];
    let term = |n: usize| targets[n].map_or(R::ZERO, |t| forward(row(n), &distribution(&weight, t, eps), t, eps));
    let terms: Vec<R> = parallel::map(*rows, term);
    let weights: Vec<R> = targets.iter().map(|t| t.map_or(R::ZERO, |t| weight[t])).collect();
    let loss = reduce(terms, &weights, reduction);
    let mut results = References::from([("loss".to_string(), Values::of(&problem.loss_shape(), &loss))]);
    if request.wants_gradients() {
        let d = d_terms::<R>(&reals(required(OP, request, "d_loss")?), &weights, reduction);
        let d_row = |n: usize| match targets[n] {
            Some(t) => backward(row(n), &distribution(&weight, t, eps), d[n]),
            None => vec![R::ZERO; *columns],
        };
        results.insert("d_logits".into(), Values::of(&[*rows, *columns], &parallel::map(*rows, d_row).concat()));
    }
    Ok(results)
}
