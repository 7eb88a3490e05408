//! The sizes of one call of attention, checked.

use super::{AttentionOptions, OP};
use crate::ops::host::{elements, expect_shape, list, misfit};
use crate::ops::{Request, broadcast};
use crate::{Array, DType, Error, Result};

/// The shapes of the tensors of a call, and the key lengths, whose values are checked too.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// How q, k and v are stored: f32 or f16.
    pub dtype: DType,
    /// `[batch, heads_q, seq_q, dim]`
    pub q: &'a [usize],
    /// `[batch, heads_kv, seq_k, dim]`
    pub k: &'a [usize],
    /// `[batch, heads_kv, seq_k, dim_v]`
    pub v: &'a [usize],
    /// Broadcastable to `[batch, heads_q, seq_q, seq_k]`.
    pub mask: Option<&'a [usize]>,
    /// Broadcastable to `[batch, heads_q, seq_q, seq_k]`.
    pub bias: Option<&'a [usize]>,
    /// The lengths themselves, `[batch]`, each at least 0 and at most seq_k.
    pub kv_lengths: Option<&'a [i32]>,
    /// `[heads_q]`
    pub alibi_slopes: Option<&'a [usize]>,
    /// `[batch, heads_q, seq_q, seq_k]`
    pub dropout_keep: Option<&'a [usize]>,
    /// `[batch, heads_q, seq_q, dim_v]`
    pub d_o: Option<&'a [usize]>,
}

impl<'a> Shapes<'a> {
    /// Of q, k and v stored as f32, with nothing else given.
    pub fn new(q: &'a [usize], k: &'a [usize], v: &'a [usize]) -> Self {
        let dtype = DType::F32;
        Shapes { dtype, q, k, v, mask: None, bias: None, kv_lengths: None, alibi_slopes: None, dropout_keep: None, d_o: None }
    }
}

/// A tensor that is repeated to `[batch, heads_q, seq_q, seq_k]` and read through strides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// The tensor's own shape, of at most four dimensions.
    pub shape: Vec<usize>,
    /// The strides, in elements, of batch, query head, query and key; 0 where the tensor is repeated.
    pub strides: [usize; 4],
}

/// One call of attention: every size, the options, and how mask and bias are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// How q, k and v are stored.
    pub dtype: DType,
    /// Independent sequences.
    pub batch: usize,
    /// Query heads.
    pub heads_q: usize,
    /// Key and value heads; heads_q is a multiple of it.
    pub heads_kv: usize,
    /// Queries of a sequence.
    pub seq_q: usize,
    /// Keys of a sequence.
    pub seq_k: usize,
    /// Elements of a query and of a key.
    pub dim: usize,
    /// Elements of a value.
    pub dim_v: usize,
    /// What q·k is multiplied by.
    pub scale: f32,
    /// The options, checked.
    pub options: AttentionOptions,
    /// The boolean mask.
    pub mask: Option<Broadcast>,
    /// The additive bias.
    pub bias: Option<Broadcast>,
    /// Visible keys of each sequence, `[batch]`.
    pub kv_lengths: Option<Vec<usize>>,
    /// Whether there are ALiBi slopes.
    pub alibi: bool,
    /// Whether the dropout mask is given and not drawn.
    pub dropout_keep: bool,
}

impl Problem {
    /// Checks that shapes, lengths and options fit together.
    ///
    /// # Errors
    /// [`Error::Shape`] for a tensor that does not fit the others, [`Error::Limit`] for one of more than 2³¹ elements,
    /// [`Error::Dtype`] when `dtype` is not a float, and [`Error::Argument`] for options or key lengths with values that are
    /// not accepted.
    pub fn new(shapes: &Shapes, options: &AttentionOptions) -> Result<Self> {
        options.check(OP)?;
        check_float(OP, shapes.dtype)?;
        let &[batch, heads_q, seq_q, dim] = shapes.q else {
            return Err(misfit(OP, "q", shapes.q, "[batch, heads_q, seq_q, dim]"));
        };
        let expected_k = format!("[{batch}, heads_kv, seq_k, {dim}] with heads_kv a divisor of q's {heads_q} heads");
        let &[_, heads_kv, seq_k, _] = shapes.k else {
            return Err(misfit(OP, "k", shapes.k, expected_k));
        };
        check_sizes(OP, [("q", shapes.q), ("k", shapes.k), ("v", shapes.v)])?;
        if shapes.k != [batch, heads_kv, seq_k, dim] || !heads_q.is_multiple_of(heads_kv) {
            return Err(misfit(OP, "k", shapes.k, expected_k));
        }
        let dim_v = match *shapes.v {
            [b, h, l, dim_v] if (b, h, l) == (batch, heads_kv, seq_k) => dim_v,
            _ => return Err(misfit(OP, "v", shapes.v, format!("[{batch}, {heads_kv}, {seq_k}, dim_v]"))),
        };
        let pairs = [batch, heads_q, seq_q, seq_k];
        let o = [batch, heads_q, seq_q, dim_v];
        elements(OP, "o", &o)?;
        if options.weights {
            elements(OP, "weights", &pairs)?;
        }
        let exactly = |name, shape: Option<&[usize]>, expected: &[usize]| shape.map_or(Ok(()), |got| expect_shape(OP, name, got, expected));
        exactly("alibi_slopes", shapes.alibi_slopes, &[heads_q])?;
        exactly("dropout_keep", shapes.dropout_keep, &pairs)?;
        exactly("d_o", shapes.d_o, &o)?;
        options.check_path(OP, [dim, dim_v], shapes.dropout_keep.is_some())?;
        if shapes.dropout_keep.is_some() && options.dropout_p == 0.0 {
            let expected = "a number p with 0 < p < 1 beside 'dropout_keep'".to_string();
            return Err(Error::Argument { op: OP, key: "dropout_p".into(), expected, got: "0".into() });
        }
        let broadcast = |name, shape: Option<&[usize]>| {
            let fit = |shape| Broadcast::new(shape, pairs).ok_or_else(|| misfit(OP, name, shape, format!("broadcastable to {pairs:?}")));
            shape.map(fit).transpose()
        };
        Ok(Problem {
            dtype: shapes.dtype,
            batch,
            heads_q,
            heads_kv,
            seq_q,
            seq_k,
            dim,
            dim_v,
            scale: options.scale_for(dim),
            options: *options,
            mask: broadcast("mask", shapes.mask)?,
            bias: broadcast("bias", shapes.bias)?,
            kv_lengths: shapes.kv_lengths.map(|lengths| checked_lengths(lengths, batch, seq_k)).transpose()?,
            alibi: shapes.alibi_slopes.is_some(),
            dropout_keep: shapes.dropout_keep.is_some(),
        })
    }

    /// The problem that a request poses.
    ///
    /// # Errors
    /// As [`Problem::new`], and [`Error::Argument`] for a key whose value does not parse.
    pub fn of(request: &Request) -> Result<Self> {
        let options = AttentionOptions::from_settings(OP, &request.settings)?;
        let shape = |name: &str| request.tensor(name).map(Array::shape);
        let kv_lengths = request.tensor("kv_lengths").map(|lengths| list(OP, "kv_lengths", "[batch]", lengths)).transpose()?;
        let shapes = Shapes {
            dtype: request.settings.dtype(OP)?,
            // `Request::new` has seen to it that q, k and v are there; an absent one would be refused for its rank.
            q: shape("q").unwrap_or_default(),
            k: shape("k").unwrap_or_default(),
            v: shape("v").unwrap_or_default(),
            mask: shape("mask"),
            bias: shape("bias"),
            kv_lengths,
            alibi_slopes: shape("alibi_slopes"),
            dropout_keep: shape("dropout_keep"),
            d_o: shape("d_o"),
        };
        Problem::new(&shapes, &options)
    }

    /// The number of keys of sequence `b` that its length leaves visible.
    pub fn keys_of(&self, b: usize) -> usize {
        self.kv_lengths.as_ref().map_or(self.seq_k, |lengths| lengths[b])
    }

    /// The (query, key) pairs of all sequences and query heads that causality, window and key lengths leave visible.
    pub fn pairs(&self) -> f64 {
        let of = |b| self.options.pairs(self.seq_q, self.options.offset as i64, self.keys_of(b));
        (0..self.batch).map(of).sum::<u64>() as f64 * self.heads_q as f64
    }
}

impl Broadcast {
    /// `None` when `shape` does not broadcast to `pairs`.
    fn new(shape: &[usize], pairs: [usize; 4]) -> Option<Self> {
        let strides = broadcast::strides(shape, &pairs)?;
        Some(Broadcast { shape: shape.to_vec(), strides: strides.try_into().ok()? })
    }
}

/// That q, k and v are of a type with kernels.
pub(crate) fn check_float(op: &'static str, dtype: DType) -> Result<()> {
    match dtype {
        DType::F32 | DType::F16 => Ok(()),
        other => Err(Error::Dtype { op, tensor: "q".into(), expected: "f32 or f16".into(), got: other.to_string() }),
    }
}

/// That no tensor is empty or has more elements than a kernel can count.
pub(crate) fn check_sizes(op: &'static str, tensors: [(&str, &[usize]); 3]) -> Result<()> {
    for (name, shape) in tensors {
        elements(op, name, shape)?;
    }
    Ok(())
}

fn checked_lengths(lengths: &[i32], batch: usize, seq_k: usize) -> Result<Vec<usize>> {
    expect_shape(OP, "kv_lengths", &[lengths.len()], &[batch])?;
    let checked = |(b, &length): (usize, &i32)| match usize::try_from(length) {
        Ok(length) if length <= seq_k => Ok(length),
        _ => Err(Error::Argument {
            op: OP,
            key: format!("kv_lengths[{b}]"),
            expected: format!("at least 0 and at most {seq_k}, the number of keys"),
            got: length.to_string(),
        }),
    };
    lengths.iter().enumerate().map(checked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(shapes: Shapes, options: AttentionOptions) -> String {
        Problem::new(&shapes, &options).unwrap_err().to_string()
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let good = Shapes::new(&[2, 4, 3, 8], &[2, 2, 5, 8], &[2, 2, 5, 6]);
        let plain = AttentionOptions::default();
        let problem = Problem::new(&good, &plain).unwrap();
        assert_eq!((problem.heads_kv, problem.seq_k, problem.dim_v), (2, 5, 6));
        assert_eq!(problem.scale, (1.0 / 8f64.sqrt()) as f32);

        let shapes = |message: &str, change: fn(&mut Shapes)| {
            let mut shapes = good;
            change(&mut shapes);
            let got = error(shapes, AttentionOptions { dropout_p: 0.5, ..plain });
            assert!(got.contains(message), "{got}");
        };
        shapes("'q' has shape [2, 4, 3]; expected [batch, heads_q, seq_q, dim]", |s| s.q = &[2, 4, 3]);
        shapes("'k' has shape [2, 5]", |s| s.k = &[2, 5]);
        shapes("'k' has shape [1, 2, 5, 8]", |s| s.k = &[1, 2, 5, 8]);
        shapes("'k' has shape [2, 2, 5, 7]; expected [2, heads_kv, seq_k, 8] with", |s| s.k = &[2, 2, 5, 7]);
        shapes("a divisor of q's 4 heads", |s| s.k = &[2, 3, 5, 8]);
        shapes("'k' has shape [2, 0, 5, 8]; expected every dimension", |s| s.k = &[2, 0, 5, 8]);
        shapes("'v' has shape [2, 4, 5, 6]; expected [2, 2, 5, dim_v]", |s| s.v = &[2, 4, 5, 6]);
        shapes("'v' has shape [6]", |s| s.v = &[6]);
        shapes("'mask' has shape [4, 5]; expected broadcastable to [2, 4, 3, 5]", |s| s.mask = Some(&[4, 5]));
        shapes("'bias' has shape [1, 2, 4, 3, 5]", |s| s.bias = Some(&[1, 2, 4, 3, 5]));
        shapes("'kv_lengths' has shape [3]; expected [2]", |s| s.kv_lengths = Some(&[1, 2, 3]));
        shapes("kv_lengths[1] = 6; expected at least 0 and at most 5", |s| s.kv_lengths = Some(&[0, 6]));
        shapes("kv_lengths[0] = -1", |s| s.kv_lengths = Some(&[-1, 6]));
        shapes("'alibi_slopes' has shape [2]; expected [4]", |s| s.alibi_slopes = Some(&[2]));
        shapes("'dropout_keep' has shape [3, 5]; expected [2, 4, 3, 5]", |s| s.dropout_keep = Some(&[3, 5]));
        shapes("'d_o' has shape [2, 4, 3, 8]; expected [2, 4, 3, 6]", |s| s.d_o = Some(&[2, 4, 3, 8]));
        shapes("'q' is i32; expected f32 or f16", |s| s.dtype = DType::I32);

        let options = |message: &str, options: AttentionOptions| {
            let got = error(Shapes { dropout_keep: Some(&[2, 4, 3, 5]), ..good }, options);
            assert!(got.contains(message), "{got}");
        };
        options("dropout_p = 0; expected a number p with 0 < p < 1 beside 'dropout_keep'", plain);
        options("dropout_p = 1", AttentionOptions { dropout_p: 1.0, ..plain });
        options("dropout_p = NaN", AttentionOptions { dropout_p: f32::NAN, ..plain });
        options("softcap = -1", AttentionOptions { softcap: -1.0, ..plain });
        options("scale = inf", AttentionOptions { scale: Some(f32::INFINITY), ..plain });
        let fused = AttentionOptions { path: super::super::Path::Fused, dropout_p: 0.5, ..plain };
        options("path = fused, which does not serve dropout_keep, only drawn dropout; expected auto or composed", fused);
        options("path = fused, which does not serve weights", AttentionOptions { weights: true, ..fused });
        let wide = Shapes::new(&[2, 4, 3, 257], &[2, 2, 5, 257], &[2, 2, 5, 6]);
        assert!(error(wide, fused).contains("path = fused, which does not serve a head dimension of 257, only up to 256"));
    }

    #[test]
    fn strides_of_mask_and_bias() {
        let mut shapes = Shapes::new(&[2, 4, 3, 8], &[2, 2, 5, 8], &[2, 2, 5, 6]);
        let strides = |shape| Broadcast::new(shape, [2, 4, 3, 5]).unwrap().strides;
        assert_eq!(strides(&[]), [0; 4]);
        assert_eq!(strides(&[5]), [0, 0, 0, 1]);
        assert_eq!(strides(&[3, 1]), [0, 0, 1, 0]);
        assert_eq!(strides(&[2, 1, 1, 5]), [5, 0, 0, 1]);
        assert_eq!(strides(&[2, 4, 3, 5]), [60, 15, 5, 1]);
        shapes.bias = Some(&[4, 1, 1]);
        let problem = Problem::new(&shapes, &AttentionOptions::default()).unwrap();
        assert_eq!(problem.bias.unwrap(), Broadcast { shape: vec![4, 1, 1], strides: [0, 1, 0, 0] });
    }
}
