//! The fused path: kernels that keep a tile of the logits in registers and never store the matrix.
//!
//! All sequences of a call are in one dispatch, described by a small table, the guide. A call is cut into pieces only where a tensor is
//! larger than a binding, where a dispatch would take too long, or where a driver limits loops.

mod backward;
mod forward;
mod guide;
pub(super) mod kernels;
mod pieces;
mod quads;
mod tile;

pub(crate) use backward::Upstream;

pub(crate) use tile::{FEW, MAX_DIM, Tile};

use kernels::{Common, FusedParams};
use pieces::{Piece, Window};

use super::blocks::Plane;
use super::{AttentionOptions, Path};
use crate::gpu::{Gpu, Tensor};
use crate::ops::philox;
use crate::{Error, Result};

/// A tensor with one row of `dim` elements for each query and head, or key and head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub tensor: &'a Tensor,
    pub dim: usize,
}

/// One sequence: rows of queries and of visible keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence {
    pub q_first: usize,
    pub q_count: usize,
    pub k_first: usize,
    /// The visible keys.
    pub k_count: usize,
    /// Those and the hidden ones at the end.
    pub k_rows: usize,
    /// Query i stands at key position i + offset.
    pub offset: i64,
    /// The first random element of dropout.
    pub random: u64,
}

/// One call. Query i of a head of a sequence is row `head · q_head + (q_first + i) · q_row` of every tensor of queries; the same for keys.
#[derive(Clone, Debug)]
pub(crate) struct Fused<'a> {
    pub op: &'static str,
    pub tile: Tile,
    pub heads_q: usize,
    pub heads_kv: usize,
    pub scale: f32,
    pub options: &'a AttentionOptions,
    pub sequences: Vec<Sequence>,
    pub q_head: usize,
    pub q_row: usize,
    pub k_head: usize,
    pub k_row: usize,
    pub q: Rows<'a>,
    pub k: Rows<'a>,
    pub v: Rows<'a>,
    pub mask: Option<Plane<'a>>,
    pub bias: Option<Plane<'a>>,
    pub alibi_slopes: Option<&'a Tensor>,
    /// Random elements from one head to the next, and from one query to the next.
    pub random_head: u64,
    pub random_row: u32,
}

/// The tile of the fused path, or `None` where the composed path is to serve a call on these tensors.
///
/// # Errors
/// [`Error::Dtype`] for `path: Fused` when k or v are not stored as q is, or d_o neither so nor as f32.
pub(crate) fn choose(
    gpu: &Gpu,
    op: &'static str,
    options: &AttentionOptions,
    [q, k, v]: [&Tensor; 3],
    d_o: Option<&Tensor>,
) -> Result<Option<Tile>> {
    let path = match options.path {
        // A handle that prefers the fused path gets it where it serves.
        Path::Auto => gpu.pinned().filter(|path| *path == Path::Composed).unwrap_or_default(),
        path => path,
    };
    let stored = |tensor: &Tensor| tensor.dtype() == q.dtype();
    let other = [("k", k), ("v", v)].into_iter().find(|(_, tensor)| !stored(tensor));
    let other = other.or(d_o.filter(|d_o| !kernels::Backward::serves(q.dtype(), d_o.dtype())).map(|d_o| ("d_o", d_o)));
    match (path, other) {
        (Path::Fused, Some((name, tensor))) => {
            let expected = format!("{}, as q, for the fused path", q.dtype());
            Err(Error::Dtype { op, tensor: name.into(), expected, got: tensor.dtype().to_string() })
        }
        (Path::Composed, _) | (_, Some(_)) => Ok(None),
        _ if options.weights => Ok(None),
        _ => Ok(Tile::choose(gpu, [q, v].iter().filter_map(|t| t.shape().last().copied()).max().unwrap_or(0), FEW + 1)),
    }
}

/// Whether the fused path has done it. What one of its bindings cannot hold is left to the composed path, unless the caller insists.
///
/// # Errors
/// Those of the run.
pub(crate) fn served(options: &AttentionOptions, run: Result<()>) -> Result<bool> {
    match run {
        Err(Error::Limit { .. }) if options.path == Path::Auto => Ok(false),
        run => run.map(|()| true),
    }
}

/// Elements to quads: of a window whose rows are whole quads.
fn in_quads(base: i64) -> u32 {
    (base / 4) as u32
}

impl Fused<'_> {
    fn common(&self) -> Common {
        let options = self.options;
        Common {
            tile: self.tile,
            elem: self.q.tensor.dtype(),
            mask: self.mask.is_some(),
            bias: self.bias.is_some(),
            extras: options.softcap > 0.0 || options.dropout_p > 0.0 || self.alibi_slopes.is_some(),
        }
    }

    /// The parameters of a piece, but for where its outputs begin.
    fn params(&self, piece: &Piece, guide: &guide::Guide) -> FusedParams {
        let options = self.options;
        let halves = |x: u64| (x as u32, (x >> 32) as u32);
        let (seed_low, seed_high) = halves(options.seed);
        let (random_head_low, random_head_high) = halves(self.random_head);
        let base = |window: Window| in_quads(window.base);
        let bias = self.bias.map(|bias| (self.pairs_of(piece, bias.tensor, bias.strides), bias.strides.map(|s| s as u32)));
        let (bias_base, [bias_b, bias_h, bias_i, bias_j]) = bias.map_or((0, [0; 4]), |(window, strides)| (window.base as u32, strides));
        FusedParams {
            i_begin: piece.queries.start as u32,
            i_end: piece.queries.end as u32,
            j_begin: piece.keys.start as u32,
            j_end: piece.keys.end as u32,
            q_head_begin: piece.heads.start as u32,
            q_head_end: piece.heads.end as u32,
            group: self.group() as u32,
            quads: (self.q.dim / 4) as u32,
            quads_v: (self.v.dim / 4) as u32,
            scale: self.scale,
            softcap: options.softcap,
            slopes: guide.slopes,
            keep_scale: 1.0 / (1.0 - options.dropout_p),
            threshold: philox::drop_threshold(options.dropout_p),
            seed_low,
            seed_high,
            random_head_low,
            random_head_high,
            random_row: self.random_row,
            q_head: self.q_head as u32,
            q_row: self.q_row as u32,
            k_head: self.k_head as u32,
            k_row: self.k_row as u32,
            q_base: base(self.queries_of(piece, self.q)),
            k_base: base(self.keys_of(piece, self.k)),
            v_base: base(self.keys_of(piece, self.v)),
            mask_base: guide.mask_base,
            mask_b: guide.mask_b,
            mask_h: guide.mask_h,
            mask_cells: guide.mask_cells,
            mask_i: guide.mask_i,
            mask_j: guide.mask_j,
            bias_base,
            bias_b,
            bias_h,
            bias_i,
            bias_j,
            ..FusedParams::default()
        }
    }
}
