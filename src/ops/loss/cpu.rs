//! The references' part.

use super::Reduction;
use crate::ops::Real;

fn sum<R: Real>(values: &[R]) -> R {
    let mut sum = R::ZERO;
    values.iter().for_each(|&x| sum += x);
    sum
}

/// The loss of these terms.
pub(crate) fn reduce<R: Real>(terms: Vec<R>, weights: &[R], reduction: Reduction) -> Vec<R> {
    match reduction {
        Reduction::None => terms,
        Reduction::Sum => vec![sum(&terms)],
        Reduction::Mean => vec![sum(&terms) / sum(weights)],
    }
}

/// The gradients of the terms, from that of the loss.
pub(crate) fn d_terms<R: Real>(d_loss: &[R], weights: &[R], reduction: Reduction) -> Vec<R> {
    match reduction {
        Reduction::None => d_loss.to_vec(),
        Reduction::Sum => vec![d_loss[0]; weights.len()],
        Reduction::Mean => vec![d_loss[0] / sum(weights); weights.len()],
    }
}
