//! Keys and values of the tokens so far, kept on the device for decoding a few tokens at a time.
//!
//! Two tensors hold `capacity` rows for each key head, of which the first `kept` are filled; causality hides the rest, since the last query
//! stands at the last key. When new tokens do not fit, what is still needed of the old ones moves to the front of larger tensors, or of
//! others as large.

use super::AttentionOptions;
use super::copy::{Runs, copy};
use super::gpu::{Attended, Inputs, forward};
use crate::gpu::{Gpu, Tensor};
use crate::ops::host::{elements, expect_dtype, misfit};
use crate::{DType, Error, Result};

const OP: &str = "kv_cache";

/// The sizes of a [`KvCache`] that never change, each at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Sequences that are decoded together, all of the same length.
    pub batch: usize,
    /// Key and value heads.
    pub heads_kv: usize,
    /// Elements of a query and of a key.
    pub dim: usize,
    /// Elements of a value.
    pub dim_v: usize,
}

/// What a caller may choose about a [`KvCache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// Tokens of each sequence that there is room for at first, at least 1; more room is made when it is needed.
    pub capacity: usize,
    /// Keys before its own that a query sees, as [`AttentionOptions::window_left`]. What no later query sees is dropped. `None` keeps all.
    pub window_left: Option<u32>,
}

impl Default for CacheOptions {
    /// Room for 256 tokens at first, all of which are kept.
    fn default() -> Self {
        CacheOptions { capacity: 256, window_left: None }
    }
}

/// Keys and values of the tokens so far, on the device: what decoding a sequence a few tokens at a time does not compute again.
///
/// Each step appends the keys and values of n new tokens, the same number for every batch element, and attends with their n queries. That
/// gives what causal attention over the whole sequence gives for its last n rows.
///
/// A step costs O(batch · heads_q · n · capacity · (dim + dim_v)), and moving keys costs amortised O(1) rows for each appended one. Without
/// a window the capacity doubles, so it stays below twice the number of tokens (or at what it was at first). With a window of W it stays
/// within 2 (W + n) for the largest n that was appended (or at what it was at first). While keys move, the old and the new tensors are
/// there together. Where twice the room is refused ([`Error::OutOfMemory`], [`Error::Limit`]), just enough is taken.
///
/// When not to use it: for training, since there is no backward; for sequences of different lengths, whose tokens would need key lengths
/// of their own.
///
/// ```
/// use wattn::DType;
/// use wattn::ops::attention::{AttentionOptions, CacheOptions, CacheShape, KvCache};
/// # let gpu = wattn::Gpu::new(&wattn::GpuOptions::default())?;
/// let shape = CacheShape { batch: 1, heads_kv: 1, dim: 2, dim_v: 1 };
/// let mut cache = KvCache::new(&gpu, &shape, DType::F32, &CacheOptions::default())?;
/// let ones = gpu.tensor(&[1.0f32, 1.0], &[1, 1, 1, 2])?; // [batch, heads, n, dim]
/// for (value, mean) in [(2.0f32, 2.0), (4.0, 3.0), (9.0, 5.0)] {
///     cache.append(&gpu, &ones, &gpu.tensor(&[value], &[1, 1, 1, 1])?)?;
///     let attended = cache.attend(&gpu, &ones, None, &AttentionOptions::default())?;
///     // The keys are all alike, so each token takes the mean of the values so far.
///     assert!((attended.o.read_blocking::<f32>()?[0] - mean).abs() < 1e-6);
/// }
/// assert_eq!((cache.len(), cache.capacity()), (3, 256));
/// # Ok::<(), wattn::Error>(())
/// ```
#[derive(Debug)]
pub struct KvCache {
    shape: CacheShape,
    window_left: Option<u32>,
    /// `[batch, heads_kv, capacity, dim]`
    k: Tensor,
    /// `[batch, heads_kv, capacity, dim_v]`
    v: Tensor,
    /// Tokens appended so far.
    len: usize,
    /// Rows that hold the last of them.
    kept: usize,
    /// The position of the first token that a query of the last append may see. None from there on has been dropped.
    oldest: usize,
}

impl KvCache {
    /// An empty cache that stores keys and values as `dtype`, f32 or f16.
    ///
    /// # Errors
    /// [`Error::Dtype`] for another type, or for f16 on a device without it; [`Error::Shape`] when a size or the capacity is 0;
    /// [`Error::Limit`] for more than 2³¹ elements or more bytes than a buffer holds; [`Error::OutOfMemory`], [`Error::DeviceLost`].
    pub fn new(gpu: &Gpu, shape: &CacheShape, dtype: DType, options: &CacheOptions) -> Result<Self> {
        if !matches!(dtype, DType::F32 | DType::F16) {
            return Err(Error::Dtype { op: OP, tensor: "k".into(), expected: "f32 or f16".into(), got: dtype.to_string() });
        }
        let [k, v] = allocate(gpu, shape, dtype, options.capacity)?;
        Ok(KvCache { shape: *shape, window_left: options.window_left, k, v, len: 0, kept: 0, oldest: 0 })
    }

    /// Appends n tokens for every batch element: k `[batch, heads_kv, n, dim]` and v `[batch, heads_kv, n, dim_v]`, stored as the cache is.
    /// They are copied on the device, O(batch · heads_kv · n · (dim + dim_v)), and with them the keys still needed when all of them have to
    /// move.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Dtype`] for tensors that do not fit; [`Error::Limit`], [`Error::OutOfMemory`] when there is no room
    /// for them; those of [`Gpu::dispatch`]. The cache is then what it was before.
    pub fn append(&mut self, gpu: &Gpu, k: &Tensor, v: &Tensor) -> Result<()> {
        let n = self.tokens(k, v)?;
        // No kernel reads and writes one buffer: tensors that are the cache's own are appended to others.
        let own = |tensor: &Tensor| [&self.k, &self.v].iter().any(|mine| mine.buffer() == tensor.buffer());
        let fits = n <= self.capacity() - self.kept && !own(k) && !own(v);
        let (tensors, start) = if fits { ([self.k.clone(), self.v.clone()], self.kept) } else { self.moved(gpu, n)? };
        for (from, to) in [k, v].into_iter().zip(&tensors) {
            copy_rows(gpu, (from, 0), (to, start), n)?;
        }
        [self.k, self.v] = tensors;
        self.oldest = self.window_left.map_or(0, |window| self.len.saturating_sub(window as usize));
        self.kept = start + n;
        self.len += n;
        Ok(())
    }

    /// Attention of the last n tokens over the cache, for their queries q `[batch, heads_q, n, dim]`: causal, and the last query stands at
    /// the last key. `alibi_slopes` are f32 `[heads_q]`. O(batch · heads_q · n · capacity · (dim + dim_v)).
    ///
    /// Of the options, `causal` is always on, and without a `window_left` of its own the cache's is taken. `scale`, `softcap`,
    /// `window_right` and `path` are as in [`forward`]. With `weights` these are `[batch, heads_q, n, capacity]`, over the rows of
    /// [`k`](Self::k).
    ///
    /// # Errors
    /// [`Error::Shape`] for a q that does not fit, or of more tokens than there are; a cache with a window serves the tokens of the last
    /// append, and earlier ones only where a smaller `window_left` leaves out the keys that may be gone. [`Error::Argument`] for an
    /// `offset`, which the cache knows; for a `window_left` beyond the cache's; for dropout, whose random numbers would depend on the
    /// capacity. Those of [`forward`].
    pub fn attend(&self, gpu: &Gpu, q: &Tensor, alibi_slopes: Option<&Tensor>, options: &AttentionOptions) -> Result<Attended> {
        let window_left = self.window(options)?;
        let n = self.queries(q, window_left)?;
        // With the last query at the last key, causality hides every row after it.
        let offset = self.kept - n;
        let limit = i32::MAX as u64;
        let offset = i32::try_from(offset).map_err(|_| Error::Limit { op: OP, what: "keys before q".into(), limit, got: offset as u64 })?;
        let inputs = Inputs { alibi_slopes, ..Inputs::new(q, &self.k, &self.v) };
        forward(gpu, &inputs, &AttentionOptions { causal: true, offset, window_left, ..*options })
    }

    /// Forgets all tokens and keeps the memory.
    pub fn clear(&mut self) {
        (self.len, self.kept, self.oldest) = (0, 0, 0);
    }

    /// Tokens of each sequence that were appended since the start or [`clear`](Self::clear).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens whose keys and values are still there: all of them, or with a window at least those that a later query can see.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Tokens that there is room for.
    pub fn capacity(&self) -> usize {
        self.k.shape()[2]
    }

    /// The keys, `[batch, heads_kv, capacity, dim]`: those of the last [`kept`](Self::kept) tokens, then rows that hold anything. A clone
    /// shares the memory, so that a later append shows in it, until keys move elsewhere.
    pub fn k(&self) -> &Tensor {
        &self.k
    }

    /// The values, `[batch, heads_kv, capacity, dim_v]`, as [`k`](Self::k).
    pub fn v(&self) -> &Tensor {
        &self.v
    }

    /// The number of tokens of k and v, once they are known to fit.
    fn tokens(&self, k: &Tensor, v: &Tensor) -> Result<usize> {
        let CacheShape { batch, heads_kv, dim, dim_v } = self.shape;
        let n = match *k.shape() {
            [b, h, n, d] if (b, h, d) == (batch, heads_kv, dim) => n,
            _ => return Err(misfit(OP, "k", k.shape(), format!("[{batch}, {heads_kv}, n, {dim}]"))),
        };
        if v.shape() != [batch, heads_kv, n, dim_v] {
            return Err(misfit(OP, "v", v.shape(), format!("[{batch}, {heads_kv}, {n}, {dim_v}]")));
        }
        expect_dtype(OP, "k", k, self.k.dtype())?;
        expect_dtype(OP, "v", v, self.v.dtype())?;
        Ok(n)
    }

    /// Other tensors with room for n more tokens, which hold what is still needed of the old ones, and the number of rows that this is.
    fn moved(&self, gpu: &Gpu, n: usize) -> Result<([Tensor; 2], usize)> {
        let (dtype, window) = (self.k.dtype(), self.window_left.map(|window| window as usize));
        let Room { retained, needed, wanted } = Room::new(self.kept, self.capacity(), n, window);
        let tensors = match allocate(gpu, &self.shape, dtype, wanted) {
            Err(Error::Limit { .. } | Error::OutOfMemory { .. }) if wanted > needed => allocate(gpu, &self.shape, dtype, needed)?,
            other => other?,
        };
        if retained > 0 {
            for (from, to) in [&self.k, &self.v].into_iter().zip(&tensors) {
                copy_rows(gpu, (from, self.kept - retained), (to, 0), retained)?;
            }
        }
        Ok((tensors, retained))
    }

    /// The window that `attend` uses, once the options are known to be such as a cache can serve.
    fn window(&self, options: &AttentionOptions) -> Result<Option<u32>> {
        let fault = |key: &str, expected: String, got: String| Err(Error::Argument { op: OP, key: key.into(), expected, got });
        if options.offset != 0 {
            return fault("offset", "0: the last query stands at the last key".into(), options.offset.to_string());
        }
        if options.dropout_p != 0.0 {
            return fault("dropout_p", "0".into(), options.dropout_p.to_string());
        }
        match (options.window_left, self.window_left) {
            (Some(got), Some(most)) if got > most => fault("window_left", format!("at most {most}, the cache's"), got.to_string()),
            (own, cache) => Ok(own.or(cache)),
        }
    }

    /// The number of queries, once q is known to fit and every key that it sees to be there.
    fn queries(&self, q: &Tensor, window_left: Option<u32>) -> Result<usize> {
        let CacheShape { batch, heads_kv, dim, .. } = self.shape;
        // A query at p sees no key before p - window; the first of n queries stands at len - n.
        let window = window_left.map_or(0, |window| window as usize);
        let most = if self.oldest == 0 { self.len } else { self.len - self.oldest - window };
        match *q.shape() {
            [b, h, n, d] if (b, d) == (batch, dim) && h.is_multiple_of(heads_kv) && n <= most => Ok(n),
            _ => {
                let expected = format!("[{batch}, heads_q, n, {dim}] with heads_q a multiple of {heads_kv} and n at most {most}");
                Err(misfit(OP, "q", q.shape(), format!("{expected}, the last tokens whose keys are all there")))
            }
        }
    }
}

/// Keys and values for so many tokens, holding anything.
fn allocate(gpu: &Gpu, shape: &CacheShape, dtype: DType, capacity: usize) -> Result<[Tensor; 2]> {
    let of = |dim: usize| [shape.batch, shape.heads_kv, capacity, dim];
    elements(OP, "k", &of(shape.dim))?;
    elements(OP, "v", &of(shape.dim_v))?;
    Ok([gpu.empty(dtype, &of(shape.dim))?, gpu.empty(dtype, &of(shape.dim_v))?])
}

/// Copies `rows` rows of every head, from row `i` of one tensor to row `j` of the other.
fn copy_rows(gpu: &Gpu, (from, i): (&Tensor, usize), (to, j): (&Tensor, usize), rows: usize) -> Result<()> {
    let &[batch, heads, _, dim] = to.shape() else { unreachable!("keys and values have four dimensions") };
    let runs = |tensor, row: usize, seq: usize| Runs { tensor, start: row * dim, stride: seq * dim };
    let (from, to) = (runs(from, i, from.shape()[2]), runs(to, j, to.shape()[2]));
    copy(gpu, OP, from, to, [batch * heads, rows * dim])
}

/// What an append of n tokens that do not fit asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    /// The last rows of the old tensors, which the new tokens still see.
    retained: usize,
    /// The least capacity that will do.
    needed: usize,
    /// The capacity that keeps the next move away for long enough.
    wanted: usize,
}

impl Room {
    fn new(kept: usize, capacity: usize, n: usize, window: Option<usize>) -> Self {
        let retained = window.map_or(kept, |window| kept.min(window));
        let needed = retained.saturating_add(n);
        // Twice what steps like this one need: between two moves there come as many tokens as one of them copies.
        let enough = window.map_or(usize::MAX, |window| window.saturating_add(n).saturating_mul(2));
        Room { retained, needed, wanted: capacity.saturating_mul(2).min(enough).max(needed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::philox::Rng;

    /// Appends steps of random sizes: how far the capacity grows, and how many rows move.
    #[test]
    fn room_is_bounded_and_rarely_moves() {
        let mut rng = Rng::new(1);
        for (window, first, largest) in [
            (None, 1, 1),
            (None, 1, 40),
            (None, 1000, 300),
            (Some(0), 1, 1),
            (Some(1), 1, 9),
            (Some(50), 1, 1),
            (Some(50), 7, 200),
            (Some(64), 5000, 3),
        ] {
            let (mut kept, mut capacity, mut len, mut copied) = (0usize, first, 0usize, 0usize);
            for _ in 0..2000 {
                // A prompt now and then, single tokens otherwise.
                let draw = rng.normals(2);
                let n = if draw[0] > 1.5 { 1 + (draw[1].abs() * largest as f32 / 4.0) as usize % largest } else { 1 };
                if kept + n > capacity {
                    let room = Room::new(kept, capacity, n, window);
                    assert!(room.retained <= kept && room.retained == window.unwrap_or(kept).min(kept));
                    assert!(room.needed == room.retained + n && room.wanted >= room.needed);
                    copied += room.retained;
                    (kept, capacity) = (room.retained, room.wanted);
                }
                kept += n;
                len += n;
                assert!(kept <= capacity && kept >= window.map_or(len, |window| len.min(window + n)));
                let bound = window.map_or(2 * len, |window| 2 * (window + largest));
                assert!(capacity <= bound.max(first), "window {window:?}: {capacity} rows for {len} tokens");
                assert!(copied <= 2 * len, "window {window:?}: {copied} rows moved for {len} tokens");
            }
        }
    }

    #[test]
    fn room_is_what_the_limits_of_numbers_allow() {
        let room = Room::new(1, usize::MAX / 2 + 1, usize::MAX, Some(u32::MAX as usize));
        assert_eq!((room.retained, room.needed, room.wanted), (1, usize::MAX, usize::MAX));
    }
}
