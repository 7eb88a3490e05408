//! The reference: each head of each sequence is gathered from the packed tokens and goes through attention's reference.

use std::ops::Range;

use super::{OP, Problem, Sequence};
use crate::ops::attention::cpu::{Head, HeadResult, Keep, stored};
use crate::ops::host::required;
use crate::ops::real::add;
use crate::ops::{Real, References, Request, Values, parallel};
use crate::{Array, Result};

/// Packed tokens `[total, heads, width]`, of which one head at a time is read or written.
struct Packed<R> {
    data: Vec<R>,
    heads: usize,
    width: usize,
}

impl<R: Real> Packed<R> {
    fn zeros(total: usize, heads: usize, width: usize) -> Self {
        Packed { data: vec![R::ZERO; total * heads * width], heads, width }
    }

    /// Where head `h` of a token lies.
    fn at(&self, token: usize, h: usize) -> Range<usize> {
        let start = (token * self.heads + h) * self.width;
        start..start + self.width
    }

    /// `[tokens, width]` of head `h`.
    fn gather(&self, tokens: Range<usize>, h: usize) -> Vec<R> {
        tokens.flat_map(|token| self.data[self.at(token, h)].iter().copied()).collect()
    }

    /// The converse: adds the rows of `part` to head `h` of the tokens from `first` on.
    fn scatter_add(&mut self, first: usize, h: usize, part: &[R]) {
        for (i, row) in part.chunks_exact(self.width).enumerate() {
            let at = self.at(first + i, h);
            add(&mut self.data[at], row);
        }
    }
}

/// The outputs and, with an upstream gradient, the gradients.
///
/// # Errors
/// As [`Problem::of`].
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let Problem { heads_q, heads_kv, total_q, total_k, dim, dim_v, .. } = problem;
    let packed = |array: &Array, heads: usize, width: usize| Packed { data: stored::<R>(array, problem.dtype), heads, width };
    let q = packed(required(OP, request, "q")?, heads_q, dim);
    let k = packed(required(OP, request, "k")?, heads_kv, dim);
    let v = packed(required(OP, request, "v")?, heads_kv, dim_v);
    let d_o = request.tensor("d_o").map(|d_o| packed(d_o, heads_q, dim_v));

    let one = |n: usize| -> HeadResult<R> {
        let (Sequence { queries, keys, offset }, h) = (&problem.sequences[n / heads_q], n % heads_q);
        let h_kv = h * heads_kv / heads_q;
        let d_o = d_o.as_ref().map(|d_o| d_o.gather(queries.clone(), h));
        let head = Head {
            q: &q.gather(queries.clone(), h),
            k: &k.gather(keys.clone(), h_kv),
            v: &v.gather(keys.clone(), h_kv),
            d_o: d_o.as_deref(),
            dim,
            dim_v,
            scale: R::new(problem.scale as f64),
            options: &problem.options,
            offset: *offset,
            length: keys.len(),
            mask: None,
            bias: None,
            slope: None,
            keep: Keep::random(&problem.options, problem.dropout_element(h, queries.start, keys.start), total_k as u64),
        };
        head.run()
    };
    let heads = parallel::map(problem.sequences.len() * heads_q, one);

    let mut o = Packed::zeros(total_q, heads_q, dim_v);
    // A query without a sequence does not exist, so that every element of lse is set.
    let mut lse = Packed::zeros(total_q, heads_q, 1);
    let mut d_q = Packed::zeros(total_q, heads_q, dim);
    let mut d_k = Packed::zeros(total_k, heads_kv, dim);
    let mut d_v = Packed::zeros(total_k, heads_kv, dim_v);
    for (n, head) in heads.iter().enumerate() {
        let (Sequence { queries, keys, .. }, h) = (&problem.sequences[n / heads_q], n % heads_q);
        let h_kv = h * heads_kv / heads_q;
        o.scatter_add(queries.start, h, &head.o);
        lse.scatter_add(queries.start, h, &head.lse);
        d_q.scatter_add(queries.start, h, &head.d_q);
        // The gradients of a key and value head are the sums over the query heads that read it.
        d_k.scatter_add(keys.start, h_kv, &head.d_k);
        d_v.scatter_add(keys.start, h_kv, &head.d_v);
    }

    let mut out = References::new();
    let mut put = |name: &str, shape: &[usize], values: &[R]| out.insert(name.to_string(), Values::of(shape, values));
    put("o", &[total_q, heads_q, dim_v], &o.data);
    put("lse", &[total_q, heads_q], &lse.data);
    if d_o.is_some() {
        put("d_q", &[total_q, heads_q, dim], &d_q.data);
        put("d_k", &[total_k, heads_kv, dim], &d_k.data);
        put("d_v", &[total_k, heads_kv, dim_v], &d_v.data);
    }
    Ok(out)
}
