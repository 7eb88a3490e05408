//! Walks along time: which dispatches, over what of each tensor.
//!
//! A workgroup walks the steps of a sequence. Sequences do not depend on each other; steps do, so where one dispatch would be too long for
//! them the state goes on through memory.

use std::ops::Range;

use super::kernels::{Chain, ChainParams, ELEMENTS, Lanes, SEQUENCES};
use super::{OP, Problem};
use crate::gpu::{Bind, Gpu, Tensor, View, Work, spread};
use crate::{DType, Error, Result};

/// Floating-point operations that a single workgroup does in a fraction of a second on a slow device, one step after the other.
const ALONE: f64 = 2e8;

/// Floating-point operations of a step for each pair of tags, an exponential being as many as it takes.
const PER_PAIR: f64 = 16.0;

/// Sequences and steps of a dispatch: steps of several sequences, or of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    batch: Range<usize>,
    time: Range<usize>,
}

/// A tensor as a dispatch binds it, and the base that makes an index one into the binding.
pub(super) type Bound<'a> = (View<'a>, u32);

/// These rows of a tensor with `columns` columns, of which row `origin` has the index 0.
pub(super) fn rows(tensor: &Tensor, rows: Range<usize>, columns: usize, origin: usize) -> Bound<'_> {
    let view = tensor.window(rows.start * columns, rows.len() * columns);
    let base = view.base().wrapping_sub((rows.start.wrapping_sub(origin) as u32).wrapping_mul(columns as u32));
    (view, base)
}

impl Piece {
    /// Steps of a tensor of `[batch, time, columns]`: whole sequences, or what there is of a single one.
    fn steps<'a>(&self, p: &Problem, tensor: &'a Tensor) -> Bound<'a> {
        let origin = self.batch.start * p.time;
        let reached =
            if self.batch.len() == 1 { origin + self.time.start..origin + self.time.end } else { origin..self.batch.end * p.time };
        rows(tensor, reached, p.columns, origin)
    }

    /// All of its sequences in a tensor that has `columns` elements for each.
    fn sequences<'a>(&self, tensor: &'a Tensor, columns: usize) -> Bound<'a> {
        rows(tensor, self.batch.clone(), columns, self.batch.start)
    }

    fn params(&self, p: &Problem) -> ChainParams {
        ChainParams {
            batch: self.batch.len() as u32,
            time: p.time as u32,
            columns: p.columns as u32,
            first: self.time.start as u32,
            steps: self.time.len() as u32,
            ..bytemuck::Zeroable::zeroed()
        }
    }

    /// Records it: one workgroup for each sequence.
    fn walk(&self, gpu: &Gpu, p: &Problem, variant: Chain, params: &ChainParams, binds: &[Bind]) -> Result<()> {
        let flops = flops(p, self.batch.len(), self.time.len());
        gpu.dispatch(variant, params, binds, spread(self.batch.len(), gpu.caps()), Work { flops, bytes: Bind::bytes(binds) })
    }
}

fn flops(p: &Problem, batch: usize, steps: usize) -> f64 {
    PER_PAIR * (p.columns * p.columns) as f64 * batch as f64 * steps as f64
}

/// Cuts the first `time` steps of all sequences into dispatches, in the order of time.
///
/// # Errors
/// [`Error::Limit`] where one step, or one number for each step, is larger than a binding.
fn pieces(gpu: &Gpu, p: &Problem, time: usize) -> Result<Vec<Piece>> {
    let room = gpu.caps().max_window() / DType::F32.bytes();
    let limit = |what: &str, got: usize| {
        let got = (got * DType::F32.bytes()) as u64 + u64::from(gpu.caps().storage_alignment);
        Err(Error::Limit { op: OP, what: what.into(), limit: gpu.caps().max_binding, got })
    };
    if p.time > room {
        return limit("bytes of a number for each step of a sequence with its alignment, which one binding must hold", p.time);
    }
    if p.columns > room {
        return limit("bytes of one step's emissions with their alignment, which one binding must hold", p.columns);
    }
    let each = Work { flops: flops(p, 1, 1), bytes: 0.0 };
    let sequences = (room / (p.time * p.columns)).clamp(1, p.batch).min(gpu.at_once(each, p.batch));
    let by_time = (1.0 / gpu.share(Work { flops: flops(p, sequences, 1), bytes: 0.0 }, 0)).min(ALONE / each.flops) as usize;
    // A step has up to three loops over the tags.
    let by_rounds = gpu.caps().max_rounds.map_or(usize::MAX, |max| max as usize / 2 / (3 * p.columns + 4));
    let steps = by_time.min(by_rounds).min(if sequences == 1 { room / p.columns } else { usize::MAX }).max(1);
    let parts =
        |range: Range<usize>, size: usize| range.clone().step_by(size).map(move |start| start..range.end.min(start.saturating_add(size)));
    Ok(parts(0..p.batch, sequences).flat_map(|batch| parts(0..time, steps).map(move |time| Piece { batch: batch.clone(), time })).collect())
}

/// A problem's tensors on a device.
pub(super) struct Walk<'a> {
    pub gpu: &'a Gpu,
    pub problem: &'a Problem,
    pub emissions: &'a Tensor,
    /// Transitions, start and end.
    pub scores: [&'a Tensor; 3],
}

/// What the forward recursion leaves.
#[derive(Clone, Debug)]
pub(super) struct Alphas {
    /// `[batch, time, columns]`
    pub alphas: Tensor,
    /// `[batch, time]`: what log_z is the sum of.
    pub norms: Tensor,
    /// `[batch]`: the steps of a sequence, 0 where no path is possible.
    pub reached: Tensor,
}

impl Walk<'_> {
    /// The sequences' lengths, to be bound.
    pub fn lengths(&self) -> Result<Tensor> {
        let lengths: Vec<i32> = self.problem.lengths.iter().map(|&length| length as i32).collect();
        self.gpu.tensor(&lengths, &[lengths.len()])
    }

    /// `[columns + 2, columns]`: moves into a tag by columns, or with `transposed` moves out of it; then start and end.
    ///
    /// # Errors
    /// [`Error::Limit`] for more tags than a workgroup has invocations, or than make a table of one binding.
    pub fn table(&self, transposed: bool) -> Result<Tensor> {
        let (gpu, columns) = (self.gpu, self.problem.columns);
        if columns > Lanes::MOST {
            return Err(Error::Limit { op: OP, what: "the number of tags".into(), limit: Lanes::MOST as u64, got: columns as u64 });
        }
        let shape = [columns + 2, columns];
        let (count, caps) = (shape[0] * columns, gpu.caps());
        let (room, bytes) = (caps.max_window() as u64, (count * DType::F32.bytes()) as u64);
        if bytes > room {
            let what = "bytes of the moves between all tags, which one binding must hold".into();
            return Err(Error::Limit { op: OP, what, limit: room, got: bytes });
        }
        let table = gpu.empty(DType::F32, &shape)?;
        let [transitions, start, end] = self.scores.map(Tensor::view);
        let params = ChainParams {
            columns: columns as u32,
            transposed: u32::from(transposed),
            transitions_base: transitions.base(),
            start_base: start.base(),
            end_base: end.base(),
            ..bytemuck::Zeroable::zeroed()
        };
        let binds = [Bind::Read(transitions), Bind::Read(start), Bind::Read(end), Bind::Write(table.view())];
        let work = Work { flops: 0.0, bytes: Bind::bytes(&binds) };
        gpu.dispatch(Chain::Table, &params, &binds, spread(count.div_ceil(ELEMENTS), caps), work)?;
        Ok(table)
    }

    /// The forward recursion.
    pub fn forward(&self, table: &Tensor, lengths: &Tensor) -> Result<Alphas> {
        let Walk { gpu, problem: p, .. } = *self;
        let alphas = gpu.empty(DType::F32, &p.emissions_shape())?;
        let norms = gpu.empty(DType::F32, &[p.batch, p.time])?;
        let reached = gpu.empty(DType::I32, &[p.batch])?;
        let state = gpu.empty(DType::F32, &[p.batch, p.columns])?;
        // A sequence without steps is told of as well.
        for piece in pieces(gpu, p, p.longest().max(1))? {
            let (emissions, emissions_base) = piece.steps(p, self.emissions);
            let (lengths, lengths_base) = piece.sequences(lengths, 1);
            let (alphas, alphas_base) = piece.steps(p, &alphas);
            let (norms, norms_base) = piece.sequences(&norms, p.time);
            let (reached, reached_base) = piece.sequences(&reached, 1);
            let (state, state_base) = piece.sequences(&state, p.columns);
            let bases = piece.params(p);
            let params = ChainParams { emissions_base, lengths_base, alphas_base, norms_base, reached_base, state_base, ..bases };
            let binds = [
                Bind::Read(emissions),
                Bind::Read(table.view()),
                Bind::Read(lengths),
                Bind::Write(alphas),
                Bind::Write(norms),
                Bind::Write(reached),
                Bind::Write(state),
            ];
            piece.walk(gpu, p, Chain::Forward(Lanes::of(p.columns)), &params, &binds)?;
        }
        Ok(Alphas { alphas, norms, reached })
    }

    /// The backward recursion: the marginals and, where they are asked for, the links.
    pub fn backward(&self, from: &Alphas, links: bool) -> Result<(Tensor, Option<Tensor>)> {
        let Walk { gpu, problem: p, .. } = *self;
        let table = self.table(true)?;
        let marginals = gpu.empty(DType::F32, &p.emissions_shape())?;
        let links = links.then(|| gpu.empty(DType::F32, &p.emissions_shape())).transpose()?;
        let state = gpu.empty(DType::F32, &[p.batch, p.columns])?;
        let variant = Chain::Backward(Lanes::of(p.columns), links.is_some());
        for piece in pieces(gpu, p, p.time)?.into_iter().rev() {
            let (emissions, emissions_base) = piece.steps(p, self.emissions);
            let (reached, reached_base) = piece.sequences(&from.reached, 1);
            let (alphas, alphas_base) = piece.steps(p, &from.alphas);
            let (norms, norms_base) = piece.sequences(&from.norms, p.time);
            let (marginals, marginals_base) = piece.steps(p, &marginals);
            let (links, links_base) = links.as_ref().map(|links| piece.steps(p, links)).unzip();
            let (state, state_base) = piece.sequences(&state, p.columns);
            let params = ChainParams {
                emissions_base,
                reached_base,
                alphas_base,
                norms_base,
                marginals_base,
                links_base: links_base.unwrap_or(0),
                state_base,
                ..piece.params(p)
            };
            let binds = [
                Bind::Read(emissions),
                Bind::Read(table.view()),
                Bind::Read(reached),
                Bind::Read(alphas),
                Bind::Read(norms),
                Bind::Write(marginals),
                Bind::maybe_write(links),
                Bind::Write(state),
            ];
            piece.walk(gpu, p, variant, &params, &binds)?;
        }
        Ok((marginals, links))
    }

    /// The best paths, `[batch, time]`, and what their scores are the sums of, likewise.
    pub fn best(&self, table: &Tensor, lengths: &Tensor) -> Result<(Tensor, Tensor)> {
        let Walk { gpu, problem: p, .. } = *self;
        let pointers = gpu.empty(DType::I32, &p.emissions_shape())?;
        let norms = gpu.empty(DType::F32, &[p.batch, p.time])?;
        let last = gpu.empty(DType::I32, &[p.batch])?;
        let state = gpu.empty(DType::F32, &[p.batch, p.columns])?;
        for piece in pieces(gpu, p, p.longest().max(1))? {
            let (emissions, emissions_base) = piece.steps(p, self.emissions);
            let (lengths, lengths_base) = piece.sequences(lengths, 1);
            let (pointers, pointers_base) = piece.steps(p, &pointers);
            let (norms, norms_base) = piece.sequences(&norms, p.time);
            let (last, last_base) = piece.sequences(&last, 1);
            let (state, state_base) = piece.sequences(&state, p.columns);
            let bases = piece.params(p);
            let params = ChainParams { emissions_base, lengths_base, pointers_base, norms_base, last_base, state_base, ..bases };
            let binds = [
                Bind::Read(emissions),
                Bind::Read(table.view()),
                Bind::Read(lengths),
                Bind::Write(pointers),
                Bind::Write(norms),
                Bind::Write(last),
                Bind::Write(state),
            ];
            piece.walk(gpu, p, Chain::Viterbi(Lanes::of(p.columns)), &params, &binds)?;
        }
        let path = gpu.empty(DType::I32, &[p.batch, p.time])?;
        for piece in pieces(gpu, p, p.time)?.into_iter().rev() {
            let (pointers, pointers_base) = piece.steps(p, &pointers);
            let (lengths, lengths_base) = piece.sequences(lengths, 1);
            let (last, last_base) = piece.sequences(&last, 1);
            let (path, path_base) = piece.sequences(&path, p.time);
            let params = ChainParams { pointers_base, lengths_base, last_base, path_base, ..piece.params(p) };
            let binds = [Bind::Read(pointers), Bind::Read(lengths), Bind::Read(last), Bind::Write(path)];
            let steps = (piece.batch.len() * piece.time.len()) as f64;
            let groups = spread(piece.batch.len().div_ceil(SEQUENCES), gpu.caps());
            gpu.dispatch(Chain::ViterbiPath, &params, &binds, groups, Work { flops: 0.0, bytes: 12.0 * steps })?;
        }
        Ok((path, norms))
    }
}
