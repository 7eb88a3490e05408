//! Additive attention, the attention of Bahdanau, Cho and Bengio, forward and backward.
//!
//! Shapes: query `[B, Lq, Dq]`, keys `[B, Lk, Dk]`, values `[B, Lk, Dv]`, wq `[A, Dq]`, wk `[A, Dk]`, b and v `[A]`, key_mask `[B, Lk]`. For
//! each batch element, query i and key j:
//!
//! ```text
//! x_i = wq query_i + b,  y_j = wk keys_j
//! t_ija = tanh(x_ia + y_ja)
//! s_ij = Σ_a v_a t_ija
//! weights_ij = exp(s_ij − m_i) / Σ_j exp(s_ij − m_i),  m_i = max_j s_ij      over the visible keys; 0 for a hidden one
//! context_i = Σ_j weights_ij values_j
//! ```
//!
//! A key is visible where key_mask is not 0. What a hidden key and its value hold reaches nothing, NaN and infinities included. Queries that see
//! nothing have context and weights of 0, and give no gradients.
//!
//! Backward, for upstream gradients of context and of weights (one that is absent counts as zero):
//!
//! ```text
//! d_values_j = Σ_i weights_ij d_context_i         dW_ij = d_weights_ij + d_context_i·values_j
//! ds_ij = weights_ij (dW_ij − Σ_j weights_ij dW_ij)
//! d_v_a = Σ ds_ij t_ija
//! dx_ia = v_a Σ_j ds_ij (1 − t²_ija)              dy_ja = v_a Σ_i ds_ij (1 − t²_ija)
//! d_query = dx wq,  d_wq = dxᵀ query,  d_b = Σ dx,  d_keys = dy wk,  d_wk = dyᵀ keys
//! ```
//!
//! t is in no memory, in neither direction: the backward computes it again, once for dx and d_v and once for dy.
//!
//! Time: O(B · Lq · Lk · A), each step a tanh, and products. Where scores of q·k will do, [`attention`](super::attention) is the faster by far.
//!
//! Source: Bahdanau, Cho & Bengio 2014, "Neural machine translation by jointly learning to align and translate", arXiv:1409.0473.

mod additive;
mod cases;
pub(crate) mod cpu;
mod gpu;
mod kernels;

pub use additive::Projected;
pub(crate) use additive::{Additive, AdditiveGradients};
pub use gpu::{Attended, Gradients, Inputs, backward, forward};

use super::host::{elements, expect_shape, expect_upstream, misfit, normal, wrong_shape};
use super::philox::Rng;
use super::{Arrays, Case, Cost, Input, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, parse_shape};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{Array, DType, Result};

const OP: &str = "additive_attention";
const SHAPE: &str = "B,Lq/Lk,Dq/Dk/Dv,A, for instance 2,7/19,12/18/14,21; 2,7,12,21 has Lq = Lk and Dq = Dk = Dv";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "context = weights values, weights = softmax(v·tanh(wq query + wk keys + b)) over the visible keys",
    shape: SHAPE,
    inputs: &[
        Input::new("query", "[B,Lq,Dq]"),
        Input::new("keys", "[B,Lk,Dk]"),
        Input::new("values", "[B,Lk,Dv]"),
        Input::new("wq", "[A,Dq]"),
        Input::new("wk", "[A,Dk]"),
        Input::new("b", "[A]"),
        Input::new("v", "[A]"),
        Input::mask("key_mask", "[B,Lk]"),
    ],
    outputs: &[Output::new("context", "[B,Lq,Dv]"), Output::new("weights", "[B,Lq,Lk]")],
    keys: &[],
};

/// The shapes of the tensors of a call.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// `[B, Lq, Dq]`
    pub query: &'a [usize],
    /// `[B, Lk, Dk]`
    pub keys: &'a [usize],
    /// `[B, Lk, Dv]`
    pub values: &'a [usize],
    /// `[A, Dq]`
    pub wq: &'a [usize],
    /// `[A, Dk]`
    pub wk: &'a [usize],
    /// `[A]`
    pub b: &'a [usize],
    /// `[A]`
    pub v: &'a [usize],
    /// `[B, Lk]`
    pub key_mask: Option<&'a [usize]>,
}

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// B: independent sequences.
    pub batch: usize,
    /// Lq: queries of a sequence.
    pub queries: usize,
    /// Lk: keys of a sequence.
    pub keys: usize,
    /// Dq: elements of a query.
    pub dim_q: usize,
    /// Dk: elements of a key.
    pub dim_k: usize,
    /// Dv: elements of a value.
    pub dim_v: usize,
    /// A: features that query and key are projected to.
    pub features: usize,
}

/// The sizes of queries, keys and values that fit one another: batch, queries, keys, and the elements of each.
pub(crate) fn check_sequences(op: &'static str, [query, keys, values]: [&[usize]; 3], mask: Option<&[usize]>) -> Result<[usize; 6]> {
    let &[batch, queries, dim_q] = query else { return Err(misfit(op, "query", query, "[B,Lq,Dq]")) };
    let fits = || format!("[{batch},Lk,Dk], with as many batches as query");
    let &[batch_k, count, dim_k] = keys else { return Err(misfit(op, "keys", keys, fits())) };
    if batch_k != batch {
        return Err(misfit(op, "keys", keys, fits()));
    }
    let dim_v = match *values {
        [b, l, dim_v] if (b, l) == (batch, count) => dim_v,
        _ => return Err(misfit(op, "values", values, format!("[{batch},{count},Dv]"))),
    };
    if let Some(mask) = mask {
        expect_shape(op, "key_mask", mask, &[batch, count])?;
    }
    let (context, weights) = ([batch, queries, dim_v], [batch, queries, count]);
    for (name, shape) in [("query", query), ("keys", keys), ("values", values), ("context", &context), ("weights", &weights)] {
        elements(op, name, shape)?;
    }
    Ok([batch, queries, count, dim_q, dim_k, dim_v])
}

impl Problem {
    /// Checks that the shapes fit one another.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for shapes that do not fit, [`Error::Limit`](crate::Error::Limit) for a tensor of more than 2³¹ elements.
    pub fn new(shapes: &Shapes) -> Result<Self> {
        let [batch, queries, keys, dim_q, dim_k, dim_v] = check_sequences(OP, [shapes.query, shapes.keys, shapes.values], shapes.key_mask)?;
        let features = match *shapes.wq {
            [features, columns] if columns == dim_q => features,
            _ => return Err(misfit(OP, "wq", shapes.wq, format!("[A,{dim_q}] with the columns of query"))),
        };
        expect_shape(OP, "wk", shapes.wk, &[features, dim_k])?;
        for (name, shape) in [("b", shapes.b), ("v", shapes.v)] {
            expect_shape(OP, name, shape, &[features])?;
        }
        let (x, y) = ([batch, queries, features], [batch, keys, features]);
        for (name, shape) in [("wq", shapes.wq), ("wk", shapes.wk), ("wq query", &x), ("wk keys", &y)] {
            elements(OP, name, shape)?;
        }
        Ok(Problem { batch, queries, keys, dim_q, dim_k, dim_v, features })
    }

    /// Of a request, whose upstream gradients are checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`].
    pub fn of(request: &Request) -> Result<Self> {
        // `Request::new` has seen to it that all but the mask are there; an absent one would be refused for its rank.
        let shape = |name: &str| request.tensor(name).map(Array::shape).unwrap_or_default();
        let problem = Problem::new(&Shapes {
            query: shape("query"),
            keys: shape("keys"),
            values: shape("values"),
            wq: shape("wq"),
            wk: shape("wk"),
            b: shape("b"),
            v: shape("v"),
            key_mask: request.tensor("key_mask").map(Array::shape),
        })?;
        expect_upstream(OP, request, "context", &problem.context_shape())?;
        expect_upstream(OP, request, "weights", &problem.weights_shape())?;
        Ok(problem)
    }

    /// `[B, Lq, Dv]`
    pub fn context_shape(&self) -> [usize; 3] {
        [self.batch, self.queries, self.dim_v]
    }

    /// `[B, Lq, Lk]`
    pub fn weights_shape(&self) -> [usize; 3] {
        [self.batch, self.queries, self.keys]
    }
}

/// One size for all of N, or one for each.
pub(crate) fn sizes<const N: usize>(field: &[usize]) -> Option<[usize; N]> {
    match *field {
        [size] => Some([size; N]),
        _ => field.try_into().ok(),
    }
}

/// Floating-point operations of additive scores for each query, key and feature: sum, tanh and product forward; with the gradients 1 − t², and a
/// product and a sum for each of three.
pub(crate) const SCORE_FLOPS: [f64; 2] = [4.0, 12.0];

/// Operations of the softmax over `pairs`, forward and backward, and of the sum of values of `columns` elements.
pub(crate) fn context_flops(pairs: f64, columns: usize, backward: bool) -> f64 {
    let sum = 2.0 * columns as f64;
    pairs * if backward { 11.0 + 3.0 * sum } else { 6.0 + sum }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct AdditiveAttention;

impl Operation for AdditiveAttention {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, _caps: &Caps) -> Vec<AnyVariant> {
        kernels::all()
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, _settings: &Settings, seed: u64) -> Result<Arrays> {
        let fields = parse_shape(OP, SHAPE, shape)?;
        let wrong = || wrong_shape(OP, SHAPE, shape);
        let [batch, seq, dims, features] = fields.as_slice() else { return Err(wrong()) };
        let (&[batch], Some([queries, keys]), Some([dim_q, dim_k, dim_v]), &[features]) =
            (batch.as_slice(), sizes(seq), sizes(dims), features.as_slice())
        else {
            return Err(wrong());
        };
        let (query, keys_shape, values) = ([batch, queries, dim_q], [batch, keys, dim_k], [batch, keys, dim_v]);
        let (wq, wk, vector) = ([features, dim_q], [features, dim_k], [features]);
        let shapes = Shapes { query: &query, keys: &keys_shape, values: &values, wq: &wq, wk: &wk, b: &vector, v: &vector, key_mask: None };
        let problem = Problem::new(&shapes)?;
        let (context, weights) = (problem.context_shape(), problem.weights_shape());
        let drawn: [(&str, &[usize]); 9] = [
            ("query", &query),
            ("keys", &keys_shape),
            ("values", &values),
            ("wq", &wq),
            ("wk", &wk),
            ("b", &vector),
            ("v", &vector),
            ("d_context", &context),
            ("d_weights", &weights),
        ];
        let mut rng = Rng::new(seed);
        Ok(drawn.map(|(name, shape)| (name.to_string(), normal(&mut rng, shape))).into())
    }

    fn prepare(&self, gpu: &Gpu, request: &Request) -> Result<Prepared> {
        gpu::prepare(gpu, request)
    }

    fn reference(&self, request: &Request, precision: Precision) -> Result<References> {
        crate::evaluate!(cpu::run, request, precision)
    }

    /// Masked pairs are counted as if they were visible, and tanh and exp as one operation each; computing tanh again is not counted.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let p = Problem::of(request)?;
        let backward = request.wants_gradients();
        let pairs = (p.batch * p.queries * p.keys) as f64;
        let features = p.features as f64;
        let projections = 2.0 * (p.batch * (p.queries * p.dim_q + p.keys * p.dim_k)) as f64 * features;
        let scores = pairs * features * SCORE_FLOPS[usize::from(backward)];
        let flops = projections * if backward { 3.0 } else { 1.0 } + scores + context_flops(pairs, p.dim_v, backward);
        let read: usize = request.tensors.values().map(|t| t.bytes().len()).sum();
        let outputs = p.context_shape().iter().product::<usize>() + p.weights_shape().iter().product::<usize>();
        let gradients = if backward { SPEC.gradient_elements(request) } else { 0 };
        Ok(Cost { flops, bytes: read as f64 + ((outputs + gradients) * DType::F32.bytes()) as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_does_not_fit() {
        let good = Shapes {
            query: &[2, 3, 4],
            keys: &[2, 5, 6],
            values: &[2, 5, 7],
            wq: &[8, 4],
            wk: &[8, 6],
            b: &[8],
            v: &[8],
            key_mask: Some(&[2, 5]),
        };
        let p = Problem::new(&good).unwrap();
        assert_eq!((p.context_shape(), p.weights_shape(), p.features), ([2, 3, 7], [2, 3, 5], 8));
        let refused = |message: &str, change: fn(&mut Shapes)| {
            let mut shapes = good;
            change(&mut shapes);
            let got = Problem::new(&shapes).unwrap_err().to_string();
            assert!(got.contains(message), "{got}");
        };
        refused("'query' has shape [3, 4]; expected [B,Lq,Dq]", |s| s.query = &[3, 4]);
        refused("'keys' has shape [1, 5, 6]; expected [2,Lk,Dk], with as many batches as query", |s| s.keys = &[1, 5, 6]);
        refused("'values' has shape [2, 4, 7]; expected [2,5,Dv]", |s| s.values = &[2, 4, 7]);
        refused("'wq' has shape [8, 6]; expected [A,4] with the columns of query", |s| s.wq = &[8, 6]);
        refused("'wk' has shape [8, 4]; expected [8, 6]", |s| s.wk = &[8, 4]);
        refused("'b' has shape [1]; expected [8]", |s| s.b = &[1]);
        refused("'v' has shape [8, 1]; expected [8]", |s| s.v = &[8, 1]);
        refused("'key_mask' has shape [5]; expected [2, 5]", |s| s.key_mask = Some(&[5]));
        refused("'values' has shape [2, 5, 0]; expected every dimension", |s| s.values = &[2, 5, 0]);
    }
}
