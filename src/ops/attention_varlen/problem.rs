//! The sizes of one call of attention over packed sequences, checked.

use std::ops::Range;

use super::OP;
use crate::ops::Request;
use crate::ops::attention::{AttentionOptions, check_float, check_sizes};
use crate::ops::host::{elements, expect_shape, list, misfit};
use crate::{Array, DType, Error, Result};

/// The shapes of the tensors of a call, and the boundaries of the sequences, whose values are checked too.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// How q, k and v are stored: f32 or f16.
    pub dtype: DType,
    /// `[total_q, heads_q, dim]`
    pub q: &'a [usize],
    /// `[total_k, heads_kv, dim]`
    pub k: &'a [usize],
    /// `[total_k, heads_kv, dim_v]`
    pub v: &'a [usize],
    /// Where the queries of each sequence start, and total_q: `[sequences + 1]`.
    pub cu_seqlens_q: &'a [i32],
    /// Where the keys of each sequence start, and total_k: `[sequences + 1]`.
    pub cu_seqlens_k: &'a [i32],
    /// `[total_q, heads_q, dim_v]`
    pub d_o: Option<&'a [usize]>,
}

/// The packed tokens of one sequence. Either range may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Its queries.
    pub queries: Range<usize>,
    /// Its keys.
    pub keys: Range<usize>,
    /// Query i of the sequence stands at position i + offset among the sequence's keys.
    pub offset: i64,
}

/// One call of attention over packed sequences.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// How q, k and v are stored.
    pub dtype: DType,
    /// Query heads.
    pub heads_q: usize,
    /// Key and value heads; heads_q is a multiple of it.
    pub heads_kv: usize,
    /// Queries of all sequences.
    pub total_q: usize,
    /// Keys of all sequences.
    pub total_k: usize,
    /// Elements of a query and of a key.
    pub dim: usize,
    /// Elements of a value.
    pub dim_v: usize,
    /// What q·k is multiplied by.
    pub scale: f32,
    /// The options, checked.
    pub options: AttentionOptions,
    /// The sequences, in order.
    pub sequences: Vec<Sequence>,
}

impl Problem {
    /// Checks that shapes, boundaries and options fit together.
    ///
    /// # Errors
    /// [`Error::Shape`] for a tensor that does not fit the others, [`Error::Limit`] for one of more than 2³¹ elements,
    /// [`Error::Dtype`] when `dtype` is not a float, and [`Error::Argument`] for options (`weights` included, which packed
    /// attention does not have) or boundaries with values that are not accepted: they start at 0, never decrease and end at
    /// the number of tokens.
    pub fn new(shapes: &Shapes, options: &AttentionOptions) -> Result<Self> {
        options.check(OP)?;
        if options.weights {
            return Err(Error::Argument { op: OP, key: "weights".into(), expected: "false".into(), got: "true".into() });
        }
        check_float(OP, shapes.dtype)?;
        let &[total_q, heads_q, dim] = shapes.q else {
            return Err(misfit(OP, "q", shapes.q, "[total_q, heads_q, dim]"));
        };
        let expected_k = format!("[total_k, heads_kv, {dim}] with heads_kv a divisor of q's {heads_q} heads");
        let &[total_k, heads_kv, _] = shapes.k else {
            return Err(misfit(OP, "k", shapes.k, expected_k));
        };
        check_sizes(OP, [("q", shapes.q), ("k", shapes.k), ("v", shapes.v)])?;
        if shapes.k != [total_k, heads_kv, dim] || !heads_q.is_multiple_of(heads_kv) {
            return Err(misfit(OP, "k", shapes.k, expected_k));
        }
        let dim_v = match *shapes.v {
            [total, heads, dim_v] if (total, heads) == (total_k, heads_kv) => dim_v,
            _ => return Err(misfit(OP, "v", shapes.v, format!("[{total_k}, {heads_kv}, dim_v]"))),
        };
        options.check_path(OP, [dim, dim_v], false)?;
        let o = [total_q, heads_q, dim_v];
        elements(OP, "o", &o)?;
        shapes.d_o.map_or(Ok(()), |d_o| expect_shape(OP, "d_o", d_o, &o))?;
        let queries = ranges("cu_seqlens_q", shapes.cu_seqlens_q, total_q)?;
        let keys = ranges("cu_seqlens_k", shapes.cu_seqlens_k, total_k)?;
        if queries.len() != keys.len() {
            return Err(misfit(OP, "cu_seqlens_k", &[keys.len() + 1], format!("[{}], as cu_seqlens_q", queries.len() + 1)));
        }
        let sequence = |(queries, keys): (Range<usize>, Range<usize>)| {
            // The last query stands at the last key.
            let offset = keys.len() as i64 - queries.len() as i64 + options.offset as i64;
            Sequence { queries, keys, offset }
        };
        Ok(Problem {
            dtype: shapes.dtype,
            heads_q,
            heads_kv,
            total_q,
            total_k,
            dim,
            dim_v,
            scale: options.scale_for(dim),
            options: *options,
            sequences: queries.into_iter().zip(keys).map(sequence).collect(),
        })
    }

    /// The problem that a request poses.
    ///
    /// # Errors
    /// As [`Problem::new`], and [`Error::Argument`] for a key whose value does not parse.
    pub fn of(request: &Request) -> Result<Self> {
        let options = AttentionOptions::from_settings(OP, &request.settings)?;
        let shape = |name: &str| request.tensor(name).map(Array::shape);
        let boundaries = |name: &str| match request.tensor(name) {
            Some(array) => list(OP, name, "[sequences + 1]", array),
            None => Ok(&[] as &[i32]),
        };
        let shapes = Shapes {
            dtype: request.settings.dtype(OP)?,
            // `Request::new` has seen to it that these are there; an absent one would be refused for its rank or length.
            q: shape("q").unwrap_or_default(),
            k: shape("k").unwrap_or_default(),
            v: shape("v").unwrap_or_default(),
            cu_seqlens_q: boundaries("cu_seqlens_q")?,
            cu_seqlens_k: boundaries("cu_seqlens_k")?,
            d_o: shape("d_o"),
        };
        Problem::new(&shapes, &options)
    }

    /// The element of the random numbers of dropout that belongs to packed query token `t` and packed key token `u` in query
    /// head `h`.
    pub fn dropout_element(&self, h: usize, t: usize, u: usize) -> u64 {
        (h * self.total_q + t) as u64 * self.total_k as u64 + u as u64
    }

    /// The (query, key) pairs of all sequences and query heads that causality and window leave visible.
    pub fn pairs(&self) -> f64 {
        let of = |s: &Sequence| self.options.pairs(s.queries.len(), s.offset, s.keys.len());
        self.sequences.iter().map(of).sum::<u64>() as f64 * self.heads_q as f64
    }
}

/// The ranges between successive boundaries.
fn ranges(name: &str, boundaries: &[i32], total: usize) -> Result<Vec<Range<usize>>> {
    let fault = |key: String, expected: String, got: String| Err(Error::Argument { op: OP, key, expected, got });
    if boundaries.first() != Some(&0) {
        let got = boundaries.first().map_or("absent".to_string(), i32::to_string);
        return fault(format!("{name}[0]"), "0".into(), got);
    }
    if let Some(n) = (1..boundaries.len()).find(|&n| boundaries[n] < boundaries[n - 1]) {
        return fault(format!("{name}[{n}]"), format!("at least {}, the boundary before it", boundaries[n - 1]), boundaries[n].to_string());
    }
    // Starting at 0 and never decreasing, none is negative.
    let ranges: Vec<Range<usize>> = boundaries.windows(2).map(|pair| pair[0] as usize..pair[1] as usize).collect();
    let end = ranges.last().map_or(0, |range| range.end);
    if end != total {
        return fault(format!("{name}[{}]", ranges.len()), format!("{total}, the number of tokens"), end.to_string());
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_does_not_fit() {
        let (q, k, v) = ([7, 4, 8], [9, 2, 8], [9, 2, 6]);
        let good = Shapes { dtype: DType::F32, q: &q, k: &k, v: &v, cu_seqlens_q: &[0, 3, 3, 7], cu_seqlens_k: &[0, 0, 4, 9], d_o: None };
        let plain = AttentionOptions { offset: -2, ..Default::default() };
        let problem = Problem::new(&good, &plain).unwrap();
        assert_eq!(problem.sequences[2], Sequence { queries: 3..7, keys: 4..9, offset: -1 });
        assert_eq!(problem.sequences[0].offset, -5);

        let wrong = |message: &str, change: fn(&mut Shapes)| {
            let mut shapes = good;
            change(&mut shapes);
            let got = Problem::new(&shapes, &plain).unwrap_err().to_string();
            assert!(got.contains(message), "{got}");
        };
        wrong("'q' has shape [1, 7, 4, 8]", |s| s.q = &[1, 7, 4, 8]);
        wrong("'k' has shape [9, 3, 8]; expected [total_k, heads_kv, 8] with heads_kv a divisor of q's 4 heads", |s| s.k = &[9, 3, 8]);
        wrong("'k' has shape [9, 2, 7]", |s| s.k = &[9, 2, 7]);
        wrong("'v' has shape [8, 2, 6]; expected [9, 2, dim_v]", |s| s.v = &[8, 2, 6]);
        wrong("'d_o' has shape [7, 4, 8]; expected [7, 4, 6]", |s| s.d_o = Some(&[7, 4, 8]));
        wrong("cu_seqlens_q[0] = 1; expected 0", |s| s.cu_seqlens_q = &[1, 3, 3, 7]);
        wrong("cu_seqlens_q[0] = absent", |s| s.cu_seqlens_q = &[]);
        wrong("cu_seqlens_q[2] = 2; expected at least 3", |s| s.cu_seqlens_q = &[0, 3, 2, 7]);
        wrong("cu_seqlens_q[3] = 8; expected 7, the number of tokens", |s| s.cu_seqlens_q = &[0, 3, 3, 8]);
        wrong("cu_seqlens_q[0] = 0; expected 7", |s| s.cu_seqlens_q = &[0]);
        wrong("cu_seqlens_k[1] = -1", |s| s.cu_seqlens_k = &[0, -1, 4, 9]);
        wrong("'cu_seqlens_k' has shape [3]; expected [4], as cu_seqlens_q", |s| s.cu_seqlens_k = &[0, 4, 9]);
    }
}
