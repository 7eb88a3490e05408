//! The operations that models are written in, as methods. The others are called with [`apply`], or by layers.

use super::{Device, Variable, apply, settings};
use crate::ops::activation::{Activation, Kind};
use crate::ops::concat::Concat;
use crate::ops::cross_entropy::{CrossEntropy, CrossEntropyOptions};
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::Elementwise;
use crate::ops::linear::Linear;
use crate::ops::matmul::Matmul;
use crate::ops::mse::Mse;
use crate::ops::slice::Slice;
use crate::ops::softmax::Softmax;
use crate::ops::sum::Sum;
use crate::ops::transpose::Transpose;
use crate::{Array, Error, Result};

/// One behind the other in dimension `axis`, -1 being the last: [`ops::concat`](crate::ops::concat).
///
/// # Errors
/// As [`apply`].
pub fn concat(parts: &[&Variable], axis: isize) -> Result<Variable> {
    let names: Vec<String> = (0..parts.len()).map(|n| format!("x{n}")).collect();
    let inputs: Vec<(&str, &Variable)> = names.iter().map(String::as_str).zip(parts.iter().copied()).collect();
    apply(&Concat, &inputs, &settings(&[("axis", &axis)]))?.get("y")
}

fn list(axes: &[isize]) -> String {
    axes.iter().map(isize::to_string).collect::<Vec<_>>().join(",")
}

/// Each of these has the errors of [`apply`].
impl Variable {
    /// self + other, broadcast: [`ops::elementwise`](crate::ops::elementwise).
    pub fn add(&self, other: &Variable) -> Result<Variable> {
        apply(&Elementwise, &[("a", self), ("b", other)], &settings(&[("kind", &"add")]))?.get("y")
    }

    /// self · other, element by element, broadcast: [`ops::elementwise`](crate::ops::elementwise).
    pub fn mul(&self, other: &Variable) -> Result<Variable> {
        apply(&Elementwise, &[("a", self), ("b", other)], &settings(&[("kind", &"mul")]))?.get("y")
    }

    /// factor · self.
    pub fn scale(&self, factor: f64) -> Result<Variable> {
        self.mul(&self.device().number(factor)?)
    }

    /// self - other, broadcast.
    pub fn sub(&self, other: &Variable) -> Result<Variable> {
        self.add(&other.scale(-1.0)?)
    }

    /// The product of matrices in the last two dimensions: [`ops::matmul`](crate::ops::matmul).
    pub fn matmul(&self, other: &Variable) -> Result<Variable> {
        apply(&Matmul, &[("a", self), ("b", other)], &settings(&[]))?.get("y")
    }

    /// self weightᵀ + bias: [`ops::linear`](crate::ops::linear).
    pub fn linear(&self, weight: &Variable, bias: Option<&Variable>) -> Result<Variable> {
        let mut inputs = vec![("x", self), ("weight", weight)];
        inputs.extend(bias.map(|bias| ("bias", bias)));
        apply(&Linear, &inputs, &settings(&[]))?.get("y")
    }

    /// An activation function: [`ops::activation`](crate::ops::activation).
    pub fn activation(&self, kind: Kind) -> Result<Variable> {
        apply(&Activation, &[("x", self)], &settings(&[("kind", &kind.name())]))?.get("y")
    }

    /// tanh of each element.
    pub fn tanh(&self) -> Result<Variable> {
        self.activation(Kind::Tanh)
    }

    /// The sum over some dimensions, or over all: [`ops::sum`](crate::ops::sum).
    pub fn sum(&self, axes: Option<&[isize]>) -> Result<Variable> {
        let axes = axes.map_or("none".into(), list);
        apply(&Sum, &[("x", self)], &settings(&[("axes", &axes)]))?.get("y")
    }

    /// The probabilities in the last dimension, of what `mask` (u8, broadcast) keeps: [`ops::softmax`](crate::ops::softmax).
    pub fn softmax(&self, mask: Option<&Variable>) -> Result<Variable> {
        self.softmax_with(mask, false)
    }

    /// Their logarithms.
    pub fn log_softmax(&self) -> Result<Variable> {
        self.softmax_with(None, true)
    }

    fn softmax_with(&self, mask: Option<&Variable>, log: bool) -> Result<Variable> {
        let mut inputs = vec![("x", self)];
        inputs.extend(mask.map(|mask| ("mask", mask)));
        apply(&Softmax, &inputs, &settings(&[("log", &log)]))?.get("y")
    }

    /// Some elements left out at random, with probability p: [`ops::dropout`](crate::ops::dropout).
    pub fn dropout(&self, p: f32, seed: u64) -> Result<Variable> {
        apply(&Dropout, &[("x", self)], &settings(&[("p", &p), ("seed", &seed)]))?.get("y")
    }

    /// The dimensions in this order: [`ops::transpose`](crate::ops::transpose).
    pub fn transpose(&self, axes: &[isize]) -> Result<Variable> {
        apply(&Transpose, &[("x", self)], &settings(&[("axes", &list(axes))]))?.get("y")
    }

    /// The indices from `start` to before `end` in a dimension: [`ops::slice`](crate::ops::slice).
    pub fn slice(&self, axis: isize, start: usize, end: usize) -> Result<Variable> {
        apply(&Slice, &[("x", self)], &settings(&[("axis", &axis), ("start", &start), ("end", &end)]))?.get("y")
    }

    /// Of logits `[N, C]` against target `[N]` (i32): [`ops::cross_entropy`](crate::ops::cross_entropy).
    pub fn cross_entropy(&self, target: &Variable, options: &CrossEntropyOptions) -> Result<Variable> {
        let keys = settings(&[
            ("reduction", &options.reduction.name()),
            ("ignore_index", &options.ignore_index),
            ("label_smoothing", &options.label_smoothing),
        ]);
        apply(&CrossEntropy, &[("logits", self), ("target", target)], &keys)?.get("loss")
    }

    /// The mean of squared differences: [`ops::mse`](crate::ops::mse).
    pub fn mse(&self, target: &Variable) -> Result<Variable> {
        apply(&Mse, &[("x", self), ("target", target)], &settings(&[]))?.get("loss")
    }
}

impl Device {
    /// A constant of shape `[]`.
    ///
    /// # Errors
    /// As [`Device::constant`], and [`Error::Argument`] for what f32 does not hold.
    pub fn number(&self, x: f64) -> Result<Variable> {
        if !(x as f32).is_finite() {
            return Err(Error::Argument { op: "number", key: "x".into(), expected: "a finite number".into(), got: x.to_string() });
        }
        self.constant(Array::f64(&[], vec![x]))
    }
}
