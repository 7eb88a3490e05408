//! The attention of Luong, Pham and Manning, with its four scores, forward and backward.
//!
//! Shapes: query `[B, Lq, Dq]`, keys `[B, Lk, Dk]`, values `[B, Lk, Dv]`, key_mask `[B, Lk]`. For each batch element, query q_i and key k_j:
//!
//! ```text
//! dot      s_ij = q_i·k_j                                Dq = Dk
//! general  s_ij = q_i·w k_j                              w [Dq, Dk]
//! concat   s_ij = v·tanh(w [q_i; k_j])                   w [A, Dq + Dk], v [A]
//! cosine   s_ij = q_i·k_j / max(|q_i||k_j|, 1e-8)        Dq = Dk
//! weights_ij = softmax_j(s_ij)
//! context_i = Σ_j weights_ij values_j
//! ```
//!
//! There is no scale of 1/√D. Only keys where key_mask is not 0 take part; [`context`] has what that means, and the gradient ds
//! of the scores from those of context and of weights. From there back:
//!
//! ```text
//! dot      d_q_i = Σ_j ds_ij k_j,  d_k_j = Σ_i ds_ij q_i
//! general  p = q w:  dp_i = Σ_j ds_ij k_j,  d_k_j = Σ_i ds_ij p_i,  d_q = dp wᵀ,  d_w = qᵀ dp
//! concat   additive attention, whose wq and wk are the columns of w, without a bias
//! cosine   n_ij = max(|q_i||k_j|, 1e-8):  d_q_i = Σ_j ds_ij (k_j / n_ij − s_ij q_i / |q_i|²),  d_k_j likewise;
//!          without the second term where n_ij is the constant, zero vectors included
//! ```
//!
//! Source: Luong, Pham & Manning 2015, "Effective approaches to attention-based neural machine translation", arXiv:1508.04025, section 3.1;
//! cosine Graves, Wayne & Danihelka 2014, arXiv:1410.5401, equation 6, with the bound of torch.nn.functional.cosine_similarity.

mod cases;
mod cosine;
mod cpu;
mod gpu;

use std::str::FromStr;

pub use gpu::{Attended, Gradients, Inputs, backward, forward};

use super::additive_attention::SCORE_FLOPS;
use super::context::{self, Sequences};
use super::host::{elements, expect_shape, misfit, normals, wrong_shape};
use super::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, parse_shape,
};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{Array, DType, Error, Result};

const OP: &str = "luong_attention";
const SHAPE: &str = "B,Lq/Lk,Dq/Dk/Dv, and A for score=concat, for instance 2,5/12,8/8/11; 2,5,8 has Lq = Lk and Dq = Dk = Dv";
const SCORES: &str = "dot, general, concat or cosine";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "context = weights values, weights = softmax(score(query, keys)) over the visible keys",
    shape: SHAPE,
    inputs: &[
        Input::new("query", "[B,Lq,Dq]"),
        Input::new("keys", "[B,Lk,Dk]"),
        Input::new("values", "[B,Lk,Dv]"),
        Input::new("w", "[Dq,Dk] for score=general, [A,Dq+Dk] for score=concat").optional(),
        Input::new("v", "[A] for score=concat").optional(),
        Input::mask("key_mask", "[B,Lk]"),
    ],
    outputs: &[Output::new("context", "[B,Lq,Dv]"), Output::new("weights", "[B,Lq,Lk]")],
    keys: &[Key::new("score", "dot", "dot: q·k; general: q·w k; concat: v·tanh(w [q; k]); cosine: q·k / max(|q||k|, 1e-8)")],
};

/// How a query and a key are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Score {
    /// q·k
    #[default]
    Dot,
    /// q·w k
    General,
    /// v·tanh(w [q; k])
    Concat,
    /// q·k / max(|q||k|, 1e-8)
    Cosine,
}

impl FromStr for Score {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "dot" => Ok(Score::Dot),
            "general" => Ok(Score::General),
            "concat" => Ok(Score::Concat),
            "cosine" => Ok(Score::Cosine),
            _ => Err(()),
        }
    }
}

/// What is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LuongOptions {
    /// How a query and a key are compared.
    pub score: Score,
}

impl LuongOptions {
    fn of(settings: &Settings) -> Result<Self> {
        let wrong = |text: &str| Error::Argument { op: OP, key: "score".into(), expected: SCORES.into(), got: format!("'{text}'") };
        let score = settings.text("score").map(|text| text.parse().map_err(|()| wrong(text))).transpose()?;
        Ok(LuongOptions { score: score.unwrap_or_default() })
    }
}

/// The shapes of the tensors of a call.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// `[B, Lq, Dq]`
    pub query: &'a [usize],
    /// `[B, Lk, Dk]`
    pub keys: &'a [usize],
    /// `[B, Lk, Dv]`
    pub values: &'a [usize],
    /// `[Dq, Dk]` or `[A, Dq + Dk]`
    pub w: Option<&'a [usize]>,
    /// `[A]`
    pub v: Option<&'a [usize]>,
    /// `[B, Lk]`
    pub key_mask: Option<&'a [usize]>,
}

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How a query and a key are compared.
    pub score: Score,
    /// Those of queries, keys and values.
    pub sizes: Sequences,
    /// A: features of [`Score::Concat`]; 0 for another.
    pub features: usize,
}

impl Problem {
    /// Checks that the shapes fit one another and the score.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, [`Error::Tensors`] for a w or v that the score lacks or does not have, [`Error::Limit`] for a
    /// tensor of more than 2³¹ elements.
    pub fn new(shapes: &Shapes, options: &LuongOptions) -> Result<Self> {
        let score = options.score;
        let sizes = Sequences::new(OP, [shapes.query, shapes.keys, shapes.values], shapes.key_mask)?;
        let Sequences { batch, queries, keys, dim_q, dim_k, .. } = sizes;
        let [needs_w, needs_v] = [matches!(score, Score::General | Score::Concat), score == Score::Concat];
        for (name, needed, given) in [("w", needs_w, shapes.w), ("v", needs_v, shapes.v)] {
            let expected = "w for score=general, w and v for score=concat, neither for dot and cosine".to_string();
            match (needed, given) {
                (true, None) => return Err(Error::Tensors { op: OP, what: format!("tensor '{name}' is missing"), expected }),
                (false, Some(_)) => return Err(Error::Tensors { op: OP, what: format!("tensor '{name}' has no use here"), expected }),
                (true, Some(shape)) => drop(elements(OP, name, shape)?),
                (false, None) => {}
            }
        }
        if matches!(score, Score::Dot | Score::Cosine) && dim_q != dim_k {
            return Err(misfit(OP, "keys", shapes.keys, format!("[{batch},Lk,{dim_q}], with the columns of query")));
        }
        let mut features = 0;
        match (score, shapes.w, shapes.v) {
            (Score::General, Some(w), _) => {
                expect_shape(OP, "w", w, &[dim_q, dim_k])?;
                elements(OP, "query w", &[batch, queries, dim_k])?;
            }
            (Score::Concat, Some(w), Some(v)) => {
                let &[rows] = v else { return Err(misfit(OP, "v", v, "[A]")) };
                expect_shape(OP, "w", w, &[rows, dim_q + dim_k])?;
                elements(OP, "w query", &[batch, queries, rows])?;
                elements(OP, "w keys", &[batch, keys, rows])?;
                features = rows;
            }
            _ => {}
        }
        Ok(Problem { score, sizes, features })
    }

    /// Of a request, whose upstream gradients are checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and for a score that is none.
    pub fn of(request: &Request) -> Result<Self> {
        let shape = |name: &str| request.tensor(name).map(Array::shape);
        let shapes = Shapes {
            // `Request::new` has seen to it that these three are there; an absent one would be refused for its rank.
            query: shape("query").unwrap_or_default(),
            keys: shape("keys").unwrap_or_default(),
            values: shape("values").unwrap_or_default(),
            w: shape("w"),
            v: shape("v"),
            key_mask: shape("key_mask"),
        };
        let problem = Problem::new(&shapes, &LuongOptions::of(&request.settings)?)?;
        problem.sizes.expect_upstream(OP, request)?;
        Ok(problem)
    }

    /// Floating-point operations of the scores, with `backward` those of their gradients as well.
    fn score_flops(&self, backward: bool) -> f64 {
        let Sequences { batch, queries, keys, dim_q, dim_k, .. } = self.sizes;
        let pairs = self.sizes.pairs();
        let products = if backward { 3.0 } else { 1.0 };
        let dots = 2.0 * pairs * dim_k as f64 * products;
        let rows = |count: usize, from: usize, to: usize| 2.0 * (batch * count) as f64 * from as f64 * to as f64 * products;
        match self.score {
            Score::Dot => dots,
            Score::General => dots + rows(queries, dim_q, dim_k),
            Score::Concat => {
                let projections = rows(queries, dim_q, self.features) + rows(keys, dim_k, self.features);
                projections + pairs * self.features as f64 * SCORE_FLOPS[usize::from(backward)]
            }
            // The lengths, a product, a maximum and a quotient for each pair; and with the gradients five more, and those of the rows.
            Score::Cosine => {
                let elements = (batch * (queries + keys) * dim_k) as f64;
                dots + 2.0 * elements + 3.0 * pairs + if backward { 7.0 * pairs + 4.0 * elements } else { 0.0 }
            }
        }
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct LuongAttention;

impl Operation for LuongAttention {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        cosine::kernels(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let options = LuongOptions::of(settings)?;
        let fields = parse_shape(OP, SHAPE, shape)?;
        let wrong = || wrong_shape(OP, SHAPE, shape);
        let (fields, features) = match (options.score, fields.as_slice()) {
            (Score::Concat, [fields @ .., features]) if features.len() == 1 => (fields, features[0]),
            (Score::Concat, _) => return Err(wrong()),
            (_, fields) => (fields, 0),
        };
        let sizes = Sequences::parse(fields).ok_or_else(wrong)?;
        let Sequences { dim_q, dim_k, .. } = sizes;
        let (w, v) = match options.score {
            Score::General => (Some([dim_q, dim_k]), None),
            Score::Concat => (Some([features, dim_q + dim_k]), Some([features])),
            Score::Dot | Score::Cosine => (None, None),
        };
        let (w, v) = (w.as_ref().map(|w| w.as_slice()), v.as_ref().map(|v| v.as_slice()));
        let (query, keys, values) = (sizes.query_shape(), sizes.keys_shape(), sizes.values_shape());
        Problem::new(&Shapes { query: &query, keys: &keys, values: &values, w, v, key_mask: None }, &options)?;
        let (context, weights) = (sizes.context_shape(), sizes.weights_shape());
        let drawn: [(&str, Option<&[usize]>); 7] = [
            ("query", Some(&query)),
            ("keys", Some(&keys)),
            ("values", Some(&values)),
            ("w", w),
            ("v", v),
            ("d_context", Some(&context)),
            ("d_weights", Some(&weights)),
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

    /// Masked pairs are counted as if they were visible, and tanh and exp as one operation each; computing scores again is not counted.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let p = Problem::of(request)?;
        let backward = request.wants_gradients();
        let flops = p.score_flops(backward) + context::flops(p.sizes.pairs(), p.sizes.dim_v, backward);
        let read: usize = request.tensors.values().map(|t| t.bytes().len()).sum();
        let gradients = if backward { SPEC.gradient_elements(request) } else { 0 };
        Ok(Cost { flops, bytes: read as f64 + ((p.sizes.output_elements() + gradients) * DType::F32.bytes()) as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_does_not_fit() {
        let good = Shapes { query: &[2, 3, 4], keys: &[2, 5, 4], values: &[2, 5, 7], w: None, v: None, key_mask: None };
        let of = |shapes: &Shapes, score| Problem::new(shapes, &LuongOptions { score });
        assert_eq!(of(&good, Score::Dot).unwrap().sizes.weights_shape(), [2, 3, 5]);
        let refused = |message: &str, shapes: Shapes, score| {
            let got = of(&shapes, score).unwrap_err().to_string();
            assert!(got.contains(message), "{got}");
        };
        refused("tensor 'w' is missing; expected w for score=general", good, Score::General);
        refused("tensor 'w' has no use here", Shapes { w: Some(&[4, 4]), ..good }, Score::Cosine);
        refused("tensor 'v' is missing", Shapes { w: Some(&[6, 8]), ..good }, Score::Concat);
        refused("tensor 'v' has no use here", Shapes { w: Some(&[4, 4]), v: Some(&[4]), ..good }, Score::General);
        let wide = Shapes { keys: &[2, 5, 6], ..good };
        refused("'keys' has shape [2, 5, 6]; expected [2,Lk,4], with the columns of query", wide, Score::Dot);
        refused("'w' has shape [6, 4]; expected [4, 6]", Shapes { w: Some(&[6, 4]), ..wide }, Score::General);
        refused("'w' has shape [9, 8]; expected [9, 10]", Shapes { w: Some(&[9, 8]), v: Some(&[9]), ..wide }, Score::Concat);
        refused("'v' has shape [9, 1]; expected [A]", Shapes { w: Some(&[9, 10]), v: Some(&[9, 1]), ..wide }, Score::Concat);
        assert_eq!(of(&Shapes { w: Some(&[9, 10]), v: Some(&[9]), ..wide }, Score::Concat).unwrap().features, 9);
        let settings = Settings::new([("score".to_string(), "Dot".to_string())]);
        let message = LuongOptions::of(&settings).unwrap_err().to_string();
        assert_eq!(message, "luong_attention: score = 'Dot'; expected dot, general, concat or cosine");
    }
}
