//! The public functions, and requests by name.

use super::gradients::{Gradients, backward};
use super::walk::{Alphas, Walk};
use super::{CrfOptions, OP, Problem, Shapes};
use crate::gpu::{Gpu, Tensor};
use crate::ops::call::{Applied, Call, upstream};
use crate::ops::host::{expect_dtype, float_tensor, plain_tensor};
use crate::ops::strided::Dims;
use crate::ops::sum::gpu::Reduction;
use crate::ops::{Prepared, Request};
use crate::{DType, Error, Result};

/// The scores of a call, f32.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `[B, T, K]`: of each tag in each step.
    pub emissions: &'a Tensor,
    /// `[K, K]`: of each tag (column) after each other (row).
    pub transitions: &'a Tensor,
    /// `[K]`: of each tag in the first step.
    pub start: &'a Tensor,
    /// `[K]`: of each tag in the last step.
    pub end: &'a Tensor,
    /// The steps of each sequence, 0 to T; all T when absent.
    pub lengths: Option<&'a [i32]>,
}

impl Inputs<'_> {
    fn problem(&self, tags: Option<&Tensor>, options: &CrfOptions) -> Result<Problem> {
        let shapes = Shapes {
            emissions: self.emissions.shape(),
            transitions: self.transitions.shape(),
            start: self.start.shape(),
            end: self.end.shape(),
            tags: tags.map(Tensor::shape),
        };
        let problem = Problem::new(&shapes, self.lengths, options)?;
        let scores = [("emissions", self.emissions), ("transitions", self.transitions), ("start", self.start), ("end", self.end)];
        scores.into_iter().try_for_each(|(name, tensor)| expect_dtype(OP, name, tensor, DType::F32))?;
        tags.map_or(Ok(()), |tags| expect_dtype(OP, "tags", tags, DType::I32))?;
        Ok(problem)
    }

    fn walk<'a>(&'a self, gpu: &'a Gpu, problem: &'a Problem) -> Walk<'a> {
        Walk { gpu, problem, emissions: self.emissions, scores: [self.transitions, self.start, self.end] }
    }
}

/// How likely the tags are.
#[derive(Clone, Debug)]
pub struct Likelihood {
    /// `[]`: nll, summed or averaged.
    pub loss: Tensor,
    /// `[B]`: the negative log-likelihood of each sequence's tags.
    pub nll: Tensor,
    /// `[B]`: the logarithm of the sum over all paths.
    pub log_z: Tensor,
}

/// What a forward keeps for its backward: it shares the memory of the forward's inputs.
#[derive(Clone, Debug)]
pub struct Saved {
    pub(super) problem: Problem,
    emissions: Tensor,
    scores: [Tensor; 3],
    pub(super) tags: Tensor,
    pub(super) table: Tensor,
    pub(super) alphas: Alphas,
}

impl Saved {
    pub(super) fn walk<'a>(&'a self, gpu: &'a Gpu) -> Walk<'a> {
        let [transitions, start, end] = &self.scores;
        Walk { gpu, problem: &self.problem, emissions: &self.emissions, scores: [transitions, start, end] }
    }

    /// The probability of each tag in each step, `[B, T, K]`, as [`marginals`] has it, without the forward recursion again.
    ///
    /// # Errors
    /// As [`marginals`].
    pub fn marginals(&self, gpu: &Gpu) -> Result<Tensor> {
        Ok(self.walk(gpu).backward(&self.alphas, false)?.0)
    }
}

/// The likelihood of tags, i32 `[B, T]`, with what [`backward`] needs. O(B · T · K²) in T steps that follow one another. Tags past a
/// sequence's length are not read. One that is out of range raises a flag: the next read of any tensor is [`Error::Index`].
///
/// ```
/// use wattn::ops::crf::{self, CrfOptions, Inputs};
/// # let gpu = wattn::Gpu::new(&wattn::GpuOptions::default())?;
/// // One sequence of 3 steps, 2 tags; a tag rarely follows itself.
/// let emissions = gpu.tensor(&[1.0f32, 0.0, 0.5, 0.5, 0.0, 1.0], &[1, 3, 2])?;
/// let transitions = gpu.tensor(&[-2.0f32, 0.0, 0.0, -2.0], &[2, 2])?;
/// let zeros = gpu.tensor(&[0.0f32; 2], &[2])?;
/// let inputs = Inputs { emissions: &emissions, transitions: &transitions, start: &zeros, end: &zeros, lengths: None };
/// let tags = gpu.tensor(&[0, 1, 0], &[1, 3])?;
/// let (likelihood, saved) = crf::forward(&gpu, &inputs, &tags, &CrfOptions::default())?;
/// let gradients = crf::backward(&gpu, &saved, &gpu.tensor(&[1.0f32], &[])?)?;
/// assert!(likelihood.loss.read_blocking::<f32>()?[0] > 0.0);
/// assert_eq!(gradients.d_emissions.shape(), [1, 3, 2]);
/// assert_eq!(crf::decode(&gpu, &inputs)?.path.read_blocking::<i32>()?, [0, 1, 0]);
/// # Ok::<(), wattn::Error>(())
/// ```
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`] for other types; [`Error::Limit`] for more than 256 tags, and where one step of one sequence, or
/// all moves between tags, are more than a binding; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, inputs: &Inputs, tags: &Tensor, options: &CrfOptions) -> Result<(Likelihood, Saved)> {
    let problem = inputs.problem(Some(tags), options)?;
    let walk = inputs.walk(gpu, &problem);
    let (table, lengths) = (walk.table(false)?, walk.lengths()?);
    let alphas = walk.forward(&table, &lengths)?;
    let [log_z, nll] = walk.likelihoods(&table, &lengths, &alphas.norms, tags)?;
    let loss = gpu.empty(DType::F32, &[])?;
    let sum = Reduction {
        x: &nll,
        y: &loss,
        start: [0, 0],
        kept: Dims::new([]),
        summed: Dims::new([(problem.batch, [1])]),
        scale: 1.0 / problem.divisor() as f32,
        accumulate: false,
    };
    sum.run(gpu)?;
    let scores = [inputs.transitions, inputs.start, inputs.end].map(Tensor::clone);
    let saved = Saved { emissions: inputs.emissions.clone(), scores, tags: tags.clone(), table, alphas, problem };
    Ok((Likelihood { loss, nll, log_z }, saved))
}

/// The probability of each tag in each step, `[B, T, K]`; 0 past a sequence's length. O(B · T · K²).
///
/// # Errors
/// As [`forward`].
pub fn marginals(gpu: &Gpu, inputs: &Inputs) -> Result<Tensor> {
    let problem = inputs.problem(None, &CrfOptions::default())?;
    let walk = inputs.walk(gpu, &problem);
    let alphas = walk.forward(&walk.table(false)?, &walk.lengths()?)?;
    Ok(walk.backward(&alphas, false)?.0)
}

/// The best paths.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// i32 `[B, T]`: the tags; -1 past a sequence's length, and where no path is possible.
    pub path: Tensor,
    /// `[B]`: the path's score; -∞ where no path is possible.
    pub score: Tensor,
}

/// The path of the highest score of each sequence (Viterbi). O(B · T · K²). Of several it is the one with the lowest last tag, then the
/// lowest tag before it, and so on.
///
/// # Errors
/// As [`forward`].
pub fn decode(gpu: &Gpu, inputs: &Inputs) -> Result<Decoded> {
    let problem = inputs.problem(None, &CrfOptions::default())?;
    let walk = inputs.walk(gpu, &problem);
    let lengths = walk.lengths()?;
    let (path, norms) = walk.best(&walk.table(false)?, &lengths)?;
    Ok(Decoded { path, score: walk.totals(&norms, &lengths)? })
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    let problem = Problem::of(request)?;
    let missing = |name: &str| Error::Tensors { op: OP, what: format!("tensor '{name}' is missing"), expected: name.into() };
    let scores = |name: &str| float_tensor(gpu, request, name, DType::F32)?.ok_or_else(|| missing(name));
    let [emissions, transitions, start, end] = [scores("emissions")?, scores("transitions")?, scores("start")?, scores("end")?];
    let tags = plain_tensor(gpu, request, "tags")?.ok_or_else(|| missing("tags"))?;
    let d_loss = float_tensor(gpu, request, "d_loss", DType::F32)?;
    let gpu = gpu.clone();
    Ok(Box::new(move || {
        let lengths: Vec<i32> = problem.lengths.iter().map(|&length| length as i32).collect();
        let inputs =
            Inputs { emissions: &emissions, transitions: &transitions, start: &start, end: &end, lengths: Some(lengths.as_slice()) };
        let (Likelihood { loss, nll, log_z }, saved) = forward(&gpu, &inputs, &tags, &problem.options)?;
        let mut out = vec![("loss", loss), ("nll", nll), ("log_z", log_z)];
        match &d_loss {
            None => out.push(("marginals", saved.marginals(&gpu)?)),
            Some(d_loss) => {
                let Gradients { d_emissions, d_transitions, d_start, d_end, marginals } = backward(&gpu, &saved, d_loss)?;
                out.push(("marginals", marginals));
                out.extend([("d_emissions", d_emissions), ("d_transitions", d_transitions), ("d_start", d_start), ("d_end", d_end)]);
            }
        }
        let Decoded { path, score } = decode(&gpu, &inputs)?;
        out.extend([("viterbi_path", path), ("viterbi_score", score)]);
        Ok(out.into_iter().map(|(name, tensor)| (name.to_string(), tensor)).collect())
    }))
}

/// The loss on tensors that are on a device; what else is known of it are outputs without upstream gradients.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = CrfOptions::of(&call.settings)?;
    let inputs = Inputs {
        emissions: call.tensor("emissions")?,
        transitions: call.tensor("transitions")?,
        start: call.tensor("start")?,
        end: call.tensor("end")?,
        lengths: call.list("lengths"),
    };
    let (Likelihood { loss, nll, log_z }, saved) = forward(&call.gpu, &inputs, call.tensor("tags")?, &options)?;
    let gpu = call.gpu.clone();
    Ok(Applied::new([("loss", loss), ("nll", nll), ("log_z", log_z)], move |d| {
        let d = backward(&gpu, &saved, upstream(OP, d, "d_loss")?)?;
        Ok([("d_emissions", d.d_emissions), ("d_transitions", d.d_transitions), ("d_start", d.d_start), ("d_end", d.d_end)])
    }))
}
