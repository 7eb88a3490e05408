//! The guide: what the kernels need to know of a piece besides its large tensors, in one binding.

use super::Fused;
use super::kernels::{self, GuideParams};
use super::pieces::{CELL, Piece};
use crate::gpu::{Bind, Gpu, Tensor, Work, spread};
use crate::{DType, Result};

/// Words of a sequence: 4 `SEQUENCE` in shaders/lib/fused.wgsl.
const SEQUENCE_WORDS: usize = 12;

/// The guide of a piece, and where things are in it.
#[derive(Debug)]
pub(super) struct Guide {
    pub tensor: Tensor,
    /// The vector at which the slopes begin; 0 without any.
    pub slopes: u32,
    /// In words: the record of query 0 and key 0, and the strides of sequences, heads, queries of a record, and cells.
    pub mask_base: u32,
    pub mask_b: u32,
    pub mask_h: u32,
    /// Words of what is visible in the cells of a record.
    pub mask_cells: u32,
    pub mask_i: u32,
    pub mask_j: u32,
}

/// The packed mask of a piece: its own sequences, heads, records of 32 queries, and cells of each.
struct Packed {
    sequences: usize,
    heads: usize,
    records: usize,
    cells: usize,
}

impl Packed {
    fn words(&self) -> usize {
        self.sequences * self.heads * self.records * self.cells * (CELL + 1)
    }
}

impl Fused<'_> {
    /// The words of the sequences and of the slopes, each a whole number of vectors.
    fn table_words(&self, piece: &Piece) -> (usize, usize) {
        (piece.sequences.len() * SEQUENCE_WORDS, self.alibi_slopes.map_or(0, |slopes| slopes.len().next_multiple_of(4)))
    }

    fn packed(&self, piece: &Piece) -> Option<Packed> {
        let [b, h, i, j] = self.mask?.strides;
        let own = |stride: usize, size: usize| if stride > 0 { size } else { 1 };
        Some(Packed {
            sequences: own(b, piece.sequences.len()),
            heads: own(h, piece.heads.len()),
            records: own(i, piece.queries.len().div_ceil(CELL)),
            cells: own(j, piece.keys.len().div_ceil(CELL)),
        })
    }

    /// A whole number of vectors: those that use the guide read vectors, and one that is not wholly bound is not there for them.
    pub(super) fn guide_words(&self, piece: &Piece) -> usize {
        let (sequences, slopes) = self.table_words(piece);
        sequences + slopes + self.packed(piece).map_or(0, |packed| packed.words().next_multiple_of(4))
    }

    /// Makes the guide of a piece.
    pub(super) fn guide(&self, gpu: &Gpu, piece: &Piece) -> Result<Guide> {
        let sequences = self.sequence_words(piece);
        let (words, slope_words) = self.table_words(piece);
        let table = gpu.tensor(&sequences, &[words])?;
        let slopes = if slope_words > 0 { (words / 4) as u32 } else { 0 };
        let plain = Guide { tensor: table, slopes, mask_base: 0, mask_b: 0, mask_h: 0, mask_cells: 0, mask_i: 0, mask_j: 0 };
        let packed = self.packed(piece);
        if slope_words == 0 && packed.is_none() {
            return Ok(plain);
        }
        let mask_at = words + slope_words;
        let tensor = gpu.empty(DType::I32, &[self.guide_words(piece)])?;
        let Packed { sequences, heads, records, cells } = packed.unwrap_or(Packed { sequences: 0, heads: 1, records: 1, cells: 1 });
        let mask = self.mask.map(|mask| (self.pairs_of(piece, mask.tensor, mask.strides), mask.strides.map(|s| s as u32)));
        let (mask_base, [mask_b, mask_h, mask_i, mask_j]) = mask.as_ref().map_or((0, [0; 4]), |(window, strides)| (window.base, *strides));
        let slopes_view = self.alibi_slopes.map(Tensor::view);
        let count = (sequences * heads * records * cells).max(words.max(slope_words).div_ceil(CELL));
        let params = GuideParams {
            sequences: words as u32,
            slopes: self.alibi_slopes.map_or(0, |slopes| slopes.len() as u32),
            slopes_at: words as u32,
            mask_at: mask_at as u32,
            slopes_base: slopes_view.map_or(0, |view| view.base()),
            // Heads are counted from the piece's first.
            mask_base: (mask_base + (piece.heads.start as i64 * i64::from(mask_h))) as u32,
            mask_h,
            mask_b,
            mask_i,
            mask_j,
            heads: heads as u32,
            records: records as u32,
            cells: cells as u32,
            workgroups: count as u32,
            i_begin: piece.queries.start as u32,
            i_end: piece.queries.end as u32,
            j_begin: piece.keys.start as u32,
            j_end: piece.keys.end as u32,
        };
        let variant = kernels::Guide { alibi: self.alibi_slopes.is_some(), mask: mask.is_some() };
        let binds = [
            Bind::Read(plain.tensor.view()),
            Bind::maybe(slopes_view),
            Bind::maybe(mask.map(|(window, _)| window.view)),
            Bind::Write(tensor.view()),
        ];
        let pairs = (sequences * heads * records * cells * CELL * CELL) as f64;
        gpu.dispatch(variant, &params, &binds, spread(count, gpu.caps()), Work { flops: 0.0, bytes: pairs })?;
        let record = cells * (CELL + 1);
        let stride = |own: u32, words: usize| if own > 0 { words } else { 0 };
        let (by_head, by_sequence) = (stride(mask_h, records * record), stride(mask_b, heads * records * record));
        let (by_query, by_cell) = (stride(mask_i, cells), stride(mask_j, 1));
        let skipped = piece.heads.start * by_head + piece.queries.start / CELL * by_query * (CELL + 1) + piece.keys.start / CELL * by_cell;
        Ok(Guide {
            tensor,
            mask_base: (mask_at as u32).wrapping_sub(skipped as u32),
            mask_b: by_sequence as u32,
            mask_h: by_head as u32,
            mask_cells: cells as u32,
            mask_i: by_query as u32,
            mask_j: by_cell as u32,
            ..plain
        })
    }

    fn sequence_words(&self, piece: &Piece) -> Vec<i32> {
        let words = |s: &super::Sequence| {
            let [low, high] = self.options.shifts(s.offset);
            let [q_first, q_count, k_first, k_count, k_rows] = [s.q_first, s.q_count, s.k_first, s.k_count, s.k_rows].map(|n| n as i32);
            [q_first, q_count, k_first, k_count, low, high, s.offset as i32, k_rows, s.random as i32, (s.random >> 32) as i32, 0, 0]
        };
        self.sequences[piece.sequences.clone()].iter().flat_map(words).collect()
    }
}
