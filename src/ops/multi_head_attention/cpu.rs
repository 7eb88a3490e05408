//! The reference: the layer as PyTorch's documentation has it, head by head.

use super::{OP, Problem};
use crate::Result;
use crate::ops::context::cpu::{Outcome, Scored, element, visible_keys};
use crate::ops::host::{reals, required};
use crate::ops::real::{add, add_scaled, dot};
use crate::ops::{Real, References, Request, Values, parallel};

/// y = x weightᵀ + bias, for rows of E elements and a weight `[E, E]`.
fn project<R: Real>(x: &[R], weight: &[R], bias: Option<&[R]>, embed: usize) -> Vec<R> {
    let row = |r: usize| {
        let of = |e: usize| dot(element(x, r, embed), element(weight, e, embed)) + bias.map_or(R::ZERO, |bias| bias[e]);
        (0..embed).map(of).collect::<Vec<R>>()
    };
    parallel::map(x.len() / embed, row).concat()
}

/// y_e = weight_e·x + bias_e:  d_x = Σ_e d_y_e weight_e
fn project_d_x<R: Real>(d_y: &[R], weight: &[R], embed: usize) -> Vec<R> {
    let row = |r: usize| {
        let mut d_x = vec![R::ZERO; embed];
        (0..embed).for_each(|e| add_scaled(&mut d_x, d_y[r * embed + e], element(weight, e, embed)));
        d_x
    };
    parallel::map(d_y.len() / embed, row).concat()
}

/// y_e = weight_e·x + bias_e:  d_weight_e = Σ d_y_e x,  d_bias_e = Σ d_y_e, over the visible rows.
fn project_d_parameters<R: Real>(x: &[R], d_y: &[R], visible: impl Fn(usize) -> bool, embed: usize) -> [Vec<R>; 2] {
    let rows: Vec<usize> = (0..x.len() / embed).filter(|&r| visible(r)).collect();
    let row = |e: usize| {
        let mut d_weight = vec![R::ZERO; embed];
        rows.iter().for_each(|&r| add_scaled(&mut d_weight, d_y[r * embed + e], element(x, r, embed)));
        d_weight
    };
    let mut d_bias = vec![R::ZERO; embed];
    rows.iter().for_each(|&r| add(&mut d_bias, element(d_y, r, embed)));
    [parallel::map(embed, row).concat(), d_bias]
}

/// One head of one sequence. Only visible keys are looked at.
struct Head<'a, R> {
    /// `[Lq, D]`
    q: Vec<R>,
    /// `[Lk, D]`
    k: Vec<R>,
    /// `[Lk, D]`
    v: Vec<R>,
    /// `[Lk]`
    visible: &'a [bool],
    dim: usize,
    scale: R,
    /// `[Lq, D]`
    d_a: Option<Vec<R>>,
    /// `[Lq, Lk]`
    d_probs: Option<&'a [R]>,
}

/// What a head yields: a `[Lq, D]` and probs `[Lq, Lk]`, and the gradients of q, k and v.
struct HeadResult<R> {
    a: Vec<R>,
    probs: Vec<R>,
    d_q: Vec<R>,
    d_k: Vec<R>,
    d_v: Vec<R>,
}

impl<R: Real> Head<'_, R> {
    /// Every query with every visible key.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let shown = || (0..self.visible.len()).filter(|&j| self.visible[j]);
        (0..self.q.len() / self.dim).flat_map(move |i| shown().map(move |j| (i, j)))
    }

    fn run(&self) -> HeadResult<R> {
        let (dim, keys) = (self.dim, self.visible.len());
        let zeros = |n: usize| vec![R::ZERO; n];
        // s_ij = q_i·k_j / √D
        let mut scores = zeros(self.q.len() / dim * keys);
        for (i, j) in self.pairs() {
            scores[i * keys + j] = self.scale * dot(element(&self.q, i, dim), element(&self.k, j, dim));
        }
        let (values, d_context) = (self.v.as_slice(), self.d_a.as_deref());
        let scored = Scored { scores: &scores, visible: self.visible, values, dim_v: dim, d_context, d_weights: self.d_probs };
        let Outcome { context, weights, d_scores, d_values } = scored.run();
        // d_q_i = Σ_j ds_ij k_j / √D,  d_k_j = Σ_i ds_ij q_i / √D
        let (mut d_q, mut d_k) = (zeros(self.q.len()), zeros(self.k.len()));
        for (i, j) in self.pairs() {
            let ds = self.scale * d_scores[i * keys + j];
            add_scaled(&mut d_q[i * dim..][..dim], ds, element(&self.k, j, dim));
            add_scaled(&mut d_k[j * dim..][..dim], ds, element(&self.q, i, dim));
        }
        HeadResult { a: context, probs: weights, d_q, d_k, d_v: d_values }
    }
}

impl Problem {
    /// Head bh of all batch elements' heads, of rows `[B, count, E]`: `[count, D]`.
    fn split<R: Real>(&self, rows: &[R], count: usize, bh: usize) -> Vec<R> {
        let (b, h) = (bh / self.options.heads, bh % self.options.heads);
        (0..count).flat_map(|i| element(rows, (b * count + i) * self.options.heads + h, self.dim)).copied().collect()
    }

    /// The rows `[B, count, E]` of all heads.
    fn join<R: Real>(&self, heads: &[HeadResult<R>], count: usize, part: fn(&HeadResult<R>) -> &Vec<R>) -> Vec<R> {
        let batches = heads.chunks(self.options.heads);
        let rows = batches.flat_map(|heads| (0..count).flat_map(move |i| heads.iter().map(move |head| (head, i))));
        rows.flat_map(|(head, i)| element(part(head), i, self.dim)).copied().collect()
    }
}

/// o, the probabilities when they are asked for, and, with an upstream gradient, every gradient.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let p = Problem::of(request)?;
    let Problem { batch, queries, keys, embed, dim, .. } = p;
    let read = |name: &str| required(OP, request, name).map(reals::<R>);
    let optional = |name: &str| request.tensor(name).map(reals::<R>);
    let inputs = [read("query")?, read("key")?, read("value")?];
    let (in_weight, in_bias) = (read("in_proj_weight")?, optional("in_proj_bias"));
    let (out_weight, out_bias) = (read("out_proj_weight")?, optional("out_proj_bias"));
    let visible = visible_keys(request, "key_keep", batch * keys);
    let weight = |block: usize| element(&in_weight, block, embed * embed);
    let bias = |block: usize| in_bias.as_ref().map(|bias| element(bias, block, embed));
    let [q, k, v] = [0, 1, 2].map(|block| project(&inputs[block], weight(block), bias(block), embed));
    let (d_o, d_probs) = (optional("d_o"), optional("d_probs"));
    let d_a = d_o.as_ref().map(|d_o| project_d_x(d_o, &out_weight, embed));

    let head = |bh: usize| Head {
        q: p.split(&q, queries, bh),
        k: p.split(&k, keys, bh),
        v: p.split(&v, keys, bh),
        visible: element(&visible, bh / p.options.heads, keys),
        dim,
        scale: R::new(p.scale().into()),
        d_a: d_a.as_ref().map(|d_a| p.split(d_a, queries, bh)),
        d_probs: d_probs.as_ref().map(|d_probs| element(d_probs, bh, queries * keys)),
    };
    let heads = parallel::map(batch * p.options.heads, |bh| head(bh).run());
    let a = p.join(&heads, queries, |head| &head.a);

    let mut results = References::new();
    let mut put = |name: &str, shape: &[usize], values: &[R]| results.insert(name.to_string(), Values::of(shape, values));
    put("o", &[batch, queries, embed], &project(&a, &out_weight, out_bias.as_deref(), embed));
    if p.options.probs {
        let probs: Vec<R> = heads.iter().flat_map(|head| &head.probs).copied().collect();
        put("probs", &p.probs_shape(), &probs);
    }
    if !request.wants_gradients() {
        return Ok(results);
    }

    let d_o = d_o.unwrap_or_else(|| vec![R::ZERO; a.len()]);
    let [d_out_weight, d_out_bias] = project_d_parameters(&a, &d_o, |_| true, embed);
    put("d_out_proj_weight", &[embed, embed], &d_out_weight);
    if out_bias.is_some() {
        put("d_out_proj_bias", &[embed], &d_out_bias);
    }
    let d_q = ("d_query", queries, p.join(&heads, queries, |head| &head.d_q));
    let (d_k, d_v) = (("d_key", keys, p.join(&heads, keys, |head| &head.d_k)), ("d_value", keys, p.join(&heads, keys, |head| &head.d_v)));
    let (mut d_in_weight, mut d_in_bias) = (vec![], vec![]);
    for (block, (name, count, d_y)) in [d_q, d_k, d_v].into_iter().enumerate() {
        put(name, &[batch, count, embed], &project_d_x(&d_y, weight(block), embed));
        let [d_weight, d_bias] = project_d_parameters(&inputs[block], &d_y, |row| block == 0 || visible[row], embed);
        d_in_weight.extend(d_weight);
        d_in_bias.extend(d_bias);
    }
    put("d_in_proj_weight", &[3 * embed, embed], &d_in_weight);
    if in_bias.is_some() {
        put("d_in_proj_bias", &[3 * embed], &d_in_bias);
    }
    Ok(results)
}
