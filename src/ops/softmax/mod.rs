//! Masked softmax and log-softmax over the last dimension, forward and backward.
//!
//! ```text
//! s[c]   = scale x[c]
//! m      = max_c s[c]                     over the visible c
//! l      = sum_c exp(s[c] - m)
//! y[c]   = exp(s[c] - m) / l              with log: s[c] - m - ln l
//! lse    = m + ln l
//! d_x[c] = scale y[c] (d_y[c] - sum_j d_y[j] y[j])
//! d_x[c] = scale (d_y[c] - exp(y[c]) sum_j d_y[j])       with log
//! ```
//!
//! A position is visible when its mask is not 0 and its logit s is above -inf. What stands in x or d_y at a hidden position
//! reaches nothing, NaN included: y is 0 there (-inf with log) and d_x is 0. A row with nothing visible has lse = -inf.
//! No gradient flows through lse.
//!
//! Source: Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", arXiv:1805.02867.

mod cases;
mod cpu;
mod gpu;

pub(crate) use gpu::{Again, Rows};
pub use gpu::{Softmaxed, backward, forward};

use super::host::{elements, expect_broadcast, expect_upstream, f32_bytes, misfit, normals, parse_sizes, required};
use super::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{Error, Result};

const OP: &str = "softmax";
const SHAPE: &str = "…,C, for instance 2,3,65";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = softmax(scale x) over the last dimension, lse its log-sum-exp",
    shape: SHAPE,
    inputs: &[Input::new("x", "[.., C]"), Input::mask("mask", "broadcastable to x")],
    outputs: &[Output::new("y", "[.., C]"), Output::new("lse", "[..]").aside()],
    keys: &[
        Key::new("log", "false", "y = log(softmax(scale x)); hidden positions are -inf"),
        Key::new("scale", "1", "what x is multiplied by; any finite number"),
    ],
};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxOptions {
    /// The logarithm of the softmax.
    pub log: bool,
    /// What x is multiplied by; finite.
    pub scale: f32,
}

impl Default for SoftmaxOptions {
    fn default() -> Self {
        SoftmaxOptions { log: false, scale: 1.0 }
    }
}

impl SoftmaxOptions {
    fn of(settings: &Settings) -> Result<Self> {
        let default = SoftmaxOptions::default();
        Ok(SoftmaxOptions { log: settings.flag(OP, "log", default.log)?, scale: settings.number(OP, "scale")?.unwrap_or(default.scale) })
    }
}

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The shape of x and y.
    pub shape: Vec<usize>,
    /// How many rows: the product of all dimensions but the last.
    pub rows: usize,
    /// Elements of a row.
    pub columns: usize,
    /// The mask's stride along each dimension of x, 0 where it is repeated.
    pub mask_strides: Option<Vec<usize>>,
    /// What is computed.
    pub options: SoftmaxOptions,
}

impl Problem {
    /// Checks the shapes of `x` and `mask` against one another.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, [`Error::Argument`] for a scale that is not finite, [`Error::Limit`] for
    /// more than 2³¹ elements.
    pub fn new(x: &[usize], mask: Option<&[usize]>, options: &SoftmaxOptions) -> Result<Self> {
        let [rows @ .., columns] = x else { return Err(misfit(OP, "x", x, "[.., C]")) };
        elements(OP, "x", x)?;
        if !options.scale.is_finite() {
            let expected = "a finite number".into();
            return Err(Error::Argument { op: OP, key: "scale".into(), expected, got: options.scale.to_string() });
        }
        Ok(Problem {
            shape: x.to_vec(),
            rows: rows.iter().product(),
            columns: *columns,
            mask_strides: mask.map(|mask| expect_broadcast(OP, "mask", mask, "x's", x)).transpose()?,
            options: *options,
        })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and for keys that cannot be read.
    pub fn of(request: &Request) -> Result<Self> {
        let mask = request.tensor("mask").map(|t| t.shape());
        let problem = Problem::new(required(OP, request, "x")?.shape(), mask, &SoftmaxOptions::of(&request.settings)?)?;
        expect_upstream(OP, request, "y", &problem.shape)?;
        Ok(problem)
    }

    /// The shape of lse: that of x without its last dimension.
    pub fn lse_shape(&self) -> &[usize] {
        &self.shape[..self.shape.len() - 1]
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Softmax;

impl Operation for Softmax {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels(caps)
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        Tuning::all::<Rows>(caps).into_iter().chain(Tuning::all::<Again>(caps).into_iter().skip(1)).collect()
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, _settings: &Settings, seed: u64) -> Result<Arrays> {
        let shape = parse_sizes(OP, SHAPE, shape)?;
        elements(OP, "x", &shape)?;
        Ok(normals(seed, ["x", "d_y"].map(|name| (name, &shape))))
    }

    fn prepare(&self, gpu: &Gpu, request: &Request) -> Result<Prepared> {
        gpu::prepare(gpu, request)
    }

    fn apply(&self, call: Call) -> Result<Applied> {
        gpu::apply(call)
    }

    fn reference(&self, request: &Request, precision: Precision) -> Result<References> {
        crate::evaluate!(cpu::run, request, precision)
    }

    /// An exponential counts as one operation: maximum, scale, subtraction, exponential, sum and quotient forward; two
    /// products, sum and difference, and the scale backward.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let x = (problem.rows * problem.columns) as f64;
        let mask = request.tensor("mask").map_or(0, |t| t.bytes().len()) as f64;
        let mut cost = Cost { flops: 6.0 * x, bytes: f32_bytes(2.0 * x + problem.rows as f64) + mask };
        if request.wants_gradients() {
            cost.flops += 5.0 * x;
            // The backward reads y and d_y and writes d_x.
            cost.bytes += f32_bytes(3.0 * x) + mask;
        }
        Ok(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let p = Problem::new(&[2, 3, 5], Some(&[2, 1, 1]), &SoftmaxOptions::default()).unwrap();
        assert_eq!((p.rows, p.columns, p.mask_strides.as_deref(), p.lse_shape()), (6, 5, Some([1, 0, 0].as_slice()), [2, 3].as_slice()));
        let message = Problem::new(&[2, 3], Some(&[3, 2]), &SoftmaxOptions::default()).unwrap_err().to_string();
        assert_eq!(message, "softmax: 'mask' has shape [3, 2]; expected a shape that broadcasts to x's, [2, 3]");
        assert!(Problem::new(&[], None, &SoftmaxOptions::default()).is_err());
        assert!(Problem::new(&[2], None, &SoftmaxOptions { scale: f32::NAN, log: false }).is_err());
    }
}
