//! The backward: a kernel for each side, each in a fixed order.

use super::kernels::{Backward, BackwardBias, BackwardKv, BackwardQ, FusedParams, Walk};
use super::pieces::{Inner, Piece};
use super::quads::Quads;
use super::{Fused, Rows, in_quads};
use crate::gpu::{Bind, Gpu, Tensor, Work, spread};
use crate::ops::attention::kernels::{ROW_DATA, ROW_LANES, RowData, RowsParams};
use crate::ops::strided::Dims;
use crate::ops::sum::gpu::Reduction;
use crate::{DType, Result};

/// What the gradients are made of besides the inputs, and where they go. d_q, d_k and d_v have rows as q, k and v.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upstream<'a> {
    /// The output, with rows of `dim_v` elements.
    pub o: Rows<'a>,
    pub lse: &'a Tensor,
    pub d_o: Rows<'a>,
    pub d_q: &'a Tensor,
    pub d_k: &'a Tensor,
    pub d_v: &'a Tensor,
    pub d_bias: Option<&'a Tensor>,
    pub d_alibi_slopes: Option<&'a Tensor>,
}

impl Fused<'_> {
    /// The gradients.
    pub fn backward(&self, gpu: &Gpu, upstream: &Upstream) -> Result<()> {
        let [q, k, v] = self.quads(gpu)?;
        let d_o = Quads::filled(gpu, self.op, upstream.d_o)?;
        let results = [(upstream.d_q, self.q.dim), (upstream.d_k, self.k.dim), (upstream.d_v, self.v.dim)];
        let [d_q, d_k, d_v] = results.map(|(tensor, dim)| Quads::empty(gpu, Rows { tensor, dim }));
        let (d_q, d_k, d_v) = (d_q?, d_k?, d_v?);
        let in_quads = Upstream { d_q: d_q.tensor(), d_k: d_k.tensor(), d_v: d_v.tensor(), ..*upstream };
        Fused { q: q.rows(), k: k.rows(), v: v.rows(), ..self.clone() }.backward_in_quads(gpu, &in_quads, d_o.rows())?;
        [d_q, d_k, d_v].iter().try_for_each(|quads| quads.give_back(gpu, self.op))
    }

    /// With d_o in quads beside that of `upstream`, from which delta is made.
    fn backward_in_quads(&self, gpu: &Gpu, upstream: &Upstream, d_o: Rows) -> Result<()> {
        let row_data = gpu.empty(DType::F32, &[upstream.lse.len(), ROW_DATA])?;
        upstream.row_data(gpu, &row_data)?;
        let backward = Backward { common: self.common(), d_o: d_o.tensor.dtype() };
        let run = Run { call: self, gpu, backward, upstream, d_o, row_data: &row_data };
        run.queries()?;
        run.keys()?;
        if let Some(d_bias) = upstream.d_bias {
            run.bias(d_bias)?;
        }
        if let Some(y) = upstream.d_alibi_slopes {
            // Rows are [batch, heads_q, seq_q] here; the gradient of a row's slope is the last of its data.
            let (heads, rows) = (self.heads_q, self.q_head);
            let kept = Dims::new([(heads, [rows * ROW_DATA, 1])]);
            let summed = Dims::new([(self.sequences.len(), [heads * rows * ROW_DATA]), (rows, [ROW_DATA])]);
            Reduction { x: &row_data, y, start: [ROW_DATA - 1, 0], kept, summed, scale: 1.0, accumulate: false }.run(gpu)?;
        }
        Ok(())
    }
}

impl Upstream<'_> {
    /// lse and delta of every row. The kernel of d_q adds l and the gradient of the slope.
    fn row_data(&self, gpu: &Gpu, row_data: &Tensor) -> Result<()> {
        let (rows, dim) = (self.lse.len(), self.o.dim);
        let room = gpu.caps().max_window() / DType::F32.bytes();
        let step = room / dim.max(ROW_DATA);
        for first in (0..rows).step_by(step) {
            let rows = step.min(rows - first);
            let (o, d_o) = (self.o.tensor.window(first * dim, rows * dim), self.d_o.tensor.window(first * dim, rows * dim));
            let (lse, y) = (self.lse.window(first, rows), row_data.window(first * ROW_DATA, rows * ROW_DATA));
            let params = RowsParams {
                rows: rows as u32,
                per_head: rows as u32,
                i0: 0,
                bh0: 0,
                heads: 1,
                cols: 0,
                dim: dim as u32,
                o_base: o.base(),
                o_batch: 0,
                o_head: 0,
                o_row: dim as u32,
                d_o_base: d_o.base(),
                lse_base: lse.base(),
                lse_head: 0,
                lse_row: 1,
                row_data_base: y.base() / ROW_DATA as u32,
            };
            let variant = RowData { d_o: self.d_o.tensor.dtype(), lengths: false, alibi: false };
            let work = Work { flops: (2 * rows * dim) as f64, bytes: (8 * rows * dim) as f64 };
            let binds = [Bind::Absent, Bind::Absent, Bind::Read(o), Bind::Read(lse), Bind::Read(d_o), Bind::Write(y)];
            gpu.dispatch(variant, &params, &binds, spread(rows.div_ceil(ROW_LANES), gpu.caps()), work)?;
        }
        Ok(())
    }
}

/// One backward under way.
struct Run<'r, 'a> {
    call: &'r Fused<'a>,
    gpu: &'r Gpu,
    backward: Backward,
    upstream: &'r Upstream<'r>,
    /// With rows of quads.
    d_o: Rows<'r>,
    row_data: &'r Tensor,
}

impl<'r> Run<'r, '_> {
    /// The largest rows of tensors of queries and keys, in bytes.
    fn widest(&self) -> [usize; 2] {
        let dim = self.call.q.dim.max(self.call.v.dim);
        [4 * dim.max(ROW_DATA), 4 * dim]
    }

    fn row_data(&self) -> Rows<'r> {
        Rows { tensor: self.row_data, dim: ROW_DATA }
    }

    /// The parameters of a piece, with what all kernels of the backward read.
    fn params(&self, piece: &Piece, guide: &super::guide::Guide) -> FusedParams {
        let call = self.call;
        let mut params = call.params(piece, guide);
        params.d_o_base = in_quads(call.queries_of(piece, self.d_o).base);
        params.row_data_base = in_quads(call.queries_of(piece, self.row_data()).base);
        params
    }

    /// q, k, v, bias, guide and d_o.
    fn inputs<'b>(&'b self, piece: &Piece, guide: &'b super::guide::Guide) -> [Bind<'b>; 6] {
        let call = self.call;
        [
            Bind::Read(call.queries_of(piece, call.q).view),
            Bind::Read(call.keys_of(piece, call.k).view),
            Bind::Read(call.keys_of(piece, call.v).view),
            Bind::maybe(call.bias.map(|bias| call.pairs_of(piece, bias.tensor, bias.strides).view)),
            Bind::Read(guide.tensor.view()),
            Bind::Read(call.queries_of(piece, self.d_o).view),
        ]
    }

    /// d_q, and what the other kernels need of each query.
    fn queries(&self) -> Result<()> {
        let call = self.call;
        for piece in &call.pieces(self.gpu, Inner::Keys, self.widest())? {
            let guide = call.guide(self.gpu, piece)?;
            let d_q = call.queries_of(piece, Rows { tensor: self.upstream.d_q, dim: call.q.dim });
            let tiles = piece.queries.len().div_ceil(call.tile.rows());
            let params = FusedParams {
                tiles: tiles as u32,
                heads: piece.heads.len() as u32,
                head0: piece.heads.start as u32,
                workgroups: (piece.sequences.len() * piece.heads.len() * tiles) as u32,
                resume: u32::from(piece.keys.start > 0),
                d_q_base: in_quads(d_q.base),
                ..self.params(piece, &guide)
            };
            let [q, k, v, bias, table, d_o] = self.inputs(piece, &guide);
            let row_data = Bind::Write(call.queries_of(piece, self.row_data()).view);
            let binds = [q, k, v, bias, table, d_o, row_data, Bind::Write(d_q.view)];
            let work = Work { flops: 1.5 * call.flops(piece), bytes: Bind::bytes(&binds) };
            self.gpu.dispatch(BackwardQ(self.backward), &params, &binds, spread(params.workgroups as usize, self.gpu.caps()), work)?;
        }
        Ok(())
    }

    /// d_k and d_v.
    fn keys(&self) -> Result<()> {
        let call = self.call;
        let variants = BackwardKv::choose(self.backward, self.gpu.caps());
        for piece in &call.pieces(self.gpu, Inner::Queries, self.widest())? {
            let guide = call.guide(self.gpu, piece)?;
            let d_k = call.keys_of(piece, Rows { tensor: self.upstream.d_k, dim: call.k.dim });
            let d_v = call.keys_of(piece, Rows { tensor: self.upstream.d_v, dim: call.v.dim });
            let (tiles, heads) = (piece.keys.len().div_ceil(call.tile.rows()), call.key_heads(piece));
            let params = FusedParams {
                tiles: tiles as u32,
                heads: heads.len() as u32,
                head0: heads.start as u32,
                workgroups: (piece.sequences.len() * heads.len() * tiles) as u32,
                resume: u32::from(piece.queries.start > 0 || !piece.heads.start.is_multiple_of(call.group())),
                d_k_base: in_quads(d_k.base),
                d_v_base: in_quads(d_v.base),
                ..self.params(piece, &guide)
            };
            for variant in &variants {
                let [q, k, v, bias, table, d_o] = self.inputs(piece, &guide);
                let row_data = Bind::Read(call.queries_of(piece, self.row_data()).view);
                let d_k = Bind::maybe_write(variant.d_k.then_some(d_k.view));
                let d_v = Bind::maybe_write(variant.d_v.then_some(d_v.view));
                let binds = [q, k, v, bias, table, d_o, row_data, d_k, d_v];
                let work = Work { flops: 2.0 * call.flops(piece), bytes: Bind::bytes(&binds) };
                self.gpu.dispatch(*variant, &params, &binds, spread(params.workgroups as usize, self.gpu.caps()), work)?;
            }
        }
        Ok(())
    }

    /// The gradient of the bias, in the bias's own shape.
    fn bias(&self, d_bias: &Tensor) -> Result<()> {
        let call = self.call;
        let Some(bias) = call.bias else { return Ok(()) };
        let [b, h, i, j] = bias.strides;
        let (batch, heads, seq_q, seq_k) = (call.sequences.len(), call.heads_q, call.max_queries(), call.max_keys());
        // A dimension of one is walked as if it were repeated.
        if i > 0 && j > 0 {
            return self.bias_tiles(d_bias, bias.strides);
        }
        let (walk, rows, row) = if j > 0 { (Walk::Queries, seq_k, j) } else { (Walk::Keys, seq_q, i) };
        let sums = self.gpu.empty(DType::F32, &[batch, heads, rows])?;
        self.bias_sums(&sums, walk, [heads * rows, rows])?;
        let dims = [(batch, heads * rows, b), (heads, rows, h), (rows, 1, row)];
        let kept = Dims::new(dims.iter().filter(|(_, _, own)| *own > 0).map(|&(size, stride, own)| (size, [stride, own])));
        let summed = Dims::new(dims.iter().filter(|(_, _, own)| *own == 0).map(|&(size, stride, _)| (size, [stride])));
        Reduction { x: &sums, y: d_bias, start: [0, 0], kept, summed, scale: 1.0, accumulate: false }.run(self.gpu)
    }

    fn bias_tiles(&self, d_bias: &Tensor, strides: [usize; 4]) -> Result<()> {
        let call = self.call;
        let [b, h, ..] = strides;
        let pieces = call.pieces(self.gpu, Inner::Keys, self.widest())?;
        for piece in &call.shorter_walks(self.gpu, pieces, [b == 0, h == 0]) {
            let guide = call.guide(self.gpu, piece)?;
            let columns = call.tile.columns();
            let down = piece.queries.len().div_ceil(call.tile.rows());
            let across = piece.keys.end.div_ceil(columns) - piece.keys.start / columns;
            let (sequences, repeat_b) = if b > 0 { (piece.sequences.len(), 1) } else { (1, piece.sequences.len()) };
            let (heads, repeat_h) = if h > 0 { (piece.heads.len(), 1) } else { (1, piece.heads.len()) };
            let y = call.pairs_of(piece, d_bias, strides);
            let [d_bias_b, d_bias_h, d_bias_row, d_bias_col] = strides.map(|s| s as u32);
            let params = FusedParams {
                tiles: (down * across) as u32,
                tiles_across: across as u32,
                heads: heads as u32,
                head0: piece.heads.start as u32,
                repeat_b: repeat_b as u32,
                repeat_h: repeat_h as u32,
                workgroups: (sequences * heads * down * across) as u32,
                resume: u32::from((b == 0 && piece.sequences.start > 0) || (h == 0 && piece.heads.start > 0)),
                d_bias_base: y.base as u32,
                d_bias_b,
                d_bias_h,
                d_bias_row,
                d_bias_col,
                ..self.params(piece, &guide)
            };
            self.dispatch_bias(Walk::Tiles, &params, piece, &guide, Bind::Write(y.view))?;
        }
        Ok(())
    }

    /// Sums along keys or queries, to `[batch, heads_q, rows]`.
    fn bias_sums(&self, sums: &Tensor, walk: Walk, [b, h]: [usize; 2]) -> Result<()> {
        let call = self.call;
        let inner = if walk == Walk::Keys { Inner::Keys } else { Inner::Queries };
        for piece in &call.pieces(self.gpu, inner, self.widest())? {
            let guide = call.guide(self.gpu, piece)?;
            let (rows, walked) = if walk == Walk::Keys { (&piece.queries, &piece.keys) } else { (&piece.keys, &piece.queries) };
            let tiles = rows.len().div_ceil(call.tile.rows());
            let strides = if walk == Walk::Keys { [b, h, 1, 0] } else { [b, h, 0, 1] };
            let y = call.pairs_of(piece, sums, strides);
            let params = FusedParams {
                tiles: tiles as u32,
                tiles_across: 1,
                heads: piece.heads.len() as u32,
                head0: piece.heads.start as u32,
                repeat_b: 1,
                repeat_h: 1,
                workgroups: (piece.sequences.len() * piece.heads.len() * tiles) as u32,
                resume: u32::from(walked.start > 0),
                d_bias_base: y.base as u32,
                d_bias_b: b as u32,
                d_bias_h: h as u32,
                d_bias_row: 1,
                ..self.params(piece, &guide)
            };
            self.dispatch_bias(walk, &params, piece, &guide, Bind::Write(y.view))?;
        }
        Ok(())
    }

    fn dispatch_bias(&self, walk: Walk, params: &FusedParams, piece: &Piece, guide: &super::guide::Guide, d_bias: Bind) -> Result<()> {
        let call = self.call;
        let [q, k, v, bias, table, d_o] = self.inputs(piece, guide);
        let row_data = Bind::Read(call.queries_of(piece, self.row_data()).view);
        let binds = [q, k, v, bias, table, d_o, row_data, d_bias];
        let work = Work { flops: call.flops(piece), bytes: Bind::bytes(&binds) };
        let variant = BackwardBias { backward: self.backward, walk };
        self.gpu.dispatch(variant, params, &binds, spread(params.workgroups as usize, self.gpu.caps()), work)
    }
}
