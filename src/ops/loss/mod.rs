//! What the losses [`cross_entropy`](super::cross_entropy) and its like share: PyTorch's `reduction`, and the sum that it asks for.
//!
//! ```text
//! none  loss[i] = term[i]
//! sum   loss    = sum_i term[i]
//! mean  loss    = sum_i term[i] / sum_i weight[i]        of no weight at all NaN, as in PyTorch
//! ```
//!
//! The kernels of a loss leave the sums of their workgroups; shaders/loss/total.wgsl adds those up.

pub(crate) mod cpu;
pub(crate) mod elements;
mod total;

pub(crate) use total::{Total, kernels, total};

use super::{Key, Settings};
use crate::{Error, Result};

/// What a loss makes of its terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Their sum, divided by the sum of their weights.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// The terms as they are.
    None,
}

impl Reduction {
    /// The `--set` key.
    pub(crate) const KEY: Key = Key::new("reduction", "mean", "mean, sum or none");

    /// The key's value.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Reduction::Mean => "mean",
            Reduction::Sum => "sum",
            Reduction::None => "none",
        }
    }

    pub(crate) fn of(op: &'static str, settings: &Settings) -> Result<Self> {
        let Some(text) = settings.text("reduction") else { return Ok(Reduction::default()) };
        let found = [Reduction::Mean, Reduction::Sum, Reduction::None].into_iter().find(|reduction| reduction.name() == text);
        let (expected, got) = ("mean, sum or none".into(), format!("'{text}'"));
        found.ok_or(Error::Argument { op, key: "reduction".into(), expected, got })
    }

    /// The shape of the loss, of terms of this shape.
    pub fn shape(self, terms: &[usize]) -> Vec<usize> {
        if self == Reduction::None { terms.to_vec() } else { vec![] }
    }
}
