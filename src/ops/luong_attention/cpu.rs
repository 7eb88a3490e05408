//! The reference of the scores of each kind, one batch element after the other.

use super::{OP, Problem, Score};
use crate::Result;
use crate::ops::additive_attention::cpu::{Element, ScoreGradients, Weights};
use crate::ops::context::Sequences;
use crate::ops::context::cpu::{Batch, element};
use crate::ops::host::{reals, required};
use crate::ops::real::{add, add_scaled, dot};
use crate::ops::{Real, References, Request, Values, parallel};

/// The least that a product of lengths counts as.
const EPS: f64 = 1e-8;

/// One batch element's queries and keys, and the parameters.
struct Sequence<'a, R> {
    score: Score,
    sizes: Sequences,
    /// `[Lq, Dq]`
    query: &'a [R],
    /// `[Lk, Dk]`
    keys: &'a [R],
    /// `[Lk]`
    visible: &'a [bool],
    /// Empty where the score has none, as v.
    w: &'a [R],
    v: &'a [R],
}

/// The gradients of one batch element, each in the shape of its tensor; empty where the score has none.
struct Gradients<R> {
    d_query: Vec<R>,
    d_keys: Vec<R>,
    d_w: Vec<R>,
    d_v: Vec<R>,
}

impl<'a, R: Real> Sequence<'a, R> {
    fn query(&self, i: usize) -> &'a [R] {
        element(self.query, i, self.sizes.dim_q)
    }

    fn key(&self, j: usize) -> &'a [R] {
        element(self.keys, j, self.sizes.dim_k)
    }

    /// Row a of the w of [`Score::General`].
    fn w(&self, a: usize) -> &'a [R] {
        element(self.w, a, self.sizes.dim_k)
    }

    /// Every query with every visible key.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.sizes.queries).flat_map(|i| (0..self.sizes.keys).filter(|&j| self.visible[j]).map(move |j| (i, j)))
    }

    /// w [q; k] = wq q + wk k: additive attention without a bias.
    fn concat<T>(&self, run: impl FnOnce(&Element<R>) -> T) -> T {
        let Sequences { dim_q, dim_k, .. } = self.sizes;
        let row = dim_q + dim_k;
        let weights = Weights { wq: self.w, wk: &self.w[dim_q..], row_q: row, row_k: row, b: None, v: self.v, dim_q, dim_k };
        run(&Element { weights: &weights, query: self.query, keys: self.keys, visible: self.visible })
    }

    /// max(|q||k|, EPS), and whether that is the lengths.
    fn norm(q: &[R], k: &[R]) -> (R, bool) {
        let n = dot(q, q).sqrt() * dot(k, k).sqrt();
        if n > R::new(EPS) { (n, true) } else { (R::new(EPS), false) }
    }

    /// s `[Lq, Lk]`; 0 where hidden.
    fn scores(&self) -> Vec<R> {
        if self.score == Score::Concat {
            return self.concat(|element| element.scores());
        }
        let mut scores = vec![R::ZERO; self.sizes.queries * self.sizes.keys];
        for (i, j) in self.pairs() {
            let (q, k) = (self.query(i), self.key(j));
            let s = match self.score {
                // q·w k = Σ_a q_a (w_a·k)
                Score::General => {
                    let mut s = R::ZERO;
                    q.iter().enumerate().for_each(|(a, &q)| s += q * dot(self.w(a), k));
                    s
                }
                Score::Cosine => dot(q, k) / Self::norm(q, k).0,
                _ => dot(q, k),
            };
            scores[i * self.sizes.keys + j] = s;
        }
        scores
    }

    fn backward(&self, d_scores: &[R]) -> Gradients<R> {
        let Sequences { dim_q, dim_k, .. } = self.sizes;
        if self.score == Score::Concat {
            let d: ScoreGradients<R> = self.concat(|element| element.backward(d_scores));
            // The gradients of wq and wk side by side.
            let row = |a: usize| [&d.d_wq[a * dim_q..][..dim_q], &d.d_wk[a * dim_k..][..dim_k]].concat();
            return Gradients { d_query: d.d_query, d_keys: d.d_keys, d_w: (0..self.v.len()).flat_map(row).collect(), d_v: d.d_v };
        }
        let zeros = |n: usize| vec![R::ZERO; n];
        let mut d = Gradients { d_query: zeros(self.query.len()), d_keys: zeros(self.keys.len()), d_w: zeros(self.w.len()), d_v: vec![] };
        for (i, j) in self.pairs() {
            let (q, k, ds) = (self.query(i), self.key(j), d_scores[i * self.sizes.keys + j]);
            let (d_q, d_k) = (&mut d.d_query[i * dim_q..][..dim_q], &mut d.d_keys[j * dim_k..][..dim_k]);
            match self.score {
                // s = Σ_a q_a (w_a·k):  d_q_a = ds w_a·k,  d_k = ds Σ_a q_a w_a,  d_w_a = ds q_a k
                Score::General => {
                    for (a, &q) in q.iter().enumerate() {
                        d_q[a] += ds * dot(self.w(a), k);
                        add_scaled(d_k, ds * q, self.w(a));
                        add_scaled(&mut d.d_w[a * dim_k..][..dim_k], ds * q, k);
                    }
                }
                // s = q·k / n,  n = |q||k|:  d_q = ds (k / n − s q / |q|²);  without the second term where n is EPS
                Score::Cosine => {
                    let (n, lengths) = Self::norm(q, k);
                    add_scaled(d_q, ds / n, k);
                    add_scaled(d_k, ds / n, q);
                    if lengths {
                        let s = dot(q, k) / n;
                        add_scaled(d_q, -(ds * s) / dot(q, q), q);
                        add_scaled(d_k, -(ds * s) / dot(k, k), k);
                    }
                }
                // s = q·k:  d_q = ds k,  d_k = ds q
                _ => {
                    add_scaled(d_q, ds, k);
                    add_scaled(d_k, ds, q);
                }
            }
        }
        d
    }
}

/// context and weights and, with an upstream gradient, every gradient.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let Problem { score, sizes, .. } = Problem::of(request)?;
    let Sequences { batch, queries, keys, dim_q, dim_k, .. } = sizes;
    let read = |name: &str| required(OP, request, name).map(reals::<R>);
    let optional = |name: &str| request.tensor(name).map(reals::<R>).unwrap_or_default();
    let (query, all_keys, w, v) = (read("query")?, read("keys")?, optional("w"), optional("v"));
    let rest = Batch::<R>::of(OP, request, sizes)?;
    let wanted = request.wants_gradients();

    let of = |n: usize| {
        let sequence = Sequence {
            score,
            sizes,
            query: element(&query, n, queries * dim_q),
            keys: element(&all_keys, n, keys * dim_k),
            visible: rest.visible(n),
            w: &w,
            v: &v,
        };
        let outcome = rest.run(n, &sequence.scores());
        let gradients = wanted.then(|| sequence.backward(&outcome.d_scores));
        (outcome, gradients)
    };
    let (outcomes, gradients): (Vec<_>, Vec<_>) = parallel::map(batch, of).into_iter().unzip();

    let mut results = rest.results(&outcomes);
    let Some(gradients) = gradients.into_iter().collect::<Option<Vec<Gradients<R>>>>() else { return Ok(results) };
    let mut put = |name: &str, shape: &[usize], values: Vec<R>| results.insert(name.to_string(), Values::of(shape, &values));
    put("d_query", &sizes.query_shape(), gradients.iter().flat_map(|d| d.d_query.iter().copied()).collect());
    put("d_keys", &sizes.keys_shape(), gradients.iter().flat_map(|d| d.d_keys.iter().copied()).collect());
    for (name, part) in [("w", (|d| &d.d_w) as fn(&Gradients<R>) -> &Vec<R>), ("v", |d| &d.d_v)] {
        if let Some(array) = request.tensor(name) {
            let mut sum = vec![R::ZERO; array.len()];
            gradients.iter().for_each(|d| add(&mut sum, part(d)));
            put(&format!("d_{name}"), array.shape(), sum);
        }
    }
    Ok(results)
}
