//! The public functions: layer_norm's kernels without the mean.

use super::{Gradients, NormOptions, Normalized, Saved};
use crate::Result;
use crate::gpu::{Gpu, Tensor};
use crate::ops::layer_norm::{Kind, differentiate, normalize};

/// y and rstd of x `[.., C]`, with weight and bias `[C]` or without, all f32. O(elements of x).
///
/// # Errors
/// As [`layer_norm::forward`](crate::ops::layer_norm::forward).
pub fn forward(gpu: &Gpu, x: &Tensor, weight: Option<&Tensor>, bias: Option<&Tensor>, options: &NormOptions) -> Result<Normalized> {
    normalize(gpu, Kind::Rms, x, weight, bias, options)
}

/// The gradients of x and, where there are such, of weight and bias (`bias` says so), from d_y in x's shape and what the forward saved.
/// O(elements of x).
///
/// # Errors
/// As [`layer_norm::backward`](crate::ops::layer_norm::backward), but of a mean that should not be there.
pub fn backward(gpu: &Gpu, x: &Tensor, weight: Option<&Tensor>, bias: bool, saved: &Saved, d_y: &Tensor) -> Result<Gradients> {
    differentiate(gpu, Kind::Rms, x, weight, bias, saved, d_y)
}
