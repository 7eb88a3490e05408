//! What the composed path works on at a time: a call's tensors by their strides, and the blocks of rows that the scratch matrices hold.

use super::options::{AttentionOptions, MAX_LENGTH};
use crate::gpu::{Gpu, Tensor, View};
use crate::ops::product::Matrices;
use crate::{DType, Error, Result};

/// The most bytes that one scratch matrix takes. Larger ones save nothing: a block of this size keeps any device busy.
const SCRATCH: u64 = 64 << 20;

/// A tensor of rows, `[batch, heads, seq, dim]` or `[tokens, heads, dim]`, by its strides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strided<'a> {
    pub(super) tensor: &'a Tensor,
    start: usize,
    /// From one batch, one key head and one query head of its group to the next.
    pub(super) strides: [usize; 3],
    pub(super) row: usize,
}

impl<'a> Strided<'a> {
    /// A tensor with one head for each query head; `layout` is its strides along batch, head and row.
    pub fn queries(tensor: &'a Tensor, start: usize, [batch, head, row]: [usize; 3], group: usize) -> Self {
        Strided { tensor, start, strides: [batch, group * head, head], row }
    }

    /// A tensor with one head for each key head.
    pub fn keys(tensor: &'a Tensor, start: usize, [batch, head, row]: [usize; 3]) -> Self {
        Strided { tensor, start, strides: [batch, head, 0], row }
    }

    /// The matrices of a block, from row `i` on.
    pub(super) fn matrices(&self, block: &Block, i: usize) -> Matrices<'_> {
        Matrices { tensor: self.tensor, start: self.start + self.offset(block, i), row: self.row, col: 1, batch: &self.strides }
    }

    fn offset(&self, block: &Block, i: usize) -> usize {
        block.b0 * self.strides[0] + block.kv0 * self.strides[1] + block.g0 * self.strides[2] + i * self.row
    }

    /// The elements that a block of queries reaches, in rows of `dim`, and the kernel's index of the element of (b, h, i) = 0.
    pub(super) fn window(&self, block: &Block, dim: usize) -> (View<'a>, u32) {
        let first = self.start + self.offset(block, block.i0);
        let last = block.sizes().iter().zip(self.strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>();
        let view = self.tensor.window(first, last + (block.rows - 1) * self.row + dim);
        // The kernel adds the offset of (b, h, i), which the window is past; u32 arithmetic wraps around.
        (view, view.base().wrapping_add(self.start as u32).wrapping_sub(first as u32))
    }
}

/// A tensor over pairs, broadcast: its strides along batch, query head, query and key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane<'a> {
    pub tensor: &'a Tensor,
    pub strides: [usize; 4],
}

/// The random elements of dropout: pair (bh, i, j) takes `start + bh · head + i · row + j`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elements {
    pub start: u64,
    pub head: u64,
    pub row: u32,
}

/// One call for sequences of the same lengths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Composed<'a> {
    pub op: &'static str,
    pub batch: usize,
    pub heads_q: usize,
    pub heads_kv: usize,
    pub seq_q: usize,
    pub seq_k: usize,
    pub dim: usize,
    pub dim_v: usize,
    pub scale: f32,
    pub options: &'a AttentionOptions,
    /// Query i stands at key position i + offset.
    pub offset: i64,
    pub q: Strided<'a>,
    pub k: Strided<'a>,
    pub v: Strided<'a>,
    pub mask: Option<Plane<'a>>,
    pub bias: Option<Plane<'a>>,
    pub kv_lengths: Option<&'a Tensor>,
    pub alibi_slopes: Option<&'a Tensor>,
    pub dropout_keep: Option<&'a Tensor>,
    pub elements: Elements,
}

/// Consecutive rows of the matrix of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub b0: usize,
    pub batches: usize,
    /// Key heads.
    pub kv0: usize,
    pub kv: usize,
    /// Query heads of each key head.
    pub g0: usize,
    pub group: usize,
    /// Queries.
    pub i0: usize,
    pub rows: usize,
}

impl Block {
    pub(super) fn sizes(&self) -> [usize; 3] {
        [self.batches, self.kv, self.group]
    }

    /// Rows of the scratch matrices.
    pub(super) fn count(&self) -> usize {
        self.sizes().iter().product::<usize>() * self.rows
    }

    /// The strides of the scratch matrices.
    pub(super) fn strides(&self, columns: usize) -> [usize; 3] {
        let matrix = self.rows * columns;
        [self.kv * self.group * matrix, self.group * matrix, matrix]
    }
}

impl Composed<'_> {
    fn group(&self) -> usize {
        self.heads_q / self.heads_kv
    }

    /// The block's first query head.
    pub(super) fn head(&self, block: &Block) -> usize {
        block.kv0 * self.group() + block.g0
    }

    /// The block's first row among the rows of `[batch, heads_q, seq_q]`.
    pub(super) fn row(&self, block: &Block) -> usize {
        (block.b0 * self.heads_q + self.head(block)) * self.seq_q + block.i0
    }

    /// Cuts the rows into blocks of which each scratch matrix, and each binding on o, holds one.
    pub(super) fn blocks(&self, gpu: &Gpu) -> Result<Vec<Block>> {
        let caps = gpu.caps();
        // A row takes seq_k elements of the scores and, where heads lie between one row and the next, dim_v of each in o.
        let row = self.seq_k.max(self.q.row / self.dim * self.dim_v);
        let bytes = (row * DType::F32.bytes()) as u64 + u64::from(caps.storage_alignment);
        if self.seq_q >= MAX_LENGTH {
            let what = "queries of one sequence".to_string();
            return Err(Error::Limit { op: self.op, what, limit: MAX_LENGTH as u64 - 1, got: self.seq_q as u64 });
        }
        if bytes > caps.max_binding {
            let what = "bytes of one row of scores or values with its alignment, which one binding must hold".to_string();
            return Err(Error::Limit { op: self.op, what, limit: caps.max_binding, got: bytes });
        }
        let room = SCRATCH.max(bytes).min(caps.max_binding) - u64::from(caps.storage_alignment);
        let cap = room as usize / DType::F32.bytes();
        // A head that is too large to be counted is too large in any case.
        let (group, head) = (self.group(), self.seq_q.saturating_mul(row));
        let whole = |b0, batches| Block { b0, batches, kv0: 0, kv: self.heads_kv, g0: 0, group, i0: 0, rows: self.seq_q };
        if self.heads_q.saturating_mul(head) <= cap {
            let batches = cap / (self.heads_q * head);
            return Ok((0..self.batch).step_by(batches).map(|b0| whole(b0, batches.min(self.batch - b0))).collect());
        }
        let mut blocks = vec![];
        for b0 in 0..self.batch {
            if group.saturating_mul(head) <= cap {
                let kv = cap / (group * head);
                let heads = (0..self.heads_kv).step_by(kv);
                blocks.extend(heads.map(|kv0| Block { kv0, kv: kv.min(self.heads_kv - kv0), ..whole(b0, 1) }));
                continue;
            }
            let rows = (cap / row).min(self.seq_q);
            let rows = if rows > 64 { rows / 64 * 64 } else { rows };
            for h in 0..self.heads_q {
                let head = Block { kv0: h / group, kv: 1, g0: h % group, group: 1, ..whole(b0, 1) };
                blocks.extend((0..self.seq_q).step_by(rows).map(|i0| Block { i0, rows: rows.min(self.seq_q - i0), ..head }));
            }
        }
        Ok(blocks)
    }
}
