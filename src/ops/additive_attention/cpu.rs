//! The reference of the scores, one batch element after the other. Those of Luong's concat are the same.

use super::{OP, Problem};
use crate::Result;
use crate::ops::context::Sequences;
use crate::ops::context::cpu::{Batch, element};
use crate::ops::host::{reals, required};
use crate::ops::real::{add, add_scaled, dot};
use crate::ops::{Real, References, Request, Values, parallel};

/// The parameters of additive scores. Row a of a weight is its first elements from `a · row` on.
pub(crate) struct Weights<'a, R> {
    pub wq: &'a [R],
    pub wk: &'a [R],
    /// Elements from one row of a weight to the next.
    pub row_q: usize,
    pub row_k: usize,
    pub b: Option<&'a [R]>,
    pub v: &'a [R],
    pub dim_q: usize,
    pub dim_k: usize,
}

/// One batch element's queries and keys.
pub(crate) struct Element<'a, R> {
    pub weights: &'a Weights<'a, R>,
    /// `[Lq, Dq]`
    pub query: &'a [R],
    /// `[Lk, Dk]`
    pub keys: &'a [R],
    /// `[Lk]`
    pub visible: &'a [bool],
}

/// The gradients of one batch element's scores, each in the shape of its tensor; those of the weights are `[A, Dq]` and `[A, Dk]`.
pub(crate) struct ScoreGradients<R> {
    pub d_query: Vec<R>,
    pub d_keys: Vec<R>,
    pub d_wq: Vec<R>,
    pub d_wk: Vec<R>,
    pub d_b: Vec<R>,
    pub d_v: Vec<R>,
}

impl<R: Real> Element<'_, R> {
    fn queries(&self) -> usize {
        self.query.len() / self.weights.dim_q
    }

    fn query(&self, i: usize) -> &[R] {
        &self.query[i * self.weights.dim_q..][..self.weights.dim_q]
    }

    fn key(&self, j: usize) -> &[R] {
        &self.keys[j * self.weights.dim_k..][..self.weights.dim_k]
    }

    fn shown(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.visible.len()).filter(|&j| self.visible[j])
    }

    /// x_i = wq query_i + b
    fn x(&self, i: usize) -> Vec<R> {
        let w = self.weights;
        let of = |a: usize| dot(&w.wq[a * w.row_q..][..w.dim_q], self.query(i)) + w.b.map_or(R::ZERO, |b| b[a]);
        (0..w.v.len()).map(of).collect()
    }

    /// y_j = wk keys_j
    fn y(&self, j: usize) -> Vec<R> {
        let w = self.weights;
        (0..w.v.len()).map(|a| dot(&w.wk[a * w.row_k..][..w.dim_k], self.key(j))).collect()
    }

    /// s_ij = Σ_a v_a tanh(x_ia + y_ja), `[Lq, Lk]`; 0 where hidden.
    pub(crate) fn scores(&self) -> Vec<R> {
        let keys = self.visible.len();
        let mut scores = vec![R::ZERO; self.queries() * keys];
        let x: Vec<Vec<R>> = (0..self.queries()).map(|i| self.x(i)).collect();
        for j in self.shown() {
            let y = self.y(j);
            for (i, x) in x.iter().enumerate() {
                let s = &mut scores[i * keys + j];
                x.iter().zip(&y).zip(self.weights.v).for_each(|((&x, &y), &v)| *s += v * (x + y).tanh());
            }
        }
        scores
    }

    /// The gradients from that of the scores, `[Lq, Lk]`.
    pub(crate) fn backward(&self, d_scores: &[R]) -> ScoreGradients<R> {
        let w = self.weights;
        let (keys, features) = (self.visible.len(), w.v.len());
        let zeros = |n: usize| vec![R::ZERO; n];
        let mut d = ScoreGradients {
            d_query: zeros(self.query.len()),
            d_keys: zeros(self.keys.len()),
            d_wq: zeros(features * w.dim_q),
            d_wk: zeros(features * w.dim_k),
            d_b: zeros(features),
            d_v: zeros(features),
        };
        let y: Vec<(usize, Vec<R>)> = self.shown().map(|j| (j, self.y(j))).collect();
        let mut d_y: Vec<Vec<R>> = y.iter().map(|_| zeros(features)).collect();
        for i in 0..self.queries() {
            let (x, mut d_x) = (self.x(i), zeros(features));
            for ((j, y), d_y) in y.iter().zip(&mut d_y) {
                let ds = d_scores[i * keys + j];
                for a in 0..features {
                    // s_ij = Σ_a v_a t:  d_v_a = Σ ds_ij t,  dx_ia = Σ_j ds_ij v_a (1 − t²),  dy_ja likewise
                    let t = (x[a] + y[a]).tanh();
                    d.d_v[a] += ds * t;
                    let dz = ds * (w.v[a] * (R::new(1.0) - t * t));
                    d_x[a] += dz;
                    d_y[a] += dz;
                }
            }
            for (a, &d_x) in d_x.iter().enumerate() {
                // x = wq query + b:  d_query = Σ_a dx_a wq_a,  d_wq_a = dx_a query,  d_b = dx
                add_scaled(&mut d.d_query[i * w.dim_q..][..w.dim_q], d_x, &w.wq[a * w.row_q..][..w.dim_q]);
                add_scaled(&mut d.d_wq[a * w.dim_q..][..w.dim_q], d_x, self.query(i));
                d.d_b[a] += d_x;
            }
        }
        for ((j, _), d_y) in y.iter().zip(&d_y) {
            for (a, &d_y) in d_y.iter().enumerate() {
                // y = wk keys:  d_keys = Σ_a dy_a wk_a,  d_wk_a = dy_a keys
                add_scaled(&mut d.d_keys[j * w.dim_k..][..w.dim_k], d_y, &w.wk[a * w.row_k..][..w.dim_k]);
                add_scaled(&mut d.d_wk[a * w.dim_k..][..w.dim_k], d_y, self.key(*j));
            }
        }
        d
    }
}

/// context and weights and, with an upstream gradient, every gradient.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let Problem { sizes, features } = Problem::of(request)?;
    let Sequences { batch, queries, keys, dim_q, dim_k, .. } = sizes;
    let read = |name: &str| required(OP, request, name).map(reals::<R>);
    let (query, all_keys) = (read("query")?, read("keys")?);
    let (wq, wk, b, v) = (read("wq")?, read("wk")?, read("b")?, read("v")?);
    let weights = Weights { wq: &wq, wk: &wk, row_q: dim_q, row_k: dim_k, b: Some(&b), v: &v, dim_q, dim_k };
    let rest = Batch::<R>::of(OP, request, sizes)?;
    let wanted = request.wants_gradients();

    let of = |n: usize| {
        let element = Element {
            weights: &weights,
            query: element(&query, n, queries * dim_q),
            keys: element(&all_keys, n, keys * dim_k),
            visible: rest.visible(n),
        };
        let outcome = rest.run(n, &element.scores());
        let gradients = wanted.then(|| element.backward(&outcome.d_scores));
        (outcome, gradients)
    };
    let (outcomes, gradients): (Vec<_>, Vec<_>) = parallel::map(batch, of).into_iter().unzip();

    let mut results = rest.results(&outcomes);
    let Some(gradients) = gradients.into_iter().collect::<Option<Vec<ScoreGradients<R>>>>() else { return Ok(results) };
    let mut put = |name: &str, shape: &[usize], values: Vec<R>| results.insert(name.to_string(), Values::of(shape, &values));
    put("d_query", &sizes.query_shape(), gradients.iter().flat_map(|d| d.d_query.iter().copied()).collect());
    put("d_keys", &sizes.keys_shape(), gradients.iter().flat_map(|d| d.d_keys.iter().copied()).collect());
    let summed = |part: fn(&ScoreGradients<R>) -> &Vec<R>| {
        let mut sum = vec![R::ZERO; part(&gradients[0]).len()];
        gradients.iter().for_each(|d| add(&mut sum, part(d)));
        sum
    };
    put("d_wq", &[features, dim_q], summed(|d| &d.d_wq));
    put("d_wk", &[features, dim_k], summed(|d| &d.d_wk));
    put("d_b", &[features], summed(|d| &d.d_b));
    put("d_v", &[features], summed(|d| &d.d_v));
    Ok(results)
}
