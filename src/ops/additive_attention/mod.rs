//! Additive attention, the attention of Bahdanau, Cho and Bengio, forward and backward.
//!
//! Shapes: query `[B, Lq, Dq]`, keys `[B, Lk, Dk]`, values `[B, Lk, Dv]`, wq `[A, Dq]`, wk `[A, Dk]`, b and v `[A]`, key_mask `[B, Lk]`. For
//! each batch element, query i and key j:
//!
//! ```text
//! x_i = wq query_i + b,  y_j = wk keys_j
//! t_ija = tanh(x_ia + y_ja)
//! s_ij = Σ_a v_a t_ija
//! weights_ij = softmax_j(s_ij)
//! context_i = Σ_j weights_ij values_j
//! ```
//!
//! Only keys where key_mask is not 0 take part; [`context`] has what that means, and the gradient ds of the scores from those of
//! context and of weights. From there back:
//!
//! ```text
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

use super::context::{self, Sequences};
use super::host::{elements, expect_shape, misfit, normals, wrong_shape};
use super::{
    Applied, Arrays, Call, Case, Cost, Input, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, parse_shape,
};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Those of queries, keys and values.
    pub sizes: Sequences,
    /// A: features that query and key are projected to.
    pub features: usize,
}

impl Problem {
    /// Checks that the shapes fit one another.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for shapes that do not fit, [`Error::Limit`](crate::Error::Limit) for a tensor of more than 2³¹ elements.
    pub fn new(shapes: &Shapes) -> Result<Self> {
        let sizes = Sequences::new(OP, [shapes.query, shapes.keys, shapes.values], shapes.key_mask)?;
        let Sequences { batch, queries, keys, dim_q, dim_k, .. } = sizes;
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
        Ok(Problem { sizes, features })
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
        problem.sizes.expect_upstream(OP, request)?;
        Ok(problem)
    }
}

/// Floating-point operations of additive scores for each query, key and feature: sum, tanh and product forward; with the gradients 1 − t², and a
/// product and a sum for each of three.
pub(crate) const SCORE_FLOPS: [f64; 2] = [4.0, 12.0];

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
        let [fields @ .., features] = fields.as_slice() else { return Err(wrong()) };
        let (Some(sizes), &[features]) = (Sequences::parse(fields), features.as_slice()) else { return Err(wrong()) };
        let (query, keys, values) = (sizes.query_shape(), sizes.keys_shape(), sizes.values_shape());
        let (wq, wk, vector) = ([features, sizes.dim_q], [features, sizes.dim_k], [features]);
        Problem::new(&Shapes { query: &query, keys: &keys, values: &values, wq: &wq, wk: &wk, b: &vector, v: &vector, key_mask: None })?;
        let (context, weights) = (sizes.context_shape(), sizes.weights_shape());
        let drawn: [(&str, &[usize]); 9] = [
            ("query", &query),
            ("keys", &keys),
            ("values", &values),
            ("wq", &wq),
            ("wk", &wk),
            ("b", &vector),
            ("v", &vector),
            ("d_context", &context),
            ("d_weights", &weights),
        ];
        Ok(normals(seed, drawn))
    }

    fn prepare(&self, gpu: &Gpu, request: &Request) -> Result<Prepared> {
        gpu::prepare(gpu, request)
    }

    fn apply(&self, call: Call) -> Result<Applied> {
        gpu::apply(call)
    }

    fn reference(&self, request: &Request, precision: Precision) -> Result<References> {
        crate::evaluate!(cpu::run, request, precision)
    }

    /// Masked pairs are counted as if they were visible, and tanh and exp as one operation each; computing tanh again is not counted.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let Problem { sizes, features } = Problem::of(request)?;
        let Sequences { batch, queries, keys, dim_q, dim_k, dim_v } = sizes;
        let backward = request.wants_gradients();
        let projections = 2.0 * (batch * (queries * dim_q + keys * dim_k)) as f64 * features as f64;
        let scores = sizes.pairs() * features as f64 * SCORE_FLOPS[usize::from(backward)];
        let flops = projections * if backward { 3.0 } else { 1.0 } + scores + context::flops(sizes.pairs(), dim_v, backward);
        let read: usize = request.tensors.values().map(|t| t.bytes().len()).sum();
        let gradients = if backward { SPEC.gradient_elements(request) } else { 0 };
        Ok(Cost { flops, bytes: read as f64 + ((sizes.output_elements() + gradients) * DType::F32.bytes()) as f64 })
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
        assert_eq!((p.sizes.context_shape(), p.sizes.weights_shape(), p.features), ([2, 3, 7], [2, 3, 5], 8));
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
