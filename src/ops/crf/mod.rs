//! A linear-chain conditional random field: likelihood, marginals, gradients, and the best path (Viterbi).
//!
//! ```text
//! score(y)   = start[y[0]] + sum_t emissions[t,y[t]] + sum_{t>0} transitions[y[t-1],y[t]] + end[y[L-1]]      t < L, the sequence's length
//! log_z      = log sum_y exp(score(y))                over all paths y of L tags
//! nll        = log_z - score(tags)
//! loss       = sum of nll; with mean over the sequences, with token_mean over the steps of all sequences
//!
//! alpha[0,j] = start[j] + emissions[0,j]              alpha[t,j] = emissions[t,j] + log sum_i exp(alpha[t-1,i] + transitions[i,j])
//! beta[L-1,i] = end[i]                                beta[t,i]  = log sum_j exp(transitions[i,j] + emissions[t+1,j] + beta[t+1,j])
//! log_z      = log sum_j exp(alpha[L-1,j] + end[j])
//! marginals[t,j] = exp(alpha[t,j] + beta[t,j] - log_z)
//! pair[t,i,j]    = exp(alpha[t-1,i] + transitions[i,j] + emissions[t,j] + beta[t,j] - log_z)
//!
//! d_emissions[t,j]   = w (marginals[t,j] - [tags[t] = j])                     w = d_loss, over the number that loss is a mean of
//! d_transitions[i,j] = w sum_t (pair[t,i,j] - [tags[t-1] = i, tags[t] = j])   and over the sequences
//! d_start[j]         = w (marginals[0,j] - [tags[0] = j])                     likewise; d_end of the last step
//! ```
//!
//! **Viterbi.** viterbi_path is the path of the highest score. Of several it is the one with the lowest last tag, then the lowest tag before
//! it, and so on. A device compares sums in f32: paths whose scores it cannot tell apart count as equal.
//!
//! **Lengths.** What stands past a sequence's length reaches nothing, whatever it is: tags are not read there, marginals and gradients are 0,
//! and viterbi_path is -1. A sequence without steps has log_z, nll and viterbi_score 0.
//!
//! **Forbidden.** A score of -10³⁰ or less counts as -∞, and forbids a tag, a move, a start or an end: probabilities and gradients there
//! are exactly 0. Tags that are no possible path have nll = +∞, and the gradient that the formulas give. Where no path is possible at all
//! log_z and viterbi_score are -∞, nll is +∞, marginals and all gradients 0, and viterbi_path is -1.
//!
//! Sources: Lafferty, McCallum and Pereira 2001, "Conditional random fields"; Rabiner 1989, "A tutorial on hidden Markov models", for the
//! recursions; Viterbi 1967, "Error bounds for convolutional codes". Names and conventions are those of the Python package pytorch-crf.

mod cases;
mod cpu;
mod gpu;
mod gradients;
mod kernels;
mod likelihood;
mod problem;
mod walk;

pub use gpu::{Decoded, Inputs, Likelihood, Saved, decode, forward, marginals};
pub use gradients::{Gradients, backward};
pub use problem::{CrfOptions, Problem, Reduction, Shapes};

use super::host::{elements, parse_sizes, wrong_shape};
use super::philox::Rng;
use super::{Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{Array, DType, Result};

const OP: &str = "crf";
const SHAPE: &str = "B,T,K, for instance 3,11,5: sequences, steps, tags";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "loss = log_z - score(tags) of a linear chain of tags; marginals, and the best path",
    shape: SHAPE,
    inputs: &[
        Input::new("emissions", "[B, T, K]"),
        Input::new("transitions", "[K, K], from row to column"),
        Input::new("start", "[K]"),
        Input::new("end", "[K]"),
        Input::index("tags", "[B, T]"),
        Input::index("lengths", "[B]; all T when absent").optional(),
    ],
    outputs: &[
        Output::new("loss", "[]"),
        Output::new("nll", "[B]").aside(),
        Output::new("log_z", "[B]").aside(),
        Output::new("marginals", "[B, T, K]").aside(),
        Output { dtype: DType::I32, ..Output::new("viterbi_path", "[B, T], -1 past the length").aside() },
        Output::new("viterbi_score", "[B]").aside(),
    ],
    keys: &[Key::new("reduction", "sum", "of nll to loss: sum, mean over the sequences, or token_mean over all their steps")],
};

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Crf;

impl Operation for Crf {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, _caps: &Caps) -> Vec<AnyVariant> {
        kernels::all()
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    /// Scores are whole numbers of 1/1024. So a device adds and compares those of a path exactly, and the best path is the same in every
    /// arithmetic, whatever the seed; paths that tie do tie.
    fn draw(&self, shape: &str, _settings: &Settings, seed: u64) -> Result<Arrays> {
        let sizes = parse_sizes(OP, SHAPE, shape)?;
        let &[batch, time, columns] = sizes.as_slice() else { return Err(wrong_shape(OP, SHAPE, shape)) };
        let drawn = [
            ("emissions", vec![batch, time, columns]),
            ("transitions", vec![columns, columns]),
            ("start", vec![columns]),
            ("end", vec![columns]),
            ("d_loss", vec![]),
        ];
        for (name, shape) in &drawn {
            elements(OP, name, shape)?;
        }
        let mut rng = Rng::new(seed);
        let mut score = |shape: &[usize]| (0..shape.iter().product()).map(|_| (rng.normal() * 1024.0).round() / 1024.0).collect();
        let mut tensors: Arrays = drawn.into_iter().map(|(name, shape)| (name.into(), Array::f32(&shape, score(&shape)))).collect();
        let tags = (0..batch * time).map(|_| rng.below(columns) as i32).collect();
        tensors.insert("tags".into(), Array::i32(&[batch, time], tags));
        Ok(tensors)
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

    /// An exponential counts as one operation. For each pair of tags a step takes two sums, a maximum, a difference, an exponential and a sum in
    /// each direction, and two sums for the best path; the gradient of transitions takes three sums and an exponential.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let pairs = problem.total_steps() as f64 * (problem.columns * problem.columns) as f64;
        let read: usize = request.tensors.values().map(|t| t.bytes().len()).sum();
        let rows = problem.batch * problem.time;
        let mut written = rows * (problem.columns + 1) + 3 * problem.batch + 1;
        let mut flops = 14.0 * pairs;
        if request.wants_gradients() {
            flops += 4.0 * pairs;
            written += SPEC.gradient_elements(request);
        }
        Ok(Cost { flops, bytes: (read + written * DType::F32.bytes()) as f64 })
    }

    fn steps(&self, request: &Request) -> Option<usize> {
        request.tensor("emissions")?.shape().get(1).copied()
    }
}
