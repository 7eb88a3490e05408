//! The composed path: products, the masked softmax between them, and their gradients, block by block.
//!
//! A block is what the scratch matrices hold at a time: whole sequences, or some heads of one, or some rows of one head. The forward keeps
//! nothing but lse; the backward makes the scores of a block again.

use super::blocks::{Block, Composed, Plane, Strided};
use super::kernels::{Backward, Dropout, FILL_LANES, Fill, FillParams, Forward, PairsParams, ROW_DATA, ROW_LANES, RowData, RowsParams};
use crate::gpu::{Bind, Gpu, Tensor, View, Work, spread};
use crate::ops::product::{Extra, Matrices, Product};
use crate::ops::softmax::Rows;
use crate::ops::strided::Dims;
use crate::ops::sum::gpu::Reduction;
use crate::ops::{matmul, philox, weighted_sum};
use crate::{DType, Result};

/// Where the gradients go, beside what they are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upstream<'a> {
    pub o: Strided<'a>,
    pub lse: Strided<'a>,
    pub d_o: Strided<'a>,
    pub d_q: Strided<'a>,
    pub d_k: Strided<'a>,
    pub d_v: Strided<'a>,
    pub d_bias: Option<&'a Tensor>,
    pub d_alibi_slopes: Option<&'a Tensor>,
}

impl Composed<'_> {
    /// Room for the largest block, with `columns` elements in a row.
    fn scratch(&self, gpu: &Gpu, blocks: &[Block], columns: usize) -> Result<Tensor> {
        let rows = blocks.iter().map(Block::count).max().unwrap_or(1);
        gpu.empty(DType::F32, &[rows, columns])
    }

    /// o and lse, and the probabilities when `weights` is there to hold them.
    pub fn forward(&self, gpu: &Gpu, o: Strided, lse: Strided, weights: Option<&Tensor>) -> Result<()> {
        let blocks = self.blocks(gpu)?;
        let scratch = match weights {
            Some(weights) => weights.clone(),
            None => self.scratch(gpu, &blocks, self.seq_k)?,
        };
        for block in &blocks {
            let start = if weights.is_some() { self.row(block) * self.seq_k } else { 0 };
            let strides = block.strides(self.seq_k);
            let scores = Matrices { tensor: &scratch, start, row: self.seq_k, col: 1, batch: &strides };
            self.scores(gpu, block, scores)?;
            self.softmax(gpu, block, scores, lse)?;
            let (probs, v, o) = (scores, self.v.matrices(block, 0), o.matrices(block, block.i0));
            weighted_sum::gpu::run(gpu, &self.product(&block.sizes(), [block.rows, self.dim_v, self.seq_k], probs, v, o))?;
        }
        Ok(())
    }

    /// The gradients.
    pub fn backward(&self, gpu: &Gpu, upstream: &Upstream) -> Result<()> {
        let blocks = self.blocks(gpu)?;
        let matrix = || self.scratch(gpu, &blocks, self.seq_k);
        let (scores, d_probs) = (matrix()?, matrix()?);
        // Where each pair has a bias of its own, the gradient of the logits is that of the bias.
        let own = upstream.d_bias.filter(|_| self.has_own_biases());
        let d_logits = upstream.d_bias.filter(|_| own.is_none()).map(|_| matrix()).transpose()?;
        let row_data = self.scratch(gpu, &blocks, ROW_DATA)?;
        let d_slope = upstream.d_alibi_slopes.map(|_| gpu.empty(DType::F32, &[self.batch, self.heads_q, self.seq_q])).transpose()?;
        for block in &blocks {
            let (sizes, strides) = (block.sizes(), block.strides(self.seq_k));
            let [scores, d_probs] =
                [&scores, &d_probs].map(|tensor| Matrices { tensor, start: 0, row: self.seq_k, col: 1, batch: &strides });
            let d_o = upstream.d_o.matrices(block, block.i0);
            self.scores(gpu, block, scores)?;
            let values = self.v.matrices(block, 0).transposed();
            matmul::gpu::run(gpu, &self.product(&sizes, [block.rows, self.seq_k, self.dim_v], d_o, values, d_probs))?;
            self.row_data(gpu, block, upstream, &row_data)?;
            let elements = block.count() * self.seq_k;
            let logits = d_logits.as_ref().map(|scratch| scratch.window(0, elements));
            let logits = logits.or_else(|| own.map(|d_bias| d_bias.window(self.row(block) * self.seq_k, elements)));
            self.softmax_backward(gpu, block, [scores, d_probs], &row_data, logits, d_slope.as_ref())?;
            // From here on `scores` holds P and `d_probs` the gradient of the scores.
            let (q, k) = (self.q.matrices(block, block.i0), self.k.matrices(block, 0));
            let d_q = upstream.d_q.matrices(block, block.i0);
            let product = self.product(&sizes, [block.rows, self.dim, self.seq_k], d_probs, k, d_q);
            weighted_sum::gpu::run(gpu, &Product { scale: self.scale, ..product })?;
            // A key head gathers from all rows of all its query heads.
            let accumulate = block.i0 > 0 || block.g0 > 0;
            let gather = |product: Product| Product { accumulate, ..product }.repeated(|part| weighted_sum::gpu::run(gpu, part));
            let d_k = upstream.d_k.matrices(block, 0);
            let product = self.product(&sizes, [self.seq_k, self.dim, block.rows], d_probs.transposed(), q, d_k);
            gather(Product { scale: self.scale, ..product })?;
            let d_v = upstream.d_v.matrices(block, 0);
            gather(self.product(&sizes, [self.seq_k, self.dim_v, block.rows], scores.transposed(), d_o, d_v))?;
            if let Some((d_logits, d_bias)) = d_logits.as_ref().zip(upstream.d_bias) {
                self.sum_bias(gpu, block, d_logits, d_bias)?;
            }
        }
        if let Some((d_slope, y)) = d_slope.as_ref().zip(upstream.d_alibi_slopes) {
            let kept = Dims::new([(self.heads_q, [self.seq_q, 1])]);
            let summed = Dims::new([(self.batch, [self.heads_q * self.seq_q]), (self.seq_q, [1])]);
            Reduction { x: d_slope, y, start: [0, 0], kept, summed, scale: 1.0, accumulate: false }.run(gpu)?;
        }
        Ok(())
    }

    /// y = a b of a block; `sizes` are the block's own.
    fn product<'p>(&self, sizes: &'p [usize; 3], [m, n, k]: [usize; 3], a: Matrices<'p>, b: Matrices<'p>, y: Matrices<'p>) -> Product<'p> {
        Product { op: self.op, batch: sizes, m, n, k, scale: 1.0, accumulate: false, a, b, extra: Extra::None, y }
    }

    /// scale q kᵀ
    fn scores(&self, gpu: &Gpu, block: &Block, scores: Matrices) -> Result<()> {
        let (q, k) = (self.q.matrices(block, block.i0), self.k.matrices(block, 0).transposed());
        let sizes = block.sizes();
        let product = self.product(&sizes, [block.rows, self.seq_k, self.dim], q, k, scores);
        matmul::gpu::run(gpu, &Product { scale: self.scale, ..product })
    }

    fn dropout(&self) -> Dropout {
        match (self.options.dropout_p > 0.0, self.dropout_keep) {
            (false, _) => Dropout::None,
            (true, None) => Dropout::Random,
            (true, Some(_)) => Dropout::Given,
        }
    }

    /// The part of a plane that a block reaches, and the kernel's index of the element of (b, h, i, j) = 0.
    fn plane<'p>(&self, block: &Block, plane: Plane<'p>) -> (View<'p>, u32) {
        let heads = block.kv * block.group;
        let first = self.plane_start(block, plane.strides);
        let sizes = [block.batches, heads, block.rows, self.seq_k];
        let last = sizes.iter().zip(plane.strides).map(|(size, stride)| (size - 1) * stride).sum::<usize>();
        let view = plane.tensor.window(first, last + 1);
        (view, view.base().wrapping_sub(first as u32))
    }

    fn plane_start(&self, block: &Block, strides: [usize; 4]) -> usize {
        block.b0 * strides[0] + self.head(block) * strides[1] + block.i0 * strides[2]
    }

    /// The parameters of the kernels over pairs, but for the bases of what they bind.
    fn pairs(&self, block: &Block) -> PairsParams {
        let options = self.options;
        let [low, high] = options.shifts(self.offset);
        let strides = |plane: Option<Plane>| plane.map_or([0; 4], |plane| plane.strides.map(|s| s as u32));
        let ([mask_b, mask_h, mask_i, mask_j], [bias_b, bias_h, bias_i, bias_j]) = (strides(self.mask), strides(self.bias));
        let halves = |x: u64| (x as u32, (x >> 32) as u32);
        let (seed_low, seed_high) = halves(options.seed);
        let (random_start_low, random_start_high) = halves(self.elements.start);
        let (random_head_low, random_head_high) = halves(self.elements.head);
        PairsParams {
            rows: block.count() as u32,
            cols: self.seq_k as u32,
            per_head: block.rows as u32,
            i0: block.i0 as u32,
            bh0: (block.b0 * self.heads_q + self.head(block)) as u32,
            heads: self.heads_q as u32,
            low,
            high,
            // Only slopes make use of it, and packed sequences, whose offsets may have more than 32 bits, have none.
            offset: self.offset as i32,
            softcap: options.softcap,
            scores_base: 0,
            d_probs_base: 0,
            d_logits_base: 0,
            lse_base: 0,
            lse_head: 0,
            lse_row: 0,
            d_slope_base: 0,
            mask_base: 0,
            mask_b,
            mask_h,
            mask_i,
            mask_j,
            bias_base: 0,
            bias_b,
            bias_h,
            bias_i,
            bias_j,
            keep_base: 0,
            keep_scale: 1.0 / (1.0 - options.dropout_p),
            threshold: philox::drop_threshold(options.dropout_p),
            seed_low,
            seed_high,
            random_start_low,
            random_start_high,
            random_head_low,
            random_head_high,
            random_row: self.elements.row,
        }
    }

    /// The views of mask, bias and given dropout, whose bases go into the parameters.
    fn inputs<'p>(&'p self, block: &Block, params: &mut PairsParams) -> [Option<View<'p>>; 3] {
        let mask = self.mask.map(|mask| self.plane(block, mask));
        let bias = self.bias.map(|bias| self.plane(block, bias));
        let keep = self.dropout_keep.map(|keep| keep.window(self.row(block) * self.seq_k, block.count() * self.seq_k));
        params.mask_base = mask.map_or(0, |(_, base)| base);
        params.bias_base = bias.map_or(0, |(_, base)| base);
        params.keep_base = keep.map_or(0, |view| view.base());
        [mask.map(|(view, _)| view), bias.map(|(view, _)| view), keep]
    }

    /// From scores to probabilities, and lse.
    fn softmax(&self, gpu: &Gpu, block: &Block, scores: Matrices, lse: Strided) -> Result<()> {
        let elements = block.count() * self.seq_k;
        let mut params = self.pairs(block);
        let [mask, bias, keep] = self.inputs(block, &mut params);
        let scores = scores.tensor.window(scores.start, elements);
        let (lse_view, lse_base) = lse.window(block, 1);
        params.scores_base = scores.base();
        // lse counts heads over all batches; only one of the two strides differs where there are several.
        (params.lse_base, params.lse_head, params.lse_row) = (lse_base, lse.strides[2] as u32, lse.row as u32);
        let variant = Forward {
            rows: Rows::choose(gpu, self.op, self.seq_k)?,
            mask: mask.is_some(),
            bias: bias.is_some(),
            lengths: self.kv_lengths.is_some(),
            alibi: self.alibi_slopes.is_some(),
            dropout: self.dropout(),
        };
        let binds = [
            Bind::maybe(mask),
            Bind::maybe(bias),
            Bind::maybe(self.kv_lengths.map(Tensor::view)),
            Bind::maybe(self.alibi_slopes.map(Tensor::view)),
            Bind::maybe(keep),
            Bind::Write(scores),
            Bind::Write(lse_view),
        ];
        let work = Work { flops: 6.0 * elements as f64, bytes: 8.0 * elements as f64 };
        gpu.dispatch(variant, &params, &binds, spread(block.count(), gpu.caps()), work)
    }

    /// lse, delta, slope and key length of every row of a block.
    fn row_data(&self, gpu: &Gpu, block: &Block, upstream: &Upstream, row_data: &Tensor) -> Result<()> {
        let rows = block.count();
        let ((o, o_base), (d_o, d_o_base)) = (upstream.o.window(block, self.dim_v), upstream.d_o.window(block, self.dim_v));
        let (lse, lse_base) = upstream.lse.window(block, 1);
        let layout = upstream.o;
        let params = RowsParams {
            rows: rows as u32,
            per_head: block.rows as u32,
            i0: block.i0 as u32,
            bh0: (block.b0 * self.heads_q + self.head(block)) as u32,
            heads: self.heads_q as u32,
            cols: self.seq_k as u32,
            dim: self.dim_v as u32,
            o_base,
            o_batch: layout.strides[0] as u32,
            o_head: layout.strides[2] as u32,
            o_row: layout.row as u32,
            d_o_base,
            lse_base,
            lse_head: upstream.lse.strides[2] as u32,
            lse_row: upstream.lse.row as u32,
            row_data_base: 0,
        };
        let variant = RowData { d_o: upstream.d_o.tensor.dtype(), lengths: self.kv_lengths.is_some(), alibi: self.alibi_slopes.is_some() };
        let binds = [
            Bind::maybe(self.kv_lengths.map(Tensor::view)),
            Bind::maybe(self.alibi_slopes.map(Tensor::view)),
            Bind::Read(o),
            Bind::Read(lse),
            Bind::Read(d_o),
            Bind::Write(row_data.view()),
        ];
        let elements = (rows * self.dim_v) as f64;
        let work = Work { flops: 2.0 * elements, bytes: 8.0 * elements };
        gpu.dispatch(variant, &params, &binds, spread(rows.div_ceil(ROW_LANES), gpu.caps()), work)
    }

    /// From scores and the gradient of the probabilities to probabilities and the gradient of the scores.
    fn softmax_backward(
        &self,
        gpu: &Gpu,
        block: &Block,
        [scores, d_probs]: [Matrices; 2],
        row_data: &Tensor,
        d_logits: Option<View>,
        d_slope: Option<&Tensor>,
    ) -> Result<()> {
        let elements = block.count() * self.seq_k;
        let mut params = self.pairs(block);
        let [mask, bias, keep] = self.inputs(block, &mut params);
        let d_slope = d_slope.map(|d_slope| d_slope.window(self.row(block), block.count()));
        params.d_logits_base = d_logits.map_or(0, |view| view.base());
        params.d_slope_base = d_slope.map_or(0, |view| view.base());
        let variant = Backward {
            rows: Rows::choose(gpu, self.op, self.seq_k)?,
            mask: mask.is_some(),
            bias: bias.is_some(),
            dropout: self.dropout(),
            d_logits: d_logits.is_some(),
            d_slope: d_slope.is_some(),
        };
        let binds = [
            Bind::maybe(mask),
            Bind::maybe(bias),
            Bind::maybe(keep),
            Bind::Read(row_data.view()),
            Bind::Write(scores.tensor.window(0, elements)),
            Bind::Write(d_probs.tensor.window(0, elements)),
            Bind::maybe_write(d_logits),
            Bind::maybe_write(d_slope),
        ];
        let work = Work { flops: 10.0 * elements as f64, bytes: 16.0 * elements as f64 };
        gpu.dispatch(variant, &params, &binds, spread(block.count(), gpu.caps()), work)
    }

    /// Whether no element of the bias is shared by pairs.
    fn has_own_biases(&self) -> bool {
        let own = [self.heads_q * self.seq_q * self.seq_k, self.seq_q * self.seq_k, self.seq_k, 1];
        let sizes = [self.batch, self.heads_q, self.seq_q, self.seq_k];
        self.bias.is_some_and(|bias| (0..4).all(|axis| sizes[axis] == 1 || bias.strides[axis] == own[axis]))
    }

    /// Adds a block's gradient of the logits to that of the bias, summed where the bias was repeated.
    fn sum_bias(&self, gpu: &Gpu, block: &Block, d_logits: &Tensor, d_bias: &Tensor) -> Result<()> {
        let Some(Plane { strides, .. }) = self.bias else { return Ok(()) };
        let heads = block.kv * block.group;
        let rows = block.rows * self.seq_k;
        let dims = [(block.batches, heads * rows), (heads, rows), (block.rows, self.seq_k), (self.seq_k, 1)];
        let kept = (0..4).filter(|&axis| strides[axis] > 0).map(|axis| (dims[axis].0, [dims[axis].1, strides[axis]]));
        let summed = (0..4).filter(|&axis| strides[axis] == 0).map(|axis| (dims[axis].0, [dims[axis].1]));
        // Blocks come in the order of the rows, so the first one that reaches an element is at 0 along all that is summed.
        let origin = [block.b0, self.head(block), block.i0];
        let accumulate = (0..3).any(|axis| strides[axis] == 0 && origin[axis] > 0);
        let start = [0, self.plane_start(block, strides)];
        let (kept, summed) = (Dims::new(kept), Dims::new(summed));
        Reduction { x: d_logits, y: d_bias, start, kept, summed, scale: 1.0, accumulate }.run(gpu)
    }
}

/// Writes `value` to `count` elements of an f32 tensor from `first` on.
pub(crate) fn fill(gpu: &Gpu, tensor: &Tensor, first: usize, count: usize, value: f32) -> Result<()> {
    let piece = gpu.elements_at_once(4, count);
    for start in (0..count).step_by(piece) {
        let count = piece.min(count - start);
        let y = tensor.window(first + start, count);
        let params = FillParams { count: count as u32, y_base: y.base(), bits: value.to_bits(), padding: 0 };
        let work = Work { flops: 0.0, bytes: 4.0 * count as f64 };
        gpu.dispatch(Fill, &params, &[Bind::Write(y)], spread(count.div_ceil(FILL_LANES), gpu.caps()), work)?;
    }
    Ok(())
}
