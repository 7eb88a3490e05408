//! Multi-head attention as `torch.nn.MultiheadAttention` has it, batch first, forward and backward.
//!
//! Shapes: query `[B, Lq, E]`, key and value `[B, Lk, E]`, in_proj_weight `[3E, E]`, whose rows are the blocks of q, k and v, in_proj_bias
//! `[3E]`, out_proj_weight `[E, E]`, out_proj_bias `[E]`, key_keep `[B, Lk]`. With D = E / heads, head h has the elements from h·D on:
//!
//! ```text
//! q = query W_qᵀ + b_q,  k = key W_kᵀ + b_k,  v = value W_vᵀ + b_v
//! probs_hij = softmax_j(q_hi·k_hj / √D)                over the keys that key_keep shows; 0 for a hidden one
//! a_hi = Σ_j probs_hij v_hj
//! o_i = [a_0i; a_1i; …] out_proj_weightᵀ + out_proj_bias
//! ```
//!
//! probs are those of each head, not their mean. What a hidden key and its value hold reaches nothing, NaN and infinities included. A query that
//! sees nothing has probs of 0 and o = out_proj_bias.
//!
//! It has no kernels of its own. Without probs it is [`attention`](super::attention) on the fused path, which stores no probabilities; heads are
//! strides, so nothing is copied to be rearranged. With probs they are stored, and the backward starts from them: it takes upstream gradients
//! of o and of probs.
//!
//! Time: O(B · (Lq + Lk) · E² + B · Lq · Lk · E).
//!
//! Sources: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2; PyTorch's documentation of `torch.nn.MultiheadAttention`.

mod cases;
mod cpu;
mod gpu;
mod heads;

use std::sync::Arc;

pub use gpu::{Attended, Gradients, Inputs, backward, forward};

use super::attention::Path;
use super::context::{self, each};
use super::host::{elements, expect_shape, expect_upstream, misfit, normals, wrong_shape};
use super::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
    parse_shape,
};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{Array, DType, Error, Result};

const OP: &str = "multi_head_attention";
const SHAPE: &str = "B,Lq/Lk,E, for instance 2,11/13,24; 2,11,24 has Lq = Lk";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "o = attention of heads of projected query, key and value, projected; probs = softmax(q·kᵀ/√D) of each head",
    shape: SHAPE,
    inputs: &[
        Input::new("query", "[B,Lq,E]"),
        Input::new("key", "[B,Lk,E]"),
        Input::new("value", "[B,Lk,E]"),
        Input::new("in_proj_weight", "[3E,E]"),
        Input::new("in_proj_bias", "[3E]").optional(),
        Input::new("out_proj_weight", "[E,E]"),
        Input::new("out_proj_bias", "[E]").optional(),
        Input::mask("key_keep", "[B,Lk]"),
    ],
    outputs: &[Output::new("o", "[B,Lq,E]"), Output::new("probs", "[B,heads,Lq,Lk], with probs=true")],
    keys: &[
        Key::new("heads", "1", "heads, a divisor of E"),
        Key::new("probs", "true", "also output the probabilities; without them nothing of their size is stored"),
    ],
};

/// What a caller may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MultiHeadOptions {
    /// Heads, a divisor of E.
    pub heads: usize,
    /// Also return the probabilities, `[B, heads, Lq, Lk]`, and take a gradient through them.
    pub probs: bool,
}

/// One head, without probabilities.
impl Default for MultiHeadOptions {
    fn default() -> Self {
        MultiHeadOptions { heads: 1, probs: false }
    }
}

impl MultiHeadOptions {
    fn of(settings: &Settings) -> Result<Self> {
        let heads = settings.get(OP, "heads", "an integer of at least 1")?.unwrap_or(1);
        Ok(MultiHeadOptions { heads, probs: settings.flag(OP, "probs", true)? })
    }
}

/// The shapes of the tensors of a call.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// `[B, Lq, E]`
    pub query: &'a [usize],
    /// `[B, Lk, E]`
    pub key: &'a [usize],
    /// `[B, Lk, E]`
    pub value: &'a [usize],
    /// `[3E, E]`
    pub in_proj_weight: &'a [usize],
    /// `[3E]`
    pub in_proj_bias: Option<&'a [usize]>,
    /// `[E, E]`
    pub out_proj_weight: &'a [usize],
    /// `[E]`
    pub out_proj_bias: Option<&'a [usize]>,
    /// `[B, Lk]`
    pub key_keep: Option<&'a [usize]>,
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
    /// E: elements of a query, a key, a value and an output.
    pub embed: usize,
    /// D: elements of each of a head.
    pub dim: usize,
    /// The options, checked.
    pub options: MultiHeadOptions,
}

impl Problem {
    /// Checks that the shapes and the number of heads fit one another.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, [`Error::Argument`] for heads that do not divide E, [`Error::Limit`] for a tensor of more than
    /// 2³¹ elements.
    pub fn new(shapes: &Shapes, options: &MultiHeadOptions) -> Result<Self> {
        let &[batch, queries, embed] = shapes.query else { return Err(misfit(OP, "query", shapes.query, "[B,Lq,E]")) };
        let keys = match *shapes.key {
            [b, keys, e] if (b, e) == (batch, embed) => keys,
            _ => return Err(misfit(OP, "key", shapes.key, format!("[{batch},Lk,{embed}], with batch and E of query"))),
        };
        expect_shape(OP, "value", shapes.value, shapes.key)?;
        // Before three times E, which might be more than can be counted.
        for (name, shape) in [("query", shapes.query), ("key", shapes.key), ("out_proj_weight", &[embed, embed])] {
            elements(OP, name, shape)?;
        }
        let optional =
            |name, shape: Option<&[usize]>, expected: &[usize]| shape.map_or(Ok(()), |got| expect_shape(OP, name, got, expected));
        expect_shape(OP, "in_proj_weight", shapes.in_proj_weight, &[3 * embed, embed])?;
        optional("in_proj_bias", shapes.in_proj_bias, &[3 * embed])?;
        expect_shape(OP, "out_proj_weight", shapes.out_proj_weight, &[embed, embed])?;
        optional("out_proj_bias", shapes.out_proj_bias, &[embed])?;
        optional("key_keep", shapes.key_keep, &[batch, keys])?;
        elements(OP, "in_proj_weight", shapes.in_proj_weight)?;
        let heads = options.heads;
        if heads == 0 || !embed.is_multiple_of(heads) {
            let expected = format!("a divisor of {embed}, the columns of query");
            return Err(Error::Argument { op: OP, key: "heads".into(), expected, got: heads.to_string() });
        }
        if options.probs {
            elements(OP, "probs", &[batch, heads, queries, keys])?;
        }
        Ok(Problem { batch, queries, keys, embed, dim: embed / heads, options: *options })
    }

    /// Of a request, whose upstream gradients are checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`]; [`Error::Tensors`] for a gradient of probabilities that are not asked for.
    pub fn of(request: &Request) -> Result<Self> {
        let shape = |name: &str| request.tensor(name).map(Array::shape);
        // `Request::new` has seen to it that what is not optional is there; an absent one would be refused for its rank.
        let required = |name: &str| shape(name).unwrap_or_default();
        let shapes = Shapes {
            query: required("query"),
            key: required("key"),
            value: required("value"),
            in_proj_weight: required("in_proj_weight"),
            in_proj_bias: shape("in_proj_bias"),
            out_proj_weight: required("out_proj_weight"),
            out_proj_bias: shape("out_proj_bias"),
            key_keep: shape("key_keep"),
        };
        let problem = Problem::new(&shapes, &MultiHeadOptions::of(&request.settings)?)?;
        expect_upstream(OP, request, "o", shapes.query)?;
        if !problem.options.probs && request.tensor("d_probs").is_some() {
            let (what, expected) = ("tensor 'd_probs' is given with probs=false".into(), "it with probs=true only".into());
            return Err(Error::Tensors { op: OP, what, expected });
        }
        expect_upstream(OP, request, "probs", &problem.probs_shape())?;
        Ok(problem)
    }

    /// `[B, heads, Lq, Lk]`
    pub fn probs_shape(&self) -> [usize; 4] {
        [self.batch, self.options.heads, self.queries, self.keys]
    }

    /// What q·k is multiplied by.
    fn scale(&self) -> f32 {
        (1.0 / (self.dim as f64).sqrt()) as f32
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct MultiHeadAttention;

impl Operation for MultiHeadAttention {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, _caps: &Caps) -> Vec<AnyVariant> {
        Vec::new()
    }

    /// Heads lie otherwise here than in attention, on both of its paths.
    fn tunings(&self, _caps: &Caps) -> Vec<Tuning> {
        let composed = Tuning { label: "composed".into(), pin: Arc::new(|gpu: &Gpu| gpu.pin(Path::Composed)) };
        vec![Tuning::default(), composed]
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let fields = parse_shape(OP, SHAPE, shape)?;
        let wrong = || wrong_shape(OP, SHAPE, shape);
        let [batch, seq, embed] = fields.as_slice() else { return Err(wrong()) };
        let (&[batch], Some([queries, keys]), &[embed]) = (batch.as_slice(), each(seq), embed.as_slice()) else { return Err(wrong()) };
        let (query, key) = ([batch, queries, embed], [batch, keys, embed]);
        let (in_proj, in_bias, out_proj, out_bias) = ([3 * embed, embed], [3 * embed], [embed, embed], [embed]);
        let shapes = Shapes {
            query: &query,
            key: &key,
            value: &key,
            in_proj_weight: &in_proj,
            in_proj_bias: Some(&in_bias),
            out_proj_weight: &out_proj,
            out_proj_bias: Some(&out_bias),
            key_keep: None,
        };
        let problem = Problem::new(&shapes, &MultiHeadOptions::of(settings)?)?;
        let probs = problem.probs_shape();
        let drawn: [(&str, Option<&[usize]>); 9] = [
            ("query", Some(&query)),
            ("key", Some(&key)),
            ("value", Some(&key)),
            ("in_proj_weight", Some(shapes.in_proj_weight)),
            ("in_proj_bias", shapes.in_proj_bias),
            ("out_proj_weight", Some(shapes.out_proj_weight)),
            ("out_proj_bias", shapes.out_proj_bias),
            ("d_o", Some(&query)),
            ("d_probs", problem.options.probs.then_some(&probs)),
        ];
        Ok(normals(seed, drawn.into_iter().filter_map(|(name, shape)| Some((name, shape?)))))
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

    /// Hidden pairs are counted as if they were visible, and exp as one operation; computing scores again is not counted.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let p = Problem::of(request)?;
        let backward = request.wants_gradients();
        let products = if backward { 3.0 } else { 1.0 };
        let (embed, pairs) = (p.embed as f64, (p.batch * p.options.heads * p.queries * p.keys) as f64);
        let projections = 2.0 * (p.batch * 2 * (p.queries + p.keys)) as f64 * embed * embed * products;
        let flops = projections + 2.0 * pairs * p.dim as f64 * products + context::flops(pairs, p.dim, backward);
        let read: usize = request.tensors.values().map(|t| t.bytes().len()).sum();
        let probs = if p.options.probs { pairs } else { 0.0 };
        let outputs = (p.batch * p.queries) as f64 * embed + probs;
        let gradients = if backward { SPEC.gradient_elements(request) as f64 } else { 0.0 };
        Ok(Cost { flops, bytes: read as f64 + (outputs + gradients) * DType::F32.bytes() as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_does_not_fit() {
        let good = Shapes {
            query: &[2, 3, 12],
            key: &[2, 5, 12],
            value: &[2, 5, 12],
            in_proj_weight: &[36, 12],
            in_proj_bias: Some(&[36]),
            out_proj_weight: &[12, 12],
            out_proj_bias: Some(&[12]),
            key_keep: Some(&[2, 5]),
        };
        let options = MultiHeadOptions { heads: 4, probs: true };
        let p = Problem::new(&good, &options).unwrap();
        assert_eq!((p.dim, p.probs_shape()), (3, [2, 4, 3, 5]));
        let refused = |message: &str, change: fn(&mut Shapes)| {
            let mut shapes = good;
            change(&mut shapes);
            let got = Problem::new(&shapes, &options).unwrap_err().to_string();
            assert!(got.contains(message), "{got}");
        };
        refused("'query' has shape [3, 12]; expected [B,Lq,E]", |s| s.query = &[3, 12]);
        refused("'key' has shape [2, 5, 8]; expected [2,Lk,12], with batch and E of query", |s| s.key = &[2, 5, 8]);
        refused("'value' has shape [2, 4, 12]; expected [2, 5, 12]", |s| s.value = &[2, 4, 12]);
        refused("'in_proj_weight' has shape [12, 12]; expected [36, 12]", |s| s.in_proj_weight = &[12, 12]);
        refused("'in_proj_bias' has shape [12]; expected [36]", |s| s.in_proj_bias = Some(&[12]));
        refused("'out_proj_bias' has shape [36]; expected [12]", |s| s.out_proj_bias = Some(&[36]));
        refused("'key_keep' has shape [2, 3]; expected [2, 5]", |s| s.key_keep = Some(&[2, 3]));
        for heads in [0, 5] {
            let message = Problem::new(&good, &MultiHeadOptions { heads, ..options }).unwrap_err().to_string();
            assert_eq!(message, format!("multi_head_attention: heads = {heads}; expected a divisor of 12, the columns of query"));
        }
    }
}
