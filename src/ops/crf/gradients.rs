//! The gradients of emissions, transitions, start and end.

use super::gpu::Saved;
use super::kernels::{Chain, ChainParams, ELEMENTS};
use super::walk::{Alphas, rows};
use super::{OP, Problem};
use crate::gpu::{Bind, Gpu, Tensor, Work, spread};
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::strided::Dims;
use crate::ops::sum::gpu::Reduction;
use crate::{DType, Result};

/// The gradients of a call, f32, and the marginals that they are made of.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// `[B, T, K]`; 0 past a sequence's length.
    pub d_emissions: Tensor,
    /// `[K, K]`
    pub d_transitions: Tensor,
    /// `[K]`
    pub d_start: Tensor,
    /// `[K]`
    pub d_end: Tensor,
    /// `[B, T, K]`: the probability of each tag in each step; 0 past a sequence's length.
    pub marginals: Tensor,
}

/// Bytes that the parts of d_transitions' sum may take at once.
const PARTS: usize = 16 << 20;

/// Steps whose pairs are summed up in order: a part of the sum. Few steps make many parts, which keeps a device busy and rounding small.
const FEWEST: usize = 64;
const MOST: usize = 1024;

/// Floating-point operations of a pair of tags in a step, an exponential being as many as it takes.
const PER_PAIR: f64 = 12.0;

/// The gradients of emissions, transitions, start and end, from that of the loss, `[]`. O(B · T · K²). The sums are in a fixed order.
///
/// # Errors
/// As [`forward`](super::forward); [`Error::Shape`](crate::Error::Shape) and [`Error::Dtype`](crate::Error::Dtype) for another d_loss.
pub fn backward(gpu: &Gpu, saved: &Saved, d_loss: &Tensor) -> Result<Gradients> {
    expect_dtype(OP, "d_loss", d_loss, DType::F32)?;
    expect_shape(OP, "d_loss", d_loss.shape(), &[])?;
    let Saved { problem, tags, table, alphas, .. } = saved;
    let walk = saved.walk(gpu);
    let (marginals, links) = walk.backward(alphas, true)?;
    let Some(links) = links else { unreachable!("links were asked for") };
    let upstream = Upstream { gpu, problem, tags, reached: &alphas.reached, d_loss };
    let d_transitions = upstream.transitions(table, alphas, &links)?;
    drop(links);
    let (d_emissions, ends) = upstream.emissions(&marginals)?;
    let [d_start, d_end] = upstream.ends(&ends)?;
    Ok(Gradients { d_emissions, d_transitions, d_start, d_end, marginals })
}

/// What all gradients are made with.
struct Upstream<'a> {
    gpu: &'a Gpu,
    problem: &'a Problem,
    tags: &'a Tensor,
    reached: &'a Tensor,
    d_loss: &'a Tensor,
}

impl Upstream<'_> {
    fn params(&self) -> ChainParams {
        let p = self.problem;
        ChainParams {
            time: p.time as u32,
            columns: p.columns as u32,
            scale: 1.0 / p.divisor() as f32,
            d_loss_base: self.d_loss.view().base(),
            ..bytemuck::Zeroable::zeroed()
        }
    }

    /// Elements that a binding holds.
    fn room(&self) -> usize {
        self.gpu.caps().max_window() / DType::F32.bytes()
    }

    /// d_transitions. The steps of all sequences, one after the other, are cut into slices, whose sums are then added. How long slices are
    /// depends on the shapes and the size of a binding.
    fn transitions(&self, table: &Tensor, from: &Alphas, links: &Tensor) -> Result<Tensor> {
        let Upstream { gpu, problem: p, .. } = *self;
        let d_transitions = gpu.empty(DType::F32, &[p.columns, p.columns])?;
        let (total, pairs) = (p.batch * p.time, p.columns * p.columns);
        let most = (PARTS / DType::F32.bytes() / pairs).max(1);
        let rows_each = total.div_ceil(most).clamp(FEWEST, MOST).min(self.room() / p.columns - 1);
        let slices = total.div_ceil(rows_each);
        let parts = gpu.empty(DType::F32, &[most.min(slices), p.columns, p.columns])?;
        for first in (0..slices).step_by(most) {
            let count = most.min(slices - first);
            self.parts(first, rows_each, count, [table, &from.alphas, links, &parts])?;
            let sum = Reduction {
                x: &parts,
                y: &d_transitions,
                start: [0, 0],
                kept: Dims::new([(pairs, [1, 1])]),
                summed: Dims::new([(count, [pairs])]),
                scale: 1.0,
                accumulate: first > 0,
            };
            sum.run(gpu)?;
        }
        Ok(d_transitions)
    }

    /// The sums of `count` slices from `first` on, one after the other in `parts`.
    fn parts(&self, first: usize, rows_each: usize, count: usize, [table, alphas, links, parts]: [&Tensor; 4]) -> Result<()> {
        let Upstream { gpu, problem: p, .. } = *self;
        let (total, pairs) = (p.batch * p.time, p.columns * p.columns);
        let each = Work { flops: PER_PAIR * (rows_each * pairs) as f64, bytes: 0.0 };
        // The alphas of a slice are those of the steps before its own.
        let fit = ((self.room() / p.columns - 1) / rows_each).min(self.room() / pairs);
        let size = fit.min(gpu.at_once(each, count)).max(1);
        for slice in (0..count).step_by(size) {
            let here = size.min(count - slice);
            let begin = (first + slice) * rows_each;
            let reached = begin..total.min(begin + here * rows_each);
            let before = begin.saturating_sub(1);
            let (alphas, alphas_base) = rows(alphas, before..reached.end, p.columns, 0);
            let (links, links_base) = rows(links, reached.clone(), p.columns, 0);
            let (tags, tags_base) = rows(self.tags, before..reached.end, 1, 0);
            let (steps, reached_base) = rows(self.reached, begin / p.time..(reached.end - 1) / p.time + 1, 1, 0);
            let (sums, partials_base) = rows(parts, slice..slice + here, pairs, slice);
            let params = ChainParams {
                first: begin as u32,
                steps: here as u32,
                rows: reached.end as u32,
                rows_each: rows_each as u32,
                alphas_base,
                links_base,
                tags_base,
                reached_base,
                partials_base,
                ..self.params()
            };
            let binds = [
                Bind::Read(alphas),
                Bind::Read(links),
                Bind::Read(table.view()),
                Bind::Read(tags),
                Bind::Read(steps),
                Bind::Read(self.d_loss.view()),
                Bind::Write(sums),
            ];
            let work = Work { flops: PER_PAIR * (reached.len() * pairs) as f64, bytes: Bind::bytes(&binds) };
            let groups = spread(here * pairs.div_ceil(ELEMENTS), gpu.caps());
            gpu.dispatch(Chain::BackwardTransitions, &params, &binds, groups, work)?;
        }
        Ok(())
    }

    /// d_emissions, and of each sequence its first and its last step, `[batch, 2, columns]`.
    fn emissions(&self, marginals: &Tensor) -> Result<(Tensor, Tensor)> {
        let Upstream { gpu, problem: p, .. } = *self;
        let d_emissions = gpu.empty(DType::F32, &p.emissions_shape())?;
        let ends = gpu.empty(DType::F32, &[p.batch, 2, p.columns])?;
        let total = p.batch * p.time;
        // Of a binding of `ends` a sequence takes two rows, and what reaches into a sequence reaches all of it.
        let room = self.room() / p.columns;
        let fit = room.min((room / 2).saturating_sub(1) * p.time);
        let size = fit.min(gpu.elements_at_once(8, total * p.columns) / p.columns).max(1);
        for first in (0..total).step_by(size) {
            let reached = first..total.min(first + size);
            let sequences = first / p.time..(reached.end - 1) / p.time + 1;
            let (from, marginals_base) = rows(marginals, reached.clone(), p.columns, 0);
            let (tags, tags_base) = rows(self.tags, reached.clone(), 1, 0);
            let (steps, reached_base) = rows(self.reached, sequences.clone(), 1, 0);
            let (to, d_emissions_base) = rows(&d_emissions, reached.clone(), p.columns, 0);
            let (ends, ends_base) = rows(&ends, sequences, 2 * p.columns, 0);
            let params = ChainParams {
                first: first as u32,
                rows: reached.end as u32,
                marginals_base,
                tags_base,
                reached_base,
                d_emissions_base,
                ends_base,
                ..self.params()
            };
            let binds =
                [Bind::Read(from), Bind::Read(tags), Bind::Read(steps), Bind::Read(self.d_loss.view()), Bind::Write(to), Bind::Write(ends)];
            let count = reached.len() * p.columns;
            let work = Work { flops: 2.0 * count as f64, bytes: 8.0 * count as f64 };
            gpu.dispatch(Chain::BackwardEmissions, &params, &binds, spread(count.div_ceil(ELEMENTS), gpu.caps()), work)?;
        }
        Ok((d_emissions, ends))
    }

    /// d_start and d_end: sums over the sequences.
    fn ends(&self, ends: &Tensor) -> Result<[Tensor; 2]> {
        let Upstream { gpu, problem: p, .. } = *self;
        let gradients = [gpu.empty(DType::F32, &[p.columns])?, gpu.empty(DType::F32, &[p.columns])?];
        for (n, y) in gradients.iter().enumerate() {
            let (kept, summed) = (Dims::new([(p.columns, [1, 1])]), Dims::new([(p.batch, [2 * p.columns])]));
            Reduction { x: ends, y, start: [n * p.columns, 0], kept, summed, scale: 1.0, accumulate: false }.run(gpu)?;
        }
        Ok(gradients)
    }
}
