//! What a step does: the options, and their keys.

use std::str::FromStr;

use super::OP;
use crate::ops::Settings;
use crate::{Error, Result};

/// Which formula.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Stochastic gradient descent, with momentum or without.
    #[default]
    Sgd,
    /// Adam; weight decay is added to the gradient.
    Adam,
    /// Adam; weight decay shrinks the parameters and does not go through the gradient.
    AdamW,
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "sgd" => Ok(Kind::Sgd),
            "adam" => Ok(Kind::Adam),
            "adamw" => Ok(Kind::AdamW),
            _ => Err(()),
        }
    }
}

/// What a step does. As PyTorch's options of the same names, but for the defaults: of `lr` it is 0.001 for SGD too, of
/// `weight_decay` 0 for AdamW too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerOptions {
    /// The formula.
    pub kind: Kind,
    /// The rate, from 0 on. [`Optimizer::set_lr`](super::Optimizer::set_lr) changes it.
    pub lr: f64,
    /// Of Adam and AdamW: what is kept of the mean of the gradients, from 0 to below 1.
    pub beta1: f64,
    /// Of Adam and AdamW: what is kept of the mean of their squares, from 0 to below 1.
    pub beta2: f64,
    /// Of Adam and AdamW: added to the root of that mean, from 0 on. With 0, a parameter whose gradients were all 0 becomes NaN.
    pub eps: f64,
    /// Weight decay, from 0 on.
    pub weight_decay: f64,
    /// Of Adam and AdamW: divide by the root of the largest mean of squares so far.
    pub amsgrad: bool,
    /// Of SGD: what is kept of the sum of the gradients, from 0 on.
    pub momentum: f64,
    /// Of SGD with momentum: look one step ahead.
    pub nesterov: bool,
}

impl Default for OptimizerOptions {
    fn default() -> Self {
        OptimizerOptions {
            kind: Kind::Sgd,
            lr: 0.001,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
            amsgrad: false,
            momentum: 0.0,
            nesterov: false,
        }
    }
}

/// The error for an option.
pub(super) fn wrong(key: &str, expected: &str, got: impl ToString) -> Error {
    Error::Argument { op: OP, key: key.into(), expected: expected.into(), got: got.to_string() }
}

/// A number from 0 on that f32 holds.
pub(super) fn check_number(key: &str, value: f64) -> Result<()> {
    if value >= 0.0 && (value as f32).is_finite() { Ok(()) } else { Err(wrong(key, "a finite number, 0 or more", value)) }
}

impl OptimizerOptions {
    pub(super) fn of(settings: &Settings) -> Result<Self> {
        let default = OptimizerOptions::default();
        let number = |key: &str, default: f64| Ok(settings.real(OP, key)?.unwrap_or(default));
        let options = OptimizerOptions {
            kind: settings.get(OP, "kind", "sgd, adam or adamw")?.unwrap_or(default.kind),
            lr: number("lr", default.lr)?,
            beta1: number("beta1", default.beta1)?,
            beta2: number("beta2", default.beta2)?,
            eps: number("eps", default.eps)?,
            weight_decay: number("weight_decay", default.weight_decay)?,
            amsgrad: settings.flag(OP, "amsgrad", default.amsgrad)?,
            momentum: number("momentum", default.momentum)?,
            nesterov: settings.flag(OP, "nesterov", default.nesterov)?,
        };
        options.check().map(|()| options)
    }

    /// That all values are ones that the kind can have.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub(crate) fn check(&self) -> Result<()> {
        for (key, value) in [("lr", self.lr), ("eps", self.eps), ("weight_decay", self.weight_decay), ("momentum", self.momentum)] {
            check_number(key, value)?;
        }
        for (key, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(wrong(key, "a number from 0 to below 1", value));
            }
        }
        match self.kind {
            Kind::Sgd if self.amsgrad => Err(wrong("amsgrad", "false, for sgd has none", self.amsgrad)),
            Kind::Sgd if self.nesterov && self.momentum == 0.0 => Err(wrong("nesterov", "false, or some momentum", self.nesterov)),
            Kind::Sgd => Ok(()),
            _ if self.momentum != 0.0 => Err(wrong("momentum", "0, for only sgd has any", self.momentum)),
            _ if self.nesterov => Err(wrong("nesterov", "false, for only sgd has it", self.nesterov)),
            _ => Ok(()),
        }
    }

    /// The names of a parameter's state tensors, as outputs and checkpoints have them.
    pub fn states(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Sgd if self.momentum > 0.0 => &["buf"],
            Kind::Sgd => &[],
            _ if self.amsgrad => &["m", "v", "vmax"],
            _ => &["m", "v"],
        }
    }

    /// Floating-point operations of an element's step.
    pub(super) fn flops(&self) -> f64 {
        let decay = if self.weight_decay > 0.0 { 2.0 } else { 0.0 };
        decay
            + match self.kind {
                Kind::Sgd if self.nesterov => 6.0,
                Kind::Sgd if self.momentum > 0.0 => 4.0,
                Kind::Sgd => 2.0,
                _ if self.amsgrad => 14.0,
                _ => 13.0,
            }
    }
}
