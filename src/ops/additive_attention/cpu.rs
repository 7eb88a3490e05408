//! The reference, one batch element after the other. What comes after the scores is Luong attention's as well.

use super::{OP, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values, parallel};

/// The queries of one batch element, from their scores on. Only visible keys are looked at.
pub(crate) struct Scored<'a, R> {
    /// `[Lq, Lk]`
    pub scores: &'a [R],
    /// `[Lk]`
    pub visible: &'a [bool],
    /// `[Lk, Dv]`
    pub values: &'a [R],
    pub dim_v: usize,
}

/// What the scores of one batch element lead to.
pub(crate) struct Outcome<R> {
    /// `[Lq, Dv]`
    pub context: Vec<R>,
    /// `[Lq, Lk]`
    pub weights: Vec<R>,
    /// `[Lq, Lk]`, 0 where hidden; empty without an upstream gradient, as is d_values.
    pub d_scores: Vec<R>,
    /// `[Lk, Dv]`
    pub d_values: Vec<R>,
}

impl<R: Real> Scored<'_, R> {
    /// Context and weights and, when gradients are wanted, those of scores and values.
    pub(crate) fn run(&self, wanted: bool, d_context: Option<&[R]>, d_weights: Option<&[R]>) -> Outcome<R> {
        let (keys, dim) = (self.visible.len(), self.dim_v);
        let queries = self.scores.len() / keys;
        let shown: Vec<usize> = (0..keys).filter(|&j| self.visible[j]).collect();
        let zeros = |wanted: bool, n: usize| vec![R::ZERO; if wanted { n } else { 0 }];
        let mut out = Outcome {
            context: zeros(true, queries * dim),
            weights: zeros(true, queries * keys),
            d_scores: zeros(wanted, queries * keys),
            d_values: zeros(wanted, keys * dim),
        };
        for i in 0..queries {
            let s = |j: usize| self.scores[i * keys + j];
            // m = max_j s_ij,  l = Σ_j exp(s_ij − m),  weights_ij = exp(s_ij − m) / l
            let Some(m) = shown.iter().map(|&j| s(j)).reduce(|m, s| if s > m { s } else { m }) else { continue };
            let mut l = R::ZERO;
            shown.iter().for_each(|&j| l += (s(j) - m).exp());
            // context_i = Σ_j weights_ij values_j
            for &j in &shown {
                let weight = (s(j) - m).exp() / l;
                out.weights[i * keys + j] = weight;
                add_scaled(&mut out.context[i * dim..][..dim], weight, &self.values[j * dim..][..dim]);
            }
            if !wanted {
                continue;
            }
            // dW_ij = d_weights_ij + d_context_i·values_j,  d_values_j = Σ_i weights_ij d_context_i
            let mut all = zeros(true, keys);
            for &j in &shown {
                if let Some(d_weights) = d_weights {
                    all[j] += d_weights[i * keys + j];
                }
                if let Some(d_context) = d_context {
                    let d_context = &d_context[i * dim..][..dim];
                    all[j] += dot(d_context, &self.values[j * dim..][..dim]);
                    add_scaled(&mut out.d_values[j * dim..][..dim], out.weights[i * keys + j], d_context);
                }
            }
            // ds_ij = weights_ij (dW_ij − Σ_j weights_ij dW_ij)
            let mut sum = R::ZERO;
            shown.iter().for_each(|&j| sum += out.weights[i * keys + j] * all[j]);
            shown.iter().for_each(|&j| out.d_scores[i * keys + j] = out.weights[i * keys + j] * (all[j] - sum));
        }
        out
    }
}

/// Where the key mask is not 0, `[batch, Lk]`.
pub(crate) fn visible_keys(request: &Request, count: usize) -> Vec<bool> {
    request.tensor("key_mask").map_or_else(|| vec![true; count], |mask| mask.to_f64().into_iter().map(|keep| keep != 0.0).collect())
}

pub(crate) fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let mut sum = R::ZERO;
    a.iter().zip(b).for_each(|(&a, &b)| sum += a * b);
    sum
}

/// `to += factor · from`
pub(crate) fn add_scaled<R: Real>(to: &mut [R], factor: R, from: &[R]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to += factor * from);
}

/// `to += from`
pub(crate) fn add<R: Real>(to: &mut [R], from: &[R]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
}

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
    let problem = Problem::of(request)?;
    let Problem { batch, queries, keys, dim_q, dim_k, dim_v, features } = problem;
    let read = |name: &str| required(OP, request, name).map(reals::<R>);
    let upstream = |name: &str| request.tensor(name).map(reals::<R>);
    let (query, all_keys, values) = (read("query")?, read("keys")?, read("values")?);
    let (wq, wk, b, v) = (read("wq")?, read("wk")?, read("b")?, read("v")?);
    let (d_context, d_weights) = (upstream("d_context"), upstream("d_weights"));
    let visible = visible_keys(request, batch * keys);
    let weights = Weights { wq: &wq, wk: &wk, row_q: dim_q, row_k: dim_k, b: Some(&b), v: &v, dim_q, dim_k };
    let wanted = request.wants_gradients();

    let of = |n: usize| {
        let element = Element {
            weights: &weights,
            query: &query[n * queries * dim_q..][..queries * dim_q],
            keys: &all_keys[n * keys * dim_k..][..keys * dim_k],
            visible: &visible[n * keys..][..keys],
        };
        let scores = element.scores();
        let values = &values[n * keys * dim_v..][..keys * dim_v];
        let d_context = d_context.as_ref().map(|all| &all[n * queries * dim_v..][..queries * dim_v]);
        let d_weights = d_weights.as_ref().map(|all| &all[n * queries * keys..][..queries * keys]);
        let outcome = Scored { scores: &scores, visible: element.visible, values, dim_v }.run(wanted, d_context, d_weights);
        let gradients = wanted.then(|| element.backward(&outcome.d_scores));
        (outcome, gradients)
    };
    let (outcomes, gradients): (Vec<_>, Vec<_>) = parallel::map(batch, of).into_iter().unzip();

    let mut results = References::new();
    let mut put = |name: &str, shape: &[usize], values: Vec<R>| results.insert(name.to_string(), Values::of(shape, &values));
    let joined = |part: fn(&Outcome<R>) -> &Vec<R>| outcomes.iter().flat_map(|o| part(o).iter().copied()).collect::<Vec<R>>();
    put("context", &problem.context_shape(), joined(|o| &o.context));
    put("weights", &problem.weights_shape(), joined(|o| &o.weights));
    let Some(gradients) = gradients.into_iter().collect::<Option<Vec<ScoreGradients<R>>>>() else { return Ok(results) };
    put("d_values", &[batch, keys, dim_v], joined(|o| &o.d_values));
    put("d_query", &[batch, queries, dim_q], gradients.iter().flat_map(|d| d.d_query.iter().copied()).collect());
    put("d_keys", &[batch, keys, dim_k], gradients.iter().flat_map(|d| d.d_keys.iter().copied()).collect());
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
