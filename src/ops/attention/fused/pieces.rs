//! How a call is cut where one dispatch cannot do it: a tensor larger than a binding, work that takes too long, a driver that limits loops.

use std::ops::Range;

use super::{Fused, Rows, Sequence, Tile};
use crate::gpu::{Gpu, Tensor, View, Work};
use crate::ops::attention::options::MAX_LENGTH;
use crate::{Error, Result};

/// Rows and columns of a cell of the packed mask, at which pieces begin.
pub(super) const CELL: usize = 32;

/// What a dispatch does: ranges of sequences, query heads, queries and keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub sequences: Range<usize>,
    pub heads: Range<usize>,
    pub queries: Range<usize>,
    pub keys: Range<usize>,
}

/// What a kernel walks over inside a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inner {
    Keys,
    Queries,
}

fn cut(range: &Range<usize>, middle: usize) -> [Range<usize>; 2] {
    [range.start..middle, middle..range.end]
}

impl Piece {
    /// Two of half the size along the outermost dimension that has any; `None` when only queries and keys are left.
    fn split(&self, group: usize) -> Option<[Piece; 2]> {
        let Piece { sequences, heads, .. } = self;
        if sequences.len() > 1 {
            let halves = cut(sequences, sequences.start + sequences.len() / 2);
            return Some(halves.map(|sequences| Piece { sequences, ..self.clone() }));
        }
        if heads.len() > 1 {
            let half = heads.len() / 2;
            // Groups stay together as long as there are several.
            let half = if half >= group { half / group * group } else { half };
            return Some(cut(heads, heads.start + half).map(|heads| Piece { heads, ..self.clone() }));
        }
        None
    }

    /// What the kernel spreads over workgroups.
    fn rows(&self, inner: Inner) -> &Range<usize> {
        if inner == Inner::Keys { &self.queries } else { &self.keys }
    }

    /// Workgroups with a tile of so many rows each. Packed sequences all get as many as the longest one, so that there may be more of them
    /// than there are queries, and more than a u32 counts.
    fn workgroups(&self, inner: Inner, rows: usize) -> u64 {
        let tiles = self.rows(inner).len().div_ceil(rows);
        [self.heads.len(), tiles].into_iter().fold(self.sequences.len() as u64, |n, of| n.saturating_mul(of as u64))
    }

    /// Two of half the size along what the kernel spreads over workgroups.
    fn split_rows(&self, inner: Inner) -> Option<[Piece; 2]> {
        let rows = self.rows(inner);
        let middle = rows.start + (rows.len() / 2).next_multiple_of(CELL).max(CELL);
        if middle >= rows.end {
            return None;
        }
        Some(cut(rows, middle).map(|rows| match inner {
            Inner::Keys => Piece { queries: rows, ..self.clone() },
            Inner::Queries => Piece { keys: rows, ..self.clone() },
        }))
    }
}

/// Rows of a tensor that a piece reaches, and the kernel's index of row 0 of the tensor, in elements.
pub(super) struct Window<'a> {
    pub view: View<'a>,
    pub base: i64,
}

impl<'a> Fused<'a> {
    pub(super) fn group(&self) -> usize {
        self.heads_q / self.heads_kv
    }

    /// The key heads of a piece.
    pub(super) fn key_heads(&self, piece: &Piece) -> Range<usize> {
        piece.heads.start / self.group()..(piece.heads.end - 1) / self.group() + 1
    }

    pub(super) fn max_queries(&self) -> usize {
        self.sequences.iter().map(|s| s.q_count).max().unwrap_or(0)
    }

    pub(super) fn max_keys(&self) -> usize {
        self.sequences.iter().map(|s| s.k_rows).max().unwrap_or(0)
    }

    /// The elements from the first to the last that a piece reaches of a tensor of queries with rows of `dim`.
    fn span_of_queries(&self, piece: &Piece, dim: usize) -> Range<usize> {
        let rows = self.sequences[piece.sequences.clone()].iter().map(|s| (s.q_first, s.q_count));
        span(rows, &piece.queries, self.q_row, [piece.heads.start * self.q_head, (piece.heads.end - 1) * self.q_head], dim)
    }

    fn span_of_keys(&self, piece: &Piece, dim: usize) -> Range<usize> {
        let rows = self.sequences[piece.sequences.clone()].iter().map(|s| (s.k_first, s.k_rows));
        let heads = self.key_heads(piece);
        span(rows, &piece.keys, self.k_row, [heads.start * self.k_head, (heads.end - 1) * self.k_head], dim)
    }

    pub(super) fn queries_of<'t>(&self, piece: &Piece, rows: Rows<'t>) -> Window<'t> {
        window(rows.tensor, self.span_of_queries(piece, rows.dim))
    }

    pub(super) fn keys_of<'t>(&self, piece: &Piece, rows: Rows<'t>) -> Window<'t> {
        window(rows.tensor, self.span_of_keys(piece, rows.dim))
    }

    /// The elements that a piece reaches of a tensor over pairs, and the kernel's index of the element of the piece's first sequence
    /// and of head, query and key 0.
    pub(super) fn pairs_of<'t>(&self, piece: &Piece, tensor: &'t Tensor, strides: [usize; 4]) -> Window<'t> {
        let span = span_of_pairs(piece, strides, self.max_keys());
        let Window { view, base } = window(tensor, span);
        Window { view, base: base + (piece.sequences.start * strides[0]) as i64 }
    }

    /// Whether every binding of a piece is small enough. `widest` are the largest rows of tensors of queries and keys, in bytes.
    fn fits(&self, gpu: &Gpu, piece: &Piece, widest: [usize; 2]) -> bool {
        let room = gpu.caps().max_window();
        let pairs = self.bias.map_or(0, |bias| 4 * span_of_pairs(piece, bias.strides, self.max_keys()).len());
        let mask = self.mask.map_or(0, |mask| span_of_pairs(piece, mask.strides, self.max_keys()).len());
        let bytes = [
            self.span_of_queries(piece, widest[0]).len(),
            self.span_of_keys(piece, widest[1]).len(),
            pairs,
            mask,
            4 * self.guide_words(piece),
        ];
        bytes.into_iter().all(|bytes| bytes <= room)
    }

    /// The pieces of a call, of each of which `inner` is walked by a workgroup, in its order.
    ///
    /// # Errors
    /// [`Error::Limit`] when not even 32 queries by 32 keys of one head fit a binding.
    pub(super) fn pieces(&self, gpu: &Gpu, inner: Inner, widest: [usize; 2]) -> Result<Vec<Piece>> {
        let longest = self.max_queries().max(self.max_keys());
        if longest >= MAX_LENGTH {
            let what = "queries or keys of one sequence".to_string();
            return Err(Error::Limit { op: self.op, what, limit: MAX_LENGTH as u64 - 1, got: longest as u64 });
        }
        let whole =
            Piece { sequences: 0..self.sequences.len(), heads: 0..self.heads_q, queries: 0..self.max_queries(), keys: 0..self.max_keys() };
        // The steps of queries and keys with which one head of each sequence fits.
        let (mut queries, mut keys) = (whole.queries.end.next_multiple_of(CELL), whole.keys.end.next_multiple_of(CELL));
        if let Some(longest) = self.longest_walk(gpu) {
            match inner {
                Inner::Keys => keys = keys.min(longest),
                Inner::Queries => queries = queries.min(longest),
            }
        }
        let fits = |queries: usize, keys: usize| {
            (0..self.sequences.len()).all(|n| {
                let one = Piece {
                    sequences: n..n + 1,
                    heads: 0..1,
                    queries: 0..queries.min(whole.queries.end),
                    keys: 0..keys.min(whole.keys.end),
                };
                self.fits(gpu, &one, widest)
            })
        };
        while !fits(queries, keys) {
            let smaller = |n: usize| (n / 2).next_multiple_of(CELL);
            if fits(CELL, keys) && queries > CELL {
                queries = smaller(queries);
            } else if keys > CELL {
                keys = smaller(keys);
            } else if queries > CELL {
                queries = smaller(queries);
            } else {
                let what = "bytes of one binding, which 32 queries and 32 keys of one head must fit".to_string();
                let got = (CELL * widest[0].max(widest[1])) as u64;
                return Err(Error::Limit { op: self.op, what, limit: gpu.caps().max_binding, got });
            }
        }
        // They are counted in a u32 and spread over two dimensions.
        let most = u64::from(gpu.caps().max_workgroups).pow(2).min(u64::from(u32::MAX));
        let mut pieces = vec![];
        for (q0, k0) in
            (0..whole.queries.end).step_by(queries).flat_map(|q0| (0..whole.keys.end.max(1)).step_by(keys).map(move |k0| (q0, k0)))
        {
            let (queries, keys) = (q0..(q0 + queries).min(whole.queries.end), k0..(k0 + keys).min(whole.keys.end));
            let mut open = vec![Piece { queries, keys, ..whole.clone() }];
            while let Some(piece) = open.pop() {
                let parts = if !self.fits(gpu, &piece, widest) {
                    piece.split(self.group())
                } else if piece.workgroups(inner, self.tile.rows()) > most {
                    piece.split(self.group()).or_else(|| piece.split_rows(inner))
                } else if gpu.share(self.most_work(&piece), 0) > 1.0 {
                    // The heads of a group add to the same d_k and d_v, in an order that time must not decide.
                    let together = if inner == Inner::Queries { self.group() } else { 1 };
                    piece.split(self.group()).filter(|[first, _]| first.heads.len() >= together).or_else(|| piece.split_rows(inner))
                } else {
                    None
                };
                match parts {
                    Some([first, second]) => open.extend([second, first]),
                    None => pieces.push(piece),
                }
            }
        }
        Ok(pieces)
    }

    /// The queries or keys past which a workgroup must not walk in one dispatch, where the driver limits loops.
    fn longest_walk(&self, gpu: &Gpu) -> Option<usize> {
        let rounds = gpu.caps().max_rounds?;
        let quads = (self.q.dim + self.v.dim).div_ceil(4) as u32;
        let columns = self.tile.columns() as u32;
        // Of one tile, at most: two products of rows, two of marked coefficients, each with its staging; then drawing.
        let products = match self.tile {
            Tile { units: Some(_), .. } => 16 * (quads + columns),
            Tile { broadcast: true, .. } => quads + columns / 2,
            _ => 4 * quads + 5 * columns,
        };
        let drawn = if self.options.dropout_p > 0.0 { 8 * 21 } else { 0 };
        let tiles = rounds / (products + drawn + 64);
        let walk = tiles as usize * self.tile.columns() / self.group();
        Some((walk / CELL * CELL).max(CELL))
    }

    /// Pieces of which a workgroup can walk over the sequences and heads that are `walked`, one tile of each.
    pub(super) fn shorter_walks(&self, gpu: &Gpu, pieces: Vec<Piece>, [sequences, heads]: [bool; 2]) -> Vec<Piece> {
        let Some(longest) = self.longest_walk(gpu) else { return pieces };
        let tiles = longest / self.tile.columns();
        let count = |range: &Range<usize>, walked: bool| if walked { range.len() } else { 1 };
        let mut done = vec![];
        let mut open: Vec<Piece> = pieces.into_iter().rev().collect();
        while let Some(piece) = open.pop() {
            let too_long = count(&piece.sequences, sequences) * count(&piece.heads, heads) > tiles.max(1);
            match piece.split(self.group()).filter(|_| too_long) {
                Some([first, second]) => open.extend([second, first]),
                None => done.push(piece),
            }
        }
        done
    }

    /// That of the longest of the kernels: the gradients of keys and values.
    fn most_work(&self, piece: &Piece) -> Work {
        Work { flops: 2.0 * self.flops(piece), bytes: 0.0 }
    }

    /// Floating-point operations of the forward of a piece.
    pub(super) fn flops(&self, piece: &Piece) -> f64 {
        let pairs = |s: &Sequence| -> u64 {
            let of = |i| {
                let visible = self.options.keys(i, s.offset, s.k_count);
                (visible.end.min(piece.keys.end) as u64).saturating_sub(visible.start.max(piece.keys.start) as u64)
            };
            (piece.queries.start..piece.queries.end.min(s.q_count)).map(of).sum()
        };
        let pairs: u64 = self.sequences[piece.sequences.clone()].iter().map(pairs).sum();
        2.0 * (pairs * piece.heads.len() as u64) as f64 * (self.q.dim + self.v.dim) as f64
    }
}

/// Of rows `of` of sequences given by their first row and count; one row where none has any.
fn span(sequences: impl Iterator<Item = (usize, usize)>, of: &Range<usize>, row: usize, heads: [usize; 2], dim: usize) -> Range<usize> {
    let reached = sequences.map(|(first, count)| first + of.start..first + of.end.min(count)).filter(|rows| !rows.is_empty());
    let all = reached.reduce(|all, rows| all.start.min(rows.start)..all.end.max(rows.end));
    all.map_or(0..dim, |all| (heads[0] + all.start * row) * dim..(heads[1] + (all.end - 1) * row + 1) * dim)
}

fn span_of_pairs(piece: &Piece, strides: [usize; 4], keys: usize) -> Range<usize> {
    let ranges = [&piece.sequences, &piece.heads, &piece.queries, &(piece.keys.start..piece.keys.end.min(keys))];
    let first = ranges.iter().zip(strides).map(|(range, stride)| range.start * stride).sum();
    let last: usize = ranges.iter().zip(strides).map(|(range, stride)| (range.end.max(1) - 1) * stride).sum();
    first..last + 1
}

fn window(tensor: &Tensor, span: Range<usize>) -> Window<'_> {
    let view = tensor.window(span.start, span.len());
    Window { view, base: i64::from(view.base()) - span.start as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(sequences: Range<usize>, heads: Range<usize>) -> Piece {
        Piece { sequences, heads, queries: 0..100, keys: 0..70 }
    }

    #[test]
    fn a_piece_is_halved_along_what_is_outermost() {
        assert_eq!(piece(0..3, 0..8).split(2), Some([piece(0..1, 0..8), piece(1..3, 0..8)]));
        // Groups stay together, until one is left.
        assert_eq!(piece(1..2, 0..6).split(2), Some([piece(1..2, 0..2), piece(1..2, 2..6)]));
        assert_eq!(piece(1..2, 4..6).split(2), Some([piece(1..2, 4..5), piece(1..2, 5..6)]));
        assert_eq!(piece(1..2, 4..5).split(2), None);
    }

    #[test]
    fn workgroups_are_counted_beyond_32_bits() {
        let packed = |n| Piece { queries: 0..1 << 20, keys: 0..64, ..piece(0..n, 0..8) };
        assert_eq!(packed(1 << 16).workgroups(Inner::Keys, 64), 1 << 33);
        assert_eq!(packed(1 << 16).workgroups(Inner::Queries, 64), 1 << 19);
    }

    #[test]
    fn rows_are_halved_at_cells() {
        let rows = |inner| piece(0..1, 0..1).split_rows(inner).map(|halves| halves.map(|half| (half.queries, half.keys)));
        assert_eq!(rows(Inner::Keys), Some([(0..64, 0..70), (64..100, 0..70)]));
        assert_eq!(rows(Inner::Queries), Some([(0..100, 0..64), (0..100, 64..70)]));
        let small = Piece { queries: 0..20, ..piece(0..1, 0..1) };
        assert_eq!(small.split_rows(Inner::Keys), None);
    }

    #[test]
    fn a_span_reaches_from_the_first_row_to_the_last() {
        let sequences = || [(0, 5), (5, 0), (5, 9)].into_iter();
        // Rows of 2 heads beside each other, 3 elements each.
        assert_eq!(span(sequences(), &(0..9), 2, [0, 1], 3), 0..28 * 3);
        assert_eq!(span(sequences(), &(6..8), 2, [1, 1], 3), 23 * 3..26 * 3);
        assert_eq!(span(sequences(), &(10..12), 2, [0, 1], 3), 0..3);
    }
}
