//! What the recursions leave of each sequence, summed up: log_z, nll, the best path's score.

use super::OP;
use super::kernels::{Chain, ChainParams, ELEMENTS};
use super::walk::{Walk, rows};
use crate::gpu::{Bind, Tensor, Work, spread};
use crate::{DType, Result};

impl Walk<'_> {
    /// The sums of `norms` over the steps of each sequence, `[batch]`: the best paths' scores, from their norms.
    pub fn totals(&self, norms: &Tensor, lengths: &Tensor) -> Result<Tensor> {
        let totals = self.gpu.empty(DType::F32, &[self.problem.batch])?;
        self.sum(lengths, [norms, &totals], None)?;
        Ok(totals)
    }

    /// log_z and nll, `[batch]` each.
    pub fn likelihoods(&self, table: &Tensor, lengths: &Tensor, norms: &Tensor, tags: &Tensor) -> Result<[Tensor; 2]> {
        let differences = self.differences(table, lengths, norms, tags)?;
        let [log_z, nll] = [self.gpu.empty(DType::F32, &[self.problem.batch])?, self.gpu.empty(DType::F32, &[self.problem.batch])?];
        self.sum(lengths, [norms, &log_z], Some([&differences, &nll]))?;
        Ok([log_z, nll])
    }

    /// The terms of nll, `[batch, time]`.
    fn differences(&self, table: &Tensor, lengths: &Tensor, norms: &Tensor, tags: &Tensor) -> Result<Tensor> {
        let (gpu, p) = (self.gpu, self.problem);
        let differences = gpu.empty(DType::F32, &[p.batch, p.time])?;
        let flag = gpu.flag(OP, "tags")?;
        let total = p.batch * p.time;
        let size = (gpu.caps().max_window() / DType::F32.bytes() / p.columns).min(gpu.elements_at_once(28, total)).saturating_sub(1).max(1);
        for first in (0..total).step_by(size) {
            let reached = first..total.min(first + size);
            let sequences = reached.start / p.time..(reached.end - 1) / p.time + 1;
            let (norms, norms_base) = rows(norms, reached.clone(), 1, 0);
            let (emissions, emissions_base) = rows(self.emissions, reached.clone(), p.columns, 0);
            // A step's move is from the tag of the one before.
            let (tags, tags_base) = rows(tags, first.saturating_sub(1)..reached.end, 1, 0);
            let (lengths, lengths_base) = rows(lengths, sequences, 1, 0);
            let (terms, differences_base) = rows(&differences, reached.clone(), 1, 0);
            let params = ChainParams {
                time: p.time as u32,
                columns: p.columns as u32,
                first: first as u32,
                rows: reached.end as u32,
                flag: flag.code,
                norms_base,
                emissions_base,
                tags_base,
                lengths_base,
                differences_base,
                ..bytemuck::Zeroable::zeroed()
            };
            let binds = [
                Bind::Read(norms),
                Bind::Read(emissions),
                Bind::Read(table.view()),
                Bind::Read(tags),
                Bind::Read(lengths),
                Bind::Write(terms),
                Bind::Write(flag.tensor.view()),
            ];
            let work = Work { flops: 0.0, bytes: 28.0 * reached.len() as f64 };
            gpu.dispatch(Chain::Scores, &params, &binds, spread(reached.len().div_ceil(ELEMENTS), gpu.caps()), work)?;
        }
        Ok(differences)
    }

    /// Sums over the steps of each sequence: of the norms and, with them, of the terms of nll.
    fn sum(&self, lengths: &Tensor, [norms, totals]: [&Tensor; 2], tagged: Option<[&Tensor; 2]>) -> Result<()> {
        let (gpu, p) = (self.gpu, self.problem);
        let each = Work { flops: 0.0, bytes: (8 * p.time) as f64 };
        let size = (gpu.caps().max_window() / DType::F32.bytes() / p.time).min(gpu.at_once(each, p.batch)).max(1);
        for first in (0..p.batch).step_by(size) {
            let batch = first..p.batch.min(first + size);
            let of_steps = |tensor| rows(tensor, batch.clone(), p.time, first);
            let of_sequences = |tensor| rows(tensor, batch.clone(), 1, first);
            let (norms, norms_base) = of_steps(norms);
            let (lengths, lengths_base) = of_sequences(lengths);
            let (totals, scores_base) = of_sequences(totals);
            let (differences, differences_base) = tagged.map(|[differences, _]| of_steps(differences)).unzip();
            let nll = tagged.map(|[_, nll]| of_sequences(nll).0);
            let params = ChainParams {
                batch: batch.len() as u32,
                time: p.time as u32,
                norms_base,
                lengths_base,
                scores_base,
                differences_base: differences_base.unwrap_or(0),
                ..bytemuck::Zeroable::zeroed()
            };
            let binds = [Bind::Read(norms), Bind::maybe(differences), Bind::Read(lengths), Bind::Write(totals), Bind::maybe_write(nll)];
            let work = Work { flops: 0.0, bytes: Bind::bytes(&binds) };
            gpu.dispatch(Chain::Likelihood(tagged.is_some()), &params, &binds, spread(batch.len(), gpu.caps()), work)?;
        }
        Ok(())
    }
}
