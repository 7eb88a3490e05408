//! Layer normalization over the last dimension, forward and backward.
//!
//! ```text
//! mean        = 1/C sum_c x[c]
//! rstd        = 1 / sqrt(1/C sum_c (x[c] - mean)² + eps)
//! h[c]        = (x[c] - mean) rstd
//! y[c]        = h[c] weight[c] + bias[c]
//! g[c]        = d_y[c] weight[c]
//! d_x[c]      = rstd (g[c] - 1/C sum_j g[j] - h[c] 1/C sum_j g[j] h[j])
//! d_weight[c] = sum over rows d_y[c] h[c]
//! d_bias[c]   = sum over rows d_y[c]
//! ```
//!
//! Weight and bias may be left out, each by itself. The variance is that of the row's elements, divided by C and not by C - 1. It is taken from the
//! differences to the mean, so that a large mean costs no digits of a small spread. A row of equal elements gives h = 0 as long as eps is not 0.
//!
//! Its kernels are those of [`rms_norm`](super::rms_norm) too, which leaves out the mean.
//!
//! Source: Ba, Kiros & Hinton 2016, "Layer normalization", arXiv:1607.06450.

pub(crate) mod cases;
mod cpu;
mod gpu;
mod kernels;
mod problem;

pub use gpu::{Gradients, Normalized, Saved, backward, forward};
pub(crate) use gpu::{apply, differentiate, normalize, prepare};
pub(crate) use kernels::{kernels, tunings};
pub use problem::{Kind, NormOptions, Problem};
pub(crate) use problem::{SHAPE, cost, draw};

use super::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
};
use crate::Result;
use crate::gpu::{AnyVariant, Caps, Gpu};

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: "layer_norm",
    about: "y = (x - mean) / √(variance + eps) · weight + bias over the last dimension",
    shape: SHAPE,
    inputs: &[Input::new("x", "[.., C]"), Input::new("weight", "[C]").optional(), Input::new("bias", "[C]").optional()],
    outputs: &[Output::new("y", "[.., C]")],
    keys: &[Key::new("eps", "1e-5", "added to the variance; not negative")],
};

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct LayerNorm;

impl Operation for LayerNorm {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        kernels(caps, Kind::Layer)
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        tunings(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, _settings: &Settings, seed: u64) -> Result<Arrays> {
        draw(Kind::Layer, shape, seed)
    }

    fn prepare(&self, gpu: &Gpu, request: &Request) -> Result<Prepared> {
        prepare(gpu, Kind::Layer, request)
    }

    fn apply(&self, call: Call) -> Result<Applied> {
        gpu::apply(Kind::Layer, call)
    }

    fn reference(&self, request: &Request, precision: Precision) -> Result<References> {
        crate::evaluate!(cpu::run, request, precision)
    }

    fn cost(&self, request: &Request) -> Result<Cost> {
        cost(Kind::Layer, &SPEC, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn shapes() {
        let p = Problem::new(Kind::Layer, &[2, 3, 5], Some(&[5]), None).unwrap();
        assert_eq!((p.rows, p.columns, p.saved_shape()), (6, 5, [2, 3].as_slice()));
        assert_eq!(Problem::new(Kind::Rms, &[5], None, Some(&[5])).unwrap().rows, 1);
        let message = Problem::new(Kind::Rms, &[2, 5], None, Some(&[1, 5])).unwrap_err().to_string();
        assert_eq!(message, "rms_norm: 'bias' has shape [1, 5]; expected [5]");
        assert!(Problem::new(Kind::Layer, &[], None, None).is_err());
    }

    #[test]
    fn eps() {
        for eps in [f32::NAN, f32::INFINITY, -1e-5] {
            let error = NormOptions { eps }.check(Kind::Layer).unwrap_err();
            assert!(matches!(error, Error::Argument { op: "layer_norm", .. }), "{error}");
        }
        assert!(NormOptions { eps: 0.0 }.check(Kind::Rms).is_ok());
    }

    /// Of rows whose mean is 0 both normalizations are the same.
    #[test]
    fn without_a_mean_it_is_rms_norm() {
        use crate::ops::rms_norm::RmsNorm;
        use crate::{Array, ops};
        let mut tensors = LayerNorm.draw("5,8", &Settings::default(), 1).unwrap();
        let x = tensors["x"].to_f64().chunks(2).flat_map(|pair| [pair[0] as f32, -pair[0] as f32]).collect();
        tensors.insert("x".into(), Array::f32(&[5, 8], x));
        let y = |op: &dyn Operation| {
            let request = Request::new(op.spec(), tensors.clone(), Settings::default()).unwrap();
            ops::run_reference(op, &request).unwrap()["y"].to_f64()
        };
        let (layer, rms) = (y(&LayerNorm), y(&RmsNorm));
        assert!(layer.iter().zip(&rms).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
