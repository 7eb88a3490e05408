//! The reference of what follows the scores, one batch element, or one head of it, after the other.

use super::Sequences;
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::real::{add_scaled, dot};
use crate::ops::{Real, References, Request, Values};

/// The queries of one batch element, from their scores on. Only visible keys are looked at.
pub(crate) struct Scored<'a, R> {
    /// `[Lq, Lk]`
    pub scores: &'a [R],
    /// `[Lk]`
    pub visible: &'a [bool],
    /// `[Lk, Dv]`
    pub values: &'a [R],
    pub dim_v: usize,
    /// `[Lq, Dv]`
    pub d_context: Option<&'a [R]>,
    /// `[Lq, Lk]`
    pub d_weights: Option<&'a [R]>,
}

/// What the scores of one batch element lead to.
pub(crate) struct Outcome<R> {
    /// `[Lq, Dv]`
    pub context: Vec<R>,
    /// `[Lq, Lk]`
    pub weights: Vec<R>,
    /// `[Lq, Lk]`, 0 where hidden.
    pub d_scores: Vec<R>,
    /// `[Lk, Dv]`
    pub d_values: Vec<R>,
}

impl<R: Real> Scored<'_, R> {
    pub(crate) fn run(&self) -> Outcome<R> {
        let (keys, dim) = (self.visible.len(), self.dim_v);
        let queries = self.scores.len() / keys;
        let shown: Vec<usize> = (0..keys).filter(|&j| self.visible[j]).collect();
        let zeros = |n: usize| vec![R::ZERO; n];
        let mut out = Outcome {
            context: zeros(queries * dim),
            weights: zeros(queries * keys),
            d_scores: zeros(queries * keys),
            d_values: zeros(keys * dim),
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
            // dW_ij = d_weights_ij + d_context_i·values_j,  d_values_j = Σ_i weights_ij d_context_i
            let mut all = zeros(keys);
            for &j in &shown {
                if let Some(d_weights) = self.d_weights {
                    all[j] += d_weights[i * keys + j];
                }
                if let Some(d_context) = self.d_context {
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

/// Where a mask over keys is not 0, `[batch, Lk]`.
pub(crate) fn visible_keys(request: &Request, mask: &str, count: usize) -> Vec<bool> {
    request.tensor(mask).map_or_else(|| vec![true; count], |mask| mask.to_f64().into_iter().map(|keep| keep != 0.0).collect())
}

/// The tensors of a request that matter after the scores, of all batch elements.
pub(crate) struct Batch<R> {
    sizes: Sequences,
    visible: Vec<bool>,
    values: Vec<R>,
    d_context: Option<Vec<R>>,
    d_weights: Option<Vec<R>>,
}

impl<R: Real> Batch<R> {
    pub(crate) fn of(op: &'static str, request: &Request, sizes: Sequences) -> Result<Self> {
        let upstream = |name: &str| request.tensor(name).map(reals::<R>);
        Ok(Batch {
            sizes,
            visible: visible_keys(request, "key_mask", sizes.batch * sizes.keys),
            values: reals(required(op, request, "values")?),
            d_context: upstream("d_context"),
            d_weights: upstream("d_weights"),
        })
    }

    /// The keys of batch element n that are visible, `[Lk]`.
    pub(crate) fn visible(&self, n: usize) -> &[bool] {
        element(&self.visible, n, self.sizes.keys)
    }

    /// What the scores `[Lq, Lk]` of batch element n lead to.
    pub(crate) fn run(&self, n: usize, scores: &[R]) -> Outcome<R> {
        let Sequences { queries, keys, dim_v, .. } = self.sizes;
        let scored = Scored {
            scores,
            visible: self.visible(n),
            values: element(&self.values, n, keys * dim_v),
            dim_v,
            d_context: self.d_context.as_ref().map(|all| element(all, n, queries * dim_v)),
            d_weights: self.d_weights.as_ref().map(|all| element(all, n, queries * keys)),
        };
        scored.run()
    }

    /// context and weights and, with an upstream gradient, d_values.
    pub(crate) fn results(&self, outcomes: &[Outcome<R>]) -> References {
        let joined = |part: fn(&Outcome<R>) -> &Vec<R>| outcomes.iter().flat_map(|o| part(o).iter().copied()).collect::<Vec<R>>();
        let mut results = References::new();
        let mut put = |name: &str, shape: [usize; 3], values: Vec<R>| results.insert(name.to_string(), Values::of(&shape, &values));
        put("context", self.sizes.context_shape(), joined(|o| &o.context));
        put("weights", self.sizes.weights_shape(), joined(|o| &o.weights));
        if self.d_context.is_some() || self.d_weights.is_some() {
            put("d_values", self.sizes.values_shape(), joined(|o| &o.d_values));
        }
        results
    }
}

/// Element n of a batch, each of so many numbers.
pub(crate) fn element<T>(all: &[T], n: usize, count: usize) -> &[T] {
    &all[n * count..][..count]
}
