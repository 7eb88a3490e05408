//! The reference: the formula of the module's page, row by row.
//!
//! One head of one sequence is a [`Head`]; `attention` slices its tensors into heads and `attention_varlen` gathers its
//! heads from the packed tokens. Hidden pairs are never looked at, so nothing that they hold can reach a result.

use super::{AttentionOptions, OP, Problem};
use crate::ops::host::{self, reals, required};
use crate::ops::real::{add, add_scaled, dot};
use crate::ops::{Real, References, Request, Values, parallel, philox};
use crate::{Array, DType, Data, Result};

/// A matrix over (query, key) read through strides, which are 0 where it is repeated.
pub(crate) struct Plane<'a, T> {
    data: &'a [T],
    strides: [usize; 2],
}

impl<T: Copy> Plane<'_, T> {
    fn at(&self, i: usize, j: usize) -> T {
        self.data[i * self.strides[0] + j * self.strides[1]]
    }
}

/// Which probabilities dropout keeps.
pub(crate) enum Keep<'a> {
    /// All of them.
    All,
    /// Where the given mask is not 0.
    Given(Plane<'a, u8>),
    /// Where the random word of element `first + i·row + j` is at or above the threshold.
    Random { seed: u64, threshold: u32, first: u64, row: u64 },
}

impl Keep<'_> {
    /// Dropout as the options have it, with random numbers from element `first` on, `row` of them for each query.
    pub(crate) fn random(options: &AttentionOptions, first: u64, row: u64) -> Self {
        match options.dropout_p {
            0.0 => Keep::All,
            p => Keep::Random { seed: options.seed, threshold: philox::drop_threshold(p), first, row },
        }
    }

    fn at(&self, i: usize, j: usize) -> bool {
        match self {
            Keep::All => true,
            Keep::Given(plane) => plane.at(i, j) != 0,
            Keep::Random { seed, threshold, first, row } => philox::element(*seed, first + i as u64 * row + j as u64) >= *threshold,
        }
    }
}

/// One head of one sequence.
pub(crate) struct Head<'a, R> {
    /// `[seq_q, dim]`
    pub q: &'a [R],
    /// `[seq_k, dim]`
    pub k: &'a [R],
    /// `[seq_k, dim_v]`
    pub v: &'a [R],
    /// `[seq_q, dim_v]`
    pub d_o: Option<&'a [R]>,
    pub dim: usize,
    pub dim_v: usize,
    pub scale: R,
    pub options: &'a AttentionOptions,
    /// Query i stands at key position i + offset.
    pub offset: i64,
    /// Keys from here on are hidden.
    pub length: usize,
    pub mask: Option<Plane<'a, u8>>,
    pub bias: Option<Plane<'a, R>>,
    pub slope: Option<R>,
    pub keep: Keep<'a>,
}

/// What one head yields. Empty where it was not asked for.
pub(crate) struct HeadResult<R> {
    /// `[seq_q, dim_v]`
    pub o: Vec<R>,
    /// `[seq_q]`
    pub lse: Vec<R>,
    /// `[seq_q, seq_k]`
    pub weights: Vec<R>,
    /// `[seq_q, dim]`
    pub d_q: Vec<R>,
    /// `[seq_k, dim]`
    pub d_k: Vec<R>,
    /// `[seq_k, dim_v]`
    pub d_v: Vec<R>,
    /// As many elements as the bias has for this head.
    pub d_bias: Vec<R>,
    pub d_slope: R,
}

/// A visible pair of a query and key `j`.
struct Pair<R> {
    j: usize,
    /// The logit S_ij, and after the softmax the probability P_ij.
    p: R,
    /// The derivative of the softcapped logit by the one before: 1 − tanh².
    cap: R,
    /// keep_ij / (1 − p_drop)
    keep: R,
}

impl<R: Real> Head<'_, R> {
    /// The head's outputs, and its gradients when there is an upstream one.
    pub(crate) fn run(&self) -> HeadResult<R> {
        let (seq_q, seq_k) = (self.q.len() / self.dim, self.k.len() / self.dim);
        let zeros = |wanted: bool, n: usize| vec![R::ZERO; if wanted { n } else { 0 }];
        let backward = self.d_o.is_some();
        let d_bias =
            self.bias.as_ref().filter(|_| backward).map_or(0, |bias| 1 + (seq_q - 1) * bias.strides[0] + (seq_k - 1) * bias.strides[1]);
        let mut result = HeadResult {
            o: zeros(true, seq_q * self.dim_v),
            lse: vec![R::new(f64::NEG_INFINITY); seq_q],
            weights: zeros(self.options.weights, seq_q * seq_k),
            d_q: zeros(backward, self.q.len()),
            d_k: zeros(backward, self.k.len()),
            d_v: zeros(backward, self.v.len()),
            d_bias: zeros(backward, d_bias),
            d_slope: R::ZERO,
        };
        for i in 0..seq_q {
            let mut pairs = self.logits(i);
            if pairs.is_empty() {
                continue;
            }
            result.lse[i] = softmax(&mut pairs);
            // o_i = Σ_j P̃_ij v_j,  P̃ = P · keep / (1 − p_drop)
            for pair in &pairs {
                let weight = pair.p * pair.keep;
                add_scaled(row_mut(&mut result.o, i, self.dim_v), weight, row(self.v, pair.j, self.dim_v));
                if self.options.weights {
                    result.weights[i * seq_k + pair.j] = weight;
                }
            }
            if let Some(d_o) = self.d_o {
                self.backward(i, &pairs, row(d_o, i, self.dim_v), &mut result);
            }
        }
        result
    }

    /// S_ij of the visible keys of query i.
    fn logits(&self, i: usize) -> Vec<Pair<R>> {
        let dropped = R::new(1.0) - R::new(self.options.dropout_p as f64);
        let mut pairs = Vec::new();
        for j in self.options.keys(i, self.offset, self.length) {
            let bias = self.bias.as_ref().map(|bias| bias.at(i, j));
            if self.mask.as_ref().is_some_and(|mask| mask.at(i, j) == 0) || bias.is_some_and(|bias| bias.value() == f64::NEG_INFINITY) {
                continue;
            }
            // S_ij = scale · q_i·k_j
            let mut s = self.scale * dot(row(self.q, i, self.dim), row(self.k, j, self.dim));
            let mut cap = R::new(1.0);
            if self.options.softcap > 0.0 {
                // S_ij = c · tanh(S_ij / c)
                let c = R::new(self.options.softcap as f64);
                let t = (s / c).tanh();
                s = c * t;
                cap = R::new(1.0) - t * t;
            }
            // S_ij += bias_ij − slope · |p − j|
            if let Some(bias) = bias {
                s += bias;
            }
            if let Some(slope) = self.slope {
                s += -(slope * self.distance(i, j));
            }
            let keep = if self.keep.at(i, j) { R::new(1.0) / dropped } else { R::ZERO };
            pairs.push(Pair { j, p: s, cap, keep });
        }
        pairs
    }

    /// |p − j| with p = i + offset.
    fn distance(&self, i: usize, j: usize) -> R {
        R::new((i as i64 + self.offset - j as i64).abs() as f64)
    }

    /// Adds what row i contributes to the gradients. `pairs` holds its probabilities.
    fn backward(&self, i: usize, pairs: &[Pair<R>], d_o: &[R], result: &mut HeadResult<R>) {
        // o_i = Σ_j P̃_ij v_j  →  dP̃_ij = dO_i·v_j;   P̃ = P · keep / (1 − p_drop)  →  dP = dP̃ · keep / (1 − p_drop)
        let d_p: Vec<R> = pairs.iter().map(|pair| dot(d_o, row(self.v, pair.j, self.dim_v)) * pair.keep).collect();
        // delta_i = Σ_j P_ij dP_ij
        let mut delta = R::ZERO;
        for (pair, &d_p) in pairs.iter().zip(&d_p) {
            delta += pair.p * d_p;
        }
        for (pair, &d_p) in pairs.iter().zip(&d_p) {
            let j = pair.j;
            // o_i = Σ_j P̃_ij v_j  →  dV_j = Σ_i P̃_ij dO_i
            add_scaled(row_mut(&mut result.d_v, j, self.dim_v), pair.p * pair.keep, d_o);
            // P_ij = exp(S_ij) / Σ exp(S_ij)  →  dS_ij = P_ij (dP_ij − delta_i)
            let d_s = pair.p * (d_p - delta);
            // S_ij += bias_ij − slope · |p − j|
            if let Some(bias) = &self.bias {
                result.d_bias[i * bias.strides[0] + j * bias.strides[1]] += d_s;
            }
            if self.slope.is_some() {
                result.d_slope += -(d_s * self.distance(i, j));
            }
            // S_ij = c · tanh(S_ij / c)  →  dS_ij · (1 − tanh²)
            // S_ij = scale · q_i·k_j  →  dQ_i = scale Σ_j dS_ij k_j,  dK_j = scale Σ_i dS_ij q_i
            let d_s = self.scale * (d_s * pair.cap);
            add_scaled(row_mut(&mut result.d_q, i, self.dim), d_s, row(self.k, j, self.dim));
            add_scaled(row_mut(&mut result.d_k, j, self.dim), d_s, row(self.q, i, self.dim));
        }
    }
}

/// Turns the logits of a row, of which there is at least one, into probabilities, and returns their log-sum-exp.
fn softmax<R: Real>(pairs: &mut [Pair<R>]) -> R {
    // m_i = max S_ij,  l_i = Σ exp(S_ij − m_i),  P_ij = exp(S_ij − m_i) / l_i,  lse_i = m_i + log l_i
    let mut m = pairs[0].p;
    for pair in pairs.iter() {
        if pair.p > m {
            m = pair.p;
        }
    }
    let mut l = R::ZERO;
    for pair in pairs.iter_mut() {
        pair.p = (pair.p - m).exp();
        l += pair.p;
    }
    for pair in pairs {
        pair.p = pair.p / l;
    }
    m + l.ln()
}

fn row<R>(matrix: &[R], i: usize, width: usize) -> &[R] {
    &matrix[i * width..(i + 1) * width]
}

fn row_mut<R>(matrix: &mut [R], i: usize, width: usize) -> &mut [R] {
    &mut matrix[i * width..(i + 1) * width]
}

/// The elements in the arithmetic of `R`, rounded first to the type in which they are stored.
pub(crate) fn stored<R: Real>(array: &Array, dtype: DType) -> Vec<R> {
    reals(&host::stored(array, dtype))
}

/// A request's tensors in the arithmetic of `R`.
struct Tensors<'a, R> {
    q: Vec<R>,
    k: Vec<R>,
    v: Vec<R>,
    d_o: Option<Vec<R>>,
    bias: Option<Vec<R>>,
    alibi_slopes: Option<Vec<R>>,
    mask: Option<&'a [u8]>,
    dropout_keep: Option<&'a [u8]>,
}

impl<'a, R: Real> Tensors<'a, R> {
    fn of(request: &'a Request, dtype: DType) -> Result<Self> {
        let bytes = |name: &str| {
            request.tensor(name).and_then(|array| if let Data::U8(data) = array.data() { Some(data.as_slice()) } else { None })
        };
        Ok(Tensors {
            q: stored(required(OP, request, "q")?, dtype),
            k: stored(required(OP, request, "k")?, dtype),
            v: stored(required(OP, request, "v")?, dtype),
            d_o: request.tensor("d_o").map(|d_o| stored(d_o, dtype)),
            bias: request.tensor("bias").map(reals),
            alibi_slopes: request.tensor("alibi_slopes").map(reals),
            mask: bytes("mask"),
            dropout_keep: bytes("dropout_keep"),
        })
    }

    /// Head `h` of sequence `b`.
    fn head(&'a self, problem: &'a Problem, b: usize, h: usize) -> Head<'a, R> {
        let Problem { heads_q, heads_kv, seq_q, seq_k, dim, dim_v, .. } = *problem;
        let (query, key) = (b * heads_q + h, b * heads_kv + h * heads_kv / heads_q);
        let base = |strides: &[usize; 4]| b * strides[0] + h * strides[1];
        Head {
            q: row(&self.q, query, seq_q * dim),
            k: row(&self.k, key, seq_k * dim),
            v: row(&self.v, key, seq_k * dim_v),
            d_o: self.d_o.as_ref().map(|d_o| row(d_o, query, seq_q * dim_v)),
            dim,
            dim_v,
            scale: R::new(problem.scale as f64),
            options: &problem.options,
            offset: problem.options.offset as i64,
            length: problem.keys_of(b),
            mask: problem.mask.as_ref().zip(self.mask).map(|(mask, data)| plane(&data[base(&mask.strides)..], &mask.strides)),
            bias: problem.bias.as_ref().zip(self.bias.as_ref()).map(|(bias, data)| plane(&data[base(&bias.strides)..], &bias.strides)),
            slope: self.alibi_slopes.as_ref().map(|slopes| slopes[h]),
            keep: match self.dropout_keep {
                Some(data) => Keep::Given(Plane { data: row(data, query, seq_q * seq_k), strides: [seq_k, 1] }),
                None => Keep::random(&problem.options, (query * seq_q) as u64 * seq_k as u64, seq_k as u64),
            },
        }
    }
}

fn plane<'a, T>(data: &'a [T], strides: &[usize; 4]) -> Plane<'a, T> {
    Plane { data, strides: [strides[2], strides[3]] }
}

/// The outputs and, with an upstream gradient, the gradients.
///
/// # Errors
/// As [`Problem::of`].
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let tensors = Tensors::<R>::of(request, problem.dtype)?;
    let Problem { batch, heads_q, heads_kv, seq_q, seq_k, dim, dim_v, .. } = problem;
    let heads = parallel::map(batch * heads_q, |bh| tensors.head(&problem, bh / heads_q, bh % heads_q).run());

    let mut out = References::new();
    let mut put = |name: &str, shape: &[usize], values: &[R]| out.insert(name.to_string(), Values::of(shape, values));
    let joined = |part: fn(&HeadResult<R>) -> &Vec<R>| heads.iter().flat_map(|head| part(head).iter().copied()).collect::<Vec<R>>();
    put("o", &[batch, heads_q, seq_q, dim_v], &joined(|head| &head.o));
    put("lse", &[batch, heads_q, seq_q], &joined(|head| &head.lse));
    if problem.options.weights {
        put("weights", &[batch, heads_q, seq_q, seq_k], &joined(|head| &head.weights));
    }
    if tensors.d_o.is_none() {
        return Ok(out);
    }

    put("d_q", &[batch, heads_q, seq_q, dim], &joined(|head| &head.d_q));
    // The gradients of a key and value head are the sums over the query heads that read it.
    let mut d_k = vec![R::ZERO; tensors.k.len()];
    let mut d_v = vec![R::ZERO; tensors.v.len()];
    for (bh, head) in heads.iter().enumerate() {
        let key = bh * heads_kv / heads_q;
        add(row_mut(&mut d_k, key, seq_k * dim), &head.d_k);
        add(row_mut(&mut d_v, key, seq_k * dim_v), &head.d_v);
    }
    put("d_k", &[batch, heads_kv, seq_k, dim], &d_k);
    put("d_v", &[batch, heads_kv, seq_k, dim_v], &d_v);
    if let (Some(bias), Some(data)) = (&problem.bias, &tensors.bias) {
        let mut d_bias = vec![R::ZERO; data.len()];
        for (bh, head) in heads.iter().enumerate() {
            add(&mut d_bias[bh / heads_q * bias.strides[0] + bh % heads_q * bias.strides[1]..], &head.d_bias);
        }
        put("d_bias", &bias.shape, &d_bias);
    }
    if problem.alibi {
        let mut d_slopes = vec![R::ZERO; heads_q];
        for (bh, head) in heads.iter().enumerate() {
            d_slopes[bh % heads_q] += head.d_slope;
        }
        put("d_alibi_slopes", &[heads_q], &d_slopes);
    }
    Ok(out)
}
