//! The reference: the layer as PyTorch's documentation has it, query by query.

use super::{OP, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values, parallel};

/// y [rows, E] = x weightᵀ + bias, for rows of E elements. The weight is `[E, E]`.
fn project<R: Real>(x: &[R], weight: &[R], bias: Option<&[R]>, embed: usize) -> Vec<R> {
    let row = |r: usize| {
        let x = &x[r * embed..][..embed];
        (0..embed).map(|e| dot(x, &weight[e * embed..][..embed]) + bias.map_or(R::ZERO, |bias| bias[e])).collect::<Vec<R>>()
    };
    parallel::map(x.len() / embed, row).concat()
}

/// The gradients of x, weight and bias.
struct Projected<R> {
    d_x: Vec<R>,
    d_weight: Vec<R>,
    d_bias: Vec<R>,
}

/// Those of [`project`]. Rows that are not visible have no part in any.
fn project_backward<R: Real>(x: &[R], weight: &[R], d_y: &[R], visible: impl Fn(usize) -> bool + Sync, embed: usize) -> Projected<R> {
    let rows: Vec<usize> = (0..x.len() / embed).filter(|&r| visible(r)).collect();
    let mut d = Projected { d_x: vec![R::ZERO; x.len()], d_weight: vec![], d_bias: vec![R::ZERO; embed] };
    for &r in &rows {
        for e in 0..embed {
            // y_e = weight_e·x + bias_e:  d_x = Σ_e d_y_e weight_e,  d_bias_e = Σ d_y_e
            add_scaled(&mut d.d_x[r * embed..][..embed], d_y[r * embed + e], &weight[e * embed..][..embed]);
            d.d_bias[e] += d_y[r * embed + e];
        }
    }
    // y_e = weight_e·x + bias_e:  d_weight_e = Σ d_y_e x
    let row = |e: usize| {
        let mut d_weight = vec![R::ZERO; embed];
        rows.iter().for_each(|&r| add_scaled(&mut d_weight, d_y[r * embed + e], &x[r * embed..][..embed]));
        d_weight
    };
    d.d_weight = parallel::map(embed, row).concat();
    d
}

fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    let mut sum = R::ZERO;
    a.iter().zip(b).for_each(|(&a, &b)| sum += a * b);
    sum
}

/// `to += factor · from`
fn add_scaled<R: Real>(to: &mut [R], factor: R, from: &[R]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to += factor * from);
}

/// All heads of one batch element, side by side in each row as they are in memory.
struct Sequence<'a, R> {
    p: &'a Problem,
    /// `[Lq, E]`
    q: &'a [R],
    /// `[Lk, E]`
    k: &'a [R],
    /// `[Lk, E]`
    v: &'a [R],
    /// The visible keys.
    shown: Vec<usize>,
}

/// What a sequence yields.
struct Outcome<R> {
    /// `[Lq, E]`
    heads: Vec<R>,
    /// `[heads, Lq, Lk]`
    probs: Vec<R>,
}

/// The gradients of q, k and v.
struct Gradients<R> {
    d_q: Vec<R>,
    d_k: Vec<R>,
    d_v: Vec<R>,
}

impl<R: Real> Sequence<'_, R> {
    /// Head h of a row.
    fn part<'m>(&self, matrix: &'m [R], row: usize, h: usize) -> &'m [R] {
        &matrix[row * self.p.embed + h * self.p.dim..][..self.p.dim]
    }

    fn part_mut<'m>(&self, matrix: &'m mut [R], row: usize, h: usize) -> &'m mut [R] {
        &mut matrix[row * self.p.embed + h * self.p.dim..][..self.p.dim]
    }

    /// The forward.
    fn attend(&self) -> Outcome<R> {
        let Problem { queries, keys, .. } = *self.p;
        let heads = self.p.options.heads;
        let scale = R::new(self.p.scale().into());
        let mut out = Outcome { heads: vec![R::ZERO; self.q.len()], probs: vec![R::ZERO; heads * queries * keys] };
        for (h, i) in (0..heads).flat_map(|h| (0..queries).map(move |i| (h, i))) {
            // s_j = q·k_j / √D,  m = max_j s_j,  l = Σ_j exp(s_j − m),  probs_j = exp(s_j − m) / l
            let s: Vec<R> = self.shown.iter().map(|&j| scale * dot(self.part(self.q, i, h), self.part(self.k, j, h))).collect();
            let Some(m) = s.iter().copied().reduce(|m, s| if s > m { s } else { m }) else { continue };
            let mut l = R::ZERO;
            s.iter().for_each(|&s| l += (s - m).exp());
            // a = Σ_j probs_j v_j
            for (&j, &s) in self.shown.iter().zip(&s) {
                let p = (s - m).exp() / l;
                out.probs[(h * queries + i) * keys + j] = p;
                add_scaled(self.part_mut(&mut out.heads, i, h), p, self.part(self.v, j, h));
            }
        }
        out
    }

    /// The gradients from the probabilities and those of the heads `[Lq, E]` and of the probabilities `[heads, Lq, Lk]`.
    fn backward(&self, probs: &[R], d_heads: &[R], d_probs: Option<&[R]>) -> Gradients<R> {
        let Problem { queries, keys, .. } = *self.p;
        let scale = R::new(self.p.scale().into());
        let zeros = |n: usize| vec![R::ZERO; n];
        let mut d = Gradients { d_q: zeros(self.q.len()), d_k: zeros(self.k.len()), d_v: zeros(self.v.len()) };
        for (h, i) in (0..self.p.options.heads).flat_map(|h| (0..queries).map(move |i| (h, i))) {
            let at = |j: usize| (h * queries + i) * keys + j;
            // a = Σ_j probs_j v_j:  dP_j = d_probs_j + d_a·v_j,  d_v_j = probs_j d_a
            let d_a = self.part(d_heads, i, h);
            let mut all = zeros(keys);
            for &j in &self.shown {
                all[j] = d_probs.map_or(R::ZERO, |d_probs| d_probs[at(j)]) + dot(d_a, self.part(self.v, j, h));
                add_scaled(self.part_mut(&mut d.d_v, j, h), probs[at(j)], d_a);
            }
            // ds_j = probs_j (dP_j − Σ_j probs_j dP_j),  d_q = Σ_j ds_j k_j / √D,  d_k_j = ds_j q / √D
            let mut sum = R::ZERO;
            self.shown.iter().for_each(|&j| sum += probs[at(j)] * all[j]);
            for &j in &self.shown {
                let ds = scale * (probs[at(j)] * (all[j] - sum));
                add_scaled(self.part_mut(&mut d.d_q, i, h), ds, self.part(self.k, j, h));
                add_scaled(self.part_mut(&mut d.d_k, j, h), ds, self.part(self.q, i, h));
            }
        }
        d
    }
}

/// o, the probabilities when they are asked for, and, with an upstream gradient, every gradient.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let p = Problem::of(request)?;
    let Problem { batch, queries, keys, embed, .. } = p;
    let read = |name: &str| required(OP, request, name).map(reals::<R>);
    let optional = |name: &str| request.tensor(name).map(reals::<R>);
    let inputs = [read("query")?, read("key")?, read("value")?];
    let (in_weight, in_bias) = (read("in_proj_weight")?, optional("in_proj_bias"));
    let (out_weight, out_bias) = (read("out_proj_weight")?, optional("out_proj_bias"));
    let keep = request.tensor("key_keep").map(|keep| keep.to_f64());
    let visible = |row: usize| keep.as_ref().is_none_or(|keep| keep[row] != 0.0);
    let weight = |block: usize| &in_weight[block * embed * embed..][..embed * embed];
    let bias = |block: usize| in_bias.as_ref().map(|bias| &bias[block * embed..][..embed]);
    let [q, k, v] = [0, 1, 2].map(|block| project(&inputs[block], weight(block), bias(block), embed));

    let (of_q, of_k, of_p) = (queries * embed, keys * embed, p.options.heads * queries * keys);
    let sequence = |b: usize| Sequence {
        p: &p,
        q: &q[b * of_q..][..of_q],
        k: &k[b * of_k..][..of_k],
        v: &v[b * of_k..][..of_k],
        shown: (0..keys).filter(|&j| visible(b * keys + j)).collect(),
    };
    let (heads, probs): (Vec<_>, Vec<_>) =
        parallel::map(batch, |b| sequence(b).attend()).into_iter().map(|o: Outcome<R>| (o.heads, o.probs)).unzip();
    let (heads, probs) = (heads.concat(), probs.concat());

    let mut results = References::new();
    let mut put = |name: &str, shape: &[usize], values: &[R]| results.insert(name.to_string(), Values::of(shape, values));
    put("o", &[batch, queries, embed], &project(&heads, &out_weight, out_bias.as_deref(), embed));
    if p.options.probs {
        put("probs", &p.probs_shape(), &probs);
    }
    if !request.wants_gradients() {
        return Ok(results);
    }

    let d_o = optional("d_o").unwrap_or_else(|| vec![R::ZERO; heads.len()]);
    let d_probs = optional("d_probs");
    let last = project_backward(&heads, &out_weight, &d_o, |_| true, embed);
    put("d_out_proj_weight", &[embed, embed], &last.d_weight);
    if out_bias.is_some() {
        put("d_out_proj_bias", &[embed], &last.d_bias);
    }
    let backward = |b: usize| {
        let d_probs = d_probs.as_ref().map(|all| &all[b * of_p..][..of_p]);
        sequence(b).backward(&probs[b * of_p..][..of_p], &last.d_x[b * of_q..][..of_q], d_probs)
    };
    let gradients: Vec<Gradients<R>> = parallel::map(batch, backward);
    let joined = |part: fn(&Gradients<R>) -> &Vec<R>| gradients.iter().flat_map(|d| part(d).iter().copied()).collect::<Vec<R>>();
    let (mut d_in_weight, mut d_in_bias) = (vec![], vec![]);
    let parts = [("d_query", joined(|d| &d.d_q)), ("d_key", joined(|d| &d.d_k)), ("d_value", joined(|d| &d.d_v))];
    for (block, (name, d_y)) in parts.into_iter().enumerate() {
        let d = project_backward(&inputs[block], weight(block), &d_y, |row| block == 0 || visible(row), embed);
        put(name, &[batch, if block == 0 { queries } else { keys }, embed], &d.d_x);
        d_in_weight.extend(d.d_weight);
        d_in_bias.extend(d.d_bias);
    }
    put("d_in_proj_weight", &[3 * embed, embed], &d_in_weight);
    if in_bias.is_some() {
        put("d_in_proj_bias", &[3 * embed], &d_in_bias);
    }
    Ok(results)
}
