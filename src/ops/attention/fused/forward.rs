//! The forward: o and lse, with the keys split into parts where there are few queries.

use std::collections::BTreeSet;

use super::kernels::{Forward, FusedParams, MERGE_LANES, Merge, MergeParams};
use super::pieces::{Inner, Piece};
use super::quads::Quads;
use super::{FEW, Fused, Rows, Tile, in_quads};
use crate::gpu::{Bind, Gpu, Tensor, Work, spread};
use crate::ops::attention::AttentionOptions;
use crate::{DType, Result};

/// Where the forward writes: `parts` outputs and log-sums for each row.
struct Parts<'a> {
    o: &'a Tensor,
    lse: &'a Tensor,
    parts: usize,
    /// Each piece of the keys is a part.
    cut: bool,
}

impl Fused<'_> {
    /// Writes o and lse, whose rows are those of q.
    pub fn forward(&self, gpu: &Gpu, o: &Tensor, lse: &Tensor) -> Result<()> {
        let [q, k, v] = self.quads(gpu)?;
        let o = Quads::empty(gpu, Rows { tensor: o, dim: self.v.dim })?;
        // Decoding has tiles of its own, and matrix units.
        let (elem, dim) = (self.q.tensor.dtype(), self.q.dim.max(self.v.dim));
        let tile = Tile::choose_forward(gpu, elem, dim, self.max_queries()).unwrap_or(self.tile);
        Fused { tile, q: q.rows(), k: k.rows(), v: v.rows(), ..self.clone() }.forward_in_quads(gpu, o.tensor(), lse)?;
        o.give_back(gpu, self.op)
    }

    fn forward_in_quads(&self, gpu: &Gpu, o: &Tensor, lse: &Tensor) -> Result<()> {
        let elem = self.q.tensor.dtype().bytes();
        // A row of o is as wide as all its parts, which matters where a binding holds few.
        let widest = |parts: usize| [(elem * self.q.dim).max(4 * parts * self.v.dim), elem * self.q.dim.max(self.v.dim)];
        let split = self.split(gpu);
        let mut parts = split;
        let (pieces, starts) = loop {
            let pieces = self.pieces(gpu, Inner::Keys, widest(parts))?;
            let starts: BTreeSet<usize> = pieces.iter().map(|piece| piece.keys.start).collect();
            // Where the keys had to be cut, each piece of them is a part.
            let needed = if starts.len() > 1 { starts.len() } else { split };
            let enough = needed <= parts;
            parts = needed;
            if enough {
                break (pieces, starts);
            }
        };
        let run = |o: &Tensor, lse: &Tensor| {
            let out = Parts { o, lse, parts, cut: starts.len() > 1 };
            let part = |piece: &Piece| starts.range(..piece.keys.start).count();
            pieces.iter().try_for_each(|piece| self.piece_forward(gpu, piece, part(piece), &out))
        };
        if parts == 1 {
            return run(o, lse);
        }
        let rows = lse.len();
        let (o_parts, lse_parts) = (gpu.empty(DType::F32, &[rows, parts, self.v.dim])?, gpu.empty(DType::F32, &[rows, parts])?);
        run(&o_parts, &lse_parts)?;
        self.merge(gpu, [&o_parts, &lse_parts], [o, lse], parts)
    }

    /// The parts that the keys are split into so that few queries keep the device busy.
    fn split(&self, gpu: &Gpu) -> usize {
        /// Keys for which a part is worth its merging.
        const KEYS: usize = 256;
        let (queries, keys) = (self.max_queries(), self.max_keys());
        if queries > FEW {
            return 1;
        }
        let workgroups = self.sequences.len() * self.heads_q * queries.div_ceil(self.tile.rows());
        let wanted = if gpu.caps().software { 8 } else { 512 };
        (keys / KEYS).min(wanted / workgroups.max(1)).max(1)
    }

    /// Runs a piece, which writes its part of each row, or all parts where the keys are in one piece.
    fn piece_forward(&self, gpu: &Gpu, piece: &Piece, part: usize, out: &Parts) -> Result<()> {
        let guide = self.guide(gpu, piece)?;
        let tiles = piece.queries.len().div_ceil(self.tile.rows());
        let own = if out.cut { 1 } else { out.parts };
        let o = self.queries_of(piece, Rows { tensor: out.o, dim: out.parts * self.v.dim });
        let lse = self.queries_of(piece, Rows { tensor: out.lse, dim: out.parts });
        let params = FusedParams {
            tiles: (tiles * own) as u32,
            tiles_along: tiles as u32,
            heads: piece.heads.len() as u32,
            head0: piece.heads.start as u32,
            workgroups: (piece.sequences.len() * piece.heads.len() * tiles * own) as u32,
            part_keys: if own > 1 { piece.keys.len().div_ceil(own).next_multiple_of(self.tile.columns()) as u32 } else { i32::MAX as u32 },
            part0: part as u32,
            parts: out.parts as u32,
            o_base: in_quads(o.base),
            lse_base: lse.base as u32,
            ..self.params(piece, &guide)
        };
        let binds = [
            Bind::Read(self.queries_of(piece, self.q).view),
            Bind::Read(self.keys_of(piece, self.k).view),
            Bind::Read(self.keys_of(piece, self.v).view),
            Bind::maybe(self.bias.map(|bias| self.pairs_of(piece, bias.tensor, bias.strides).view)),
            Bind::Read(guide.tensor.view()),
            Bind::Write(o.view),
            Bind::Write(lse.view),
        ];
        let work = Work { flops: self.flops(piece), bytes: self.bytes(piece) };
        let forward = Forward::choose(self.common(), self.is_visible(piece));
        gpu.dispatch(forward, &params, &binds, spread(params.workgroups as usize, gpu.caps()), work)
    }

    /// Whether causality, windows and lengths hide nothing in the tiles of a piece.
    fn is_visible(&self, piece: &Piece) -> bool {
        let AttentionOptions { causal, window_left, window_right, .. } = *self.options;
        let columns = self.tile.columns();
        let whole = piece.keys.start.is_multiple_of(columns) && piece.keys.end.is_multiple_of(columns);
        let long = self.sequences[piece.sequences.clone()].iter().all(|sequence| sequence.k_count >= piece.keys.end);
        whole && long && !causal && window_left.is_none() && window_right.is_none()
    }

    /// Bytes of q, k, v and o of a piece, each moved once.
    fn bytes(&self, piece: &Piece) -> f64 {
        let elem = self.q.tensor.dtype().bytes();
        let queries = piece.sequences.len() * piece.heads.len() * piece.queries.len();
        let keys = piece.sequences.len() * self.key_heads(piece).len() * piece.keys.len();
        (queries * (elem * self.q.dim + 4 * self.v.dim) + keys * elem * (self.q.dim + self.v.dim)) as f64
    }

    fn merge(&self, gpu: &Gpu, [o_parts, lse_parts]: [&Tensor; 2], [o, lse]: [&Tensor; 2], parts: usize) -> Result<()> {
        let (rows, dim) = (lse.len(), self.v.dim);
        let room = gpu.caps().max_window() / 4;
        let step = (room / (parts * dim)).min(rows);
        for first in (0..rows).step_by(step) {
            let rows = step.min(rows - first);
            let at = |tensor, width| Tensor::window(tensor, first * width, rows * width);
            let views = [at(o_parts, parts * dim), at(lse_parts, parts), at(o, dim), at(lse, 1)];
            let params = MergeParams {
                rows: rows as u32,
                parts: parts as u32,
                quads: (dim / 4) as u32,
                o_parts_base: views[0].base() / 4,
                lse_parts_base: views[1].base(),
                o_base: views[2].base() / 4,
                lse_base: views[3].base(),
                padding: 0,
            };
            let [o_parts, lse_parts, o, lse] = views;
            let binds = [Bind::Read(o_parts), Bind::Read(lse_parts), Bind::Write(o), Bind::Write(lse)];
            let work = Work { flops: (2 * rows * parts * dim) as f64, bytes: (4 * rows * (parts + 1) * dim) as f64 };
            gpu.dispatch(Merge, &params, &binds, spread((rows * dim / 4).div_ceil(MERGE_LANES), gpu.caps()), work)?;
        }
        Ok(())
    }
}
