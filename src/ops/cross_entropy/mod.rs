//! Cross entropy of logits against classes, forward and backward, as `torch.nn.functional.cross_entropy`.
//!
//! ```text
//! log p[n,c]    = logits[n,c] - lse[n]               lse[n] = ln sum_c exp(logits[n,c])
//! q[n,c]        = (1 - eps) w[t] [c = t] + eps / C w[c]          t = target[n], eps = label_smoothing, w = weight or 1
//! loss[n]       = - sum_c q[n,c] log p[n,c]
//! d_logits[n,c] = d_loss[n] (p[n,c] sum_j q[n,j] - q[n,c])
//! ```
//!
//! A row whose target is `ignore_index` does not count: its loss and gradient are 0, whatever its logits hold, NaN included. `reduction=sum`
//! adds up the losses of rows; `mean` divides that sum by the sum of w\[t\] over the rows that count, and is NaN where that is 0. A logit of
//! -inf has probability 0.
//!
//! Nothing of the size of the logits is made but their gradient. The forward reads them once: each workgroup keeps a running
//! maximum, the sum of exponentials beside it and, for label smoothing, the sum of what the logits are below it. Where rows are few, several
//! workgroups share one and a second stage joins what they found. The backward reads the logits once more and writes the gradient, from
//! the maximum and the sum that the forward kept.
//!
//! Source: Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", arXiv:1805.02867; PyTorch for weights, smoothing and reductions.

mod cases;
mod cpu;
mod gpu;

pub use gpu::{Losses, backward, forward};

use super::host::{elements, expect_shape, expect_upstream, f32_bytes, integers, misfit, normal, parse_sizes, required, wrong_shape};
use super::loss::Reduction;
use super::philox::Rng;
use super::softmax::Rows;
use super::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{Array, Error, Result};

const OP: &str = "cross_entropy";
const SHAPE: &str = "N,C, for instance 19,29";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "the cross entropy of logits against target classes",
    shape: SHAPE,
    inputs: &[
        Input::new("logits", "[N, C]"),
        Input::index("target", "[N]"),
        Input { differentiable: false, ..Input::new("weight", "[C]").optional() },
    ],
    outputs: &[Output::new("loss", "[], or [N] with reduction=none")],
    keys: &[
        Reduction::KEY,
        Key::new("ignore_index", "-100", "rows with this target do not count"),
        Key::new("label_smoothing", "0", "the share of the uniform distribution, from 0 to 1"),
    ],
};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropyOptions {
    /// What the losses of rows become.
    pub reduction: Reduction,
    /// Rows with this target do not count.
    pub ignore_index: i32,
    /// The share of the uniform distribution in what the logits are compared with, from 0 to 1.
    pub label_smoothing: f32,
}

impl Default for CrossEntropyOptions {
    fn default() -> Self {
        CrossEntropyOptions { reduction: Reduction::Mean, ignore_index: -100, label_smoothing: 0.0 }
    }
}

impl CrossEntropyOptions {
    fn of(settings: &Settings) -> Result<Self> {
        let default = CrossEntropyOptions::default();
        Ok(CrossEntropyOptions {
            reduction: Reduction::of(OP, settings)?,
            ignore_index: settings.get(OP, "ignore_index", "a whole number of 32 bits")?.unwrap_or(default.ignore_index),
            label_smoothing: settings.number(OP, "label_smoothing")?.unwrap_or(default.label_smoothing),
        })
    }
}

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Rows of the logits, N.
    pub rows: usize,
    /// Classes, C.
    pub columns: usize,
    /// What is computed.
    pub options: CrossEntropyOptions,
}

impl Problem {
    /// Checks shapes and options.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, [`Error::Argument`] for a label_smoothing outside 0 to 1, [`Error::Limit`] for more than
    /// 2³¹ logits.
    pub fn new(logits: &[usize], target: &[usize], weight: Option<&[usize]>, options: &CrossEntropyOptions) -> Result<Self> {
        let &[rows, columns] = logits else { return Err(misfit(OP, "logits", logits, "[N, C]")) };
        elements(OP, "logits", logits)?;
        expect_shape(OP, "target", target, &[rows])?;
        weight.map_or(Ok(()), |weight| expect_shape(OP, "weight", weight, &[columns]))?;
        if !(0.0..=1.0).contains(&options.label_smoothing) {
            let got = options.label_smoothing.to_string();
            return Err(Error::Argument { op: OP, key: "label_smoothing".into(), expected: "from 0 to 1".into(), got });
        }
        Ok(Problem { rows, columns, options: *options })
    }

    /// Of a request, whose targets and upstream gradient are checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and [`Error::Argument`] for keys that cannot be read and for a target that is neither a class nor ignored.
    pub fn of(request: &Request) -> Result<Self> {
        let shape = |name| required(OP, request, name).map(Array::shape);
        let weight = request.tensor("weight").map(Array::shape);
        let options = CrossEntropyOptions::of(&request.settings)?;
        let problem = Problem::new(shape("logits")?, shape("target")?, weight, &options)?;
        problem.classes(required(OP, request, "target")?)?;
        expect_upstream(OP, request, "loss", &problem.loss_shape())?;
        Ok(problem)
    }

    /// The shape of the loss.
    pub fn loss_shape(&self) -> Vec<usize> {
        self.options.reduction.shape(&[self.rows])
    }

    /// The classes of targets, `None` where a row does not count.
    fn classes(&self, target: &Array) -> Result<Vec<Option<usize>>> {
        let class = |(n, &t): (usize, &i32)| match usize::try_from(t) {
            _ if t == self.options.ignore_index => Ok(None),
            Ok(class) if class < self.columns => Ok(Some(class)),
            _ => {
                let expected = format!("a class from 0 to {}, or ignore_index, {}", self.columns - 1, self.options.ignore_index);
                Err(Error::Argument { op: OP, key: format!("target[{n}]"), expected, got: t.to_string() })
            }
        };
        integers(OP, "target", target)?.iter().enumerate().map(class).collect()
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct CrossEntropy;

impl Operation for CrossEntropy {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels(caps)
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        Tuning::all::<Rows>(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let sizes = parse_sizes(OP, SHAPE, shape)?;
        let &[rows, columns] = sizes.as_slice() else { return Err(wrong_shape(OP, SHAPE, shape)) };
        let problem = Problem::new(&sizes, &[rows], None, &CrossEntropyOptions::of(settings)?)?;
        let mut rng = Rng::new(seed);
        let logits = normal(&mut rng, &sizes);
        let target = Array::i32(&[rows], (0..rows).map(|_| rng.below(columns) as i32).collect());
        let d_loss = normal(&mut rng, &problem.loss_shape());
        Ok([("logits", logits), ("target", target), ("d_loss", d_loss)].map(|(name, array)| (name.to_string(), array)).into())
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

    /// An exponential counts as one operation: maximum, subtraction, exponential and sum forward; subtraction, exponential, product and
    /// difference backward. Label smoothing adds the sum of all logits, and the share of each.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let x = (problem.rows * problem.columns) as f64;
        let each = if problem.options.label_smoothing > 0.0 { 6.0 } else { 4.0 };
        // The backward reads the logits again and writes their gradient.
        let passes = if request.wants_gradients() { [2.0, 3.0] } else { [1.0, 1.0] };
        Ok(Cost { flops: passes[0] * each * x, bytes: f32_bytes(passes[1] * x + problem.rows as f64) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_options() {
        let options = CrossEntropyOptions::default();
        let p = Problem::new(&[3, 5], &[3], Some(&[5]), &options).unwrap();
        assert_eq!((p.rows, p.columns, p.loss_shape()), (3, 5, vec![]));
        let each = CrossEntropyOptions { reduction: Reduction::None, ..options };
        assert_eq!(Problem::new(&[3, 5], &[3], None, &each).unwrap().loss_shape(), [3]);
        let refused = |logits: &[usize], target: &[usize], weight: Option<&[usize]>, options: CrossEntropyOptions| {
            Problem::new(logits, target, weight, &options).unwrap_err().to_string()
        };
        assert!(refused(&[3, 5, 2], &[3], None, options).contains("'logits' has shape [3, 5, 2]; expected [N, C]"));
        assert!(refused(&[3, 5], &[5], None, options).contains("'target' has shape [5]; expected [3]"));
        assert!(refused(&[3, 5], &[3], Some(&[3]), options).contains("'weight' has shape [3]; expected [5]"));
        for label_smoothing in [-0.1, 1.5, f32::NAN] {
            assert!(refused(&[3, 5], &[3], None, CrossEntropyOptions { label_smoothing, ..options }).contains("from 0 to 1"));
        }
    }

    #[test]
    fn targets_are_classes_or_ignored() {
        let problem = Problem::new(&[3, 5], &[3], None, &CrossEntropyOptions::default()).unwrap();
        let classes = |targets: [i32; 3]| problem.classes(&Array::i32(&[3], targets.into())).map_err(|e| e.to_string());
        assert_eq!(classes([4, -100, 0]), Ok(vec![Some(4), None, Some(0)]));
        let message = classes([4, 5, 0]).unwrap_err();
        assert_eq!(message, "cross_entropy: target[1] = 5; expected a class from 0 to 4, or ignore_index, -100");
        assert!(classes([-1, 0, 0]).is_err());
    }
}
