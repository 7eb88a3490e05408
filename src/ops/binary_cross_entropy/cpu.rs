//! The reference, element by element.

use super::{OP, Problem};
use crate::Result;
use crate::ops::broadcast::offsets;
use crate::ops::host::{reals, required};
use crate::ops::loss::cpu::{d_terms, reduce};
use crate::ops::{Real, References, Request, Values};

/// exp(-|x|)
fn small<R: Real>(x: R) -> R {
    if x > R::ZERO { (-x).exp() } else { x.exp() }
}

/// ln(1 + exp(x)) = max(x, 0) + ln(1 + exp(-|x|))
fn softplus<R: Real>(x: R) -> R {
    let rest = (R::new(1.0) + small(x)).ln();
    if x > R::ZERO { x + rest } else { rest }
}

/// 1 / (1 + exp(-x))
fn sigmoid<R: Real>(x: R) -> R {
    let one = R::new(1.0);
    if x > R::ZERO { one / (one + small(x)) } else { small(x) / (one + small(x)) }
}

/// The loss and, with an upstream gradient, d_logits.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let tensor = |name| required(OP, request, name).map(reals::<R>);
    let (logits, targets) = (tensor("logits")?, tensor("target")?);
    let (one, ones) = (R::new(1.0), vec![R::new(1.0); logits.len()]);
    // Repeated to every element.
    let repeated = |name: &str, strides: &Option<Vec<usize>>| match (request.tensor(name).map(reals::<R>), strides) {
        (Some(values), Some(strides)) => offsets(&problem.shape, strides).into_iter().map(|at| values[at]).collect(),
        _ => ones.clone(),
    };
    let (weight, positive) = (repeated("weight", &problem.weight_strides), repeated("pos_weight", &problem.pos_weight_strides));
    // term = w (p t ln(1 + exp(-x)) + (1 - t) ln(1 + exp(x)))
    let term = |i: usize| {
        let (x, t) = (logits[i], targets[i]);
        weight[i] * (positive[i] * t * softplus(-x) + (one - t) * softplus(x))
    };
    let loss = reduce((0..logits.len()).map(term).collect(), &ones, problem.reduction);
    let mut results = References::from([("loss".to_string(), Values::of(&problem.loss_shape(), &loss))]);
    if request.wants_gradients() {
        let d = d_terms(&tensor("d_loss")?, &ones, problem.reduction);
        // d_x = d_term w ((1 - t) s(x) - p t s(-x))
        let d_x = |i: usize| {
            let (x, t) = (logits[i], targets[i]);
            d[i] * (weight[i] * ((one - t) * sigmoid(x) - positive[i] * t * sigmoid(-x)))
        };
        let d_logits: Vec<R> = (0..logits.len()).map(d_x).collect();
        results.insert("d_logits".into(), Values::of(&problem.shape, &d_logits));
    }
    Ok(results)
}
