//! Attention of a query over a sequence, with any of the scores, and pooling by attention.

use std::fmt;
use std::str::FromStr;

use super::{Init, Linear, Mode, MultiHeadAttention, Scope};
use crate::autograd::{Variable, apply, settings};
use crate::ops::additive_attention::AdditiveAttention;
use crate::ops::luong_attention::LuongAttention;
use crate::ops::weighted_sum::WeightedSum;
use crate::{Error, Result};

/// How a query q and a key k are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Score {
    /// q·k
    Dot,
    /// q·k / √features
    ScaledDot,
    /// q·W k
    #[default]
    General,
    /// (W_a q)·(W_e k), where W_e k is also what is summed.
    Bilinear,
    /// v·tanh(W_q q + W_k k + b)
    Additive,
    /// v·tanh(W [q; k])
    Concat,
    /// q·k / (|q| |k|)
    Cosine,
    /// (W_q q)·(W_k k) / √(features / heads) in each of so many heads, where the values are W_v k, and what the heads find goes through a
    /// linear layer: [`MultiHeadAttention`].
    MultiHead(usize),
}

impl Score {
    /// All that take no number.
    pub const PLAIN: [Score; 7] =
        [Score::Dot, Score::ScaledDot, Score::General, Score::Bilinear, Score::Additive, Score::Concat, Score::Cosine];

    /// The name, as configurations have it, without the number of heads.
    pub const fn name(self) -> &'static str {
        match self {
            Score::Dot => "dot",
            Score::ScaledDot => "scaled_dot",
            Score::General => "general",
            Score::Bilinear => "bilinear",
            Score::Additive => "additive",
            Score::Concat => "concat",
            Score::Cosine => "cosine",
            Score::MultiHead(_) => "multi_head",
        }
    }

    /// Whether queries and keys must have the same features.
    pub const fn needs_equal_features(self) -> bool {
        matches!(self, Score::Dot | Score::ScaledDot | Score::Cosine | Score::MultiHead(_))
    }
}

/// The name, and behind it the heads: `additive`, `multi_head:4`.
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Score::MultiHead(heads) => write!(f, "{}:{heads}", self.name()),
            plain => f.write_str(plain.name()),
        }
    }
}

impl FromStr for Score {
    type Err = Error;

    /// What [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self> {
        let heads = text.strip_prefix("multi_head:").and_then(|heads| heads.parse().ok()).filter(|&heads| heads > 0);
        let found = Score::PLAIN.into_iter().find(|score| score.name() == text).or(heads.map(Score::MultiHead));
        found.ok_or_else(|| {
            let expected = format!("one of {}, or multi_head:N with N heads", Score::PLAIN.map(Score::name).join(", "));
            Error::Argument { op: "attention", key: "score".into(), expected, got: format!("'{text}'") }
        })
    }
}

/// What attention gives.
#[derive(Clone, Debug)]
pub struct Attended {
    /// `[batch, queries, features]`
    pub context: Variable,
    /// `[batch, queries, keys]`: who attended to what.
    pub weights: Variable,
}

#[derive(Clone, Debug)]
enum Own {
    /// Dot, scaled dot and cosine.
    Nothing,
    /// General and concat: w, and v of the latter.
    Luong {
        w: Variable,
        v: Option<Variable>,
    },
    Bilinear {
        query: Linear,
        key: Linear,
    },
    Additive {
        query: Linear,
        key: Linear,
        v: Variable,
    },
    MultiHead(MultiHeadAttention),
}

/// Attention of queries `[batch, queries, query features]` over keys, which are the values too, `[batch, keys, key features]`:
/// [`ops::luong_attention`](crate::ops::luong_attention), [`ops::additive_attention`](crate::ops::additive_attention) and
/// [`ops::multi_head_attention`](crate::ops::multi_head_attention).
///
/// Sources: Bahdanau, Cho & Bengio 2014, arXiv:1409.0473 (additive); Luong, Pham & Manning 2015, arXiv:1508.04025 (dot, general, concat);
/// Vaswani et al. 2017, arXiv:1706.03762 (scaled, section 3.2.1; several heads, section 3.2.2); Graves, Wayne & Danihelka 2014,
/// arXiv:1410.5401 (cosine).
#[derive(Clone, Debug)]
pub struct Attention {
    score: Score,
    own: Own,
    features: usize,
}

impl Attention {
    /// Draws what the score needs, uniform up to 1/√inputs as a linear layer: `w` (general `[query features, key features]`, concat
    /// `[size, both]`) and `v`; `query.weight`, `key.weight` (bilinear and additive `[size, features]`), `key.bias` and `v` (additive).
    /// `size` is that of what the last three have inside. Several heads have the parameters of [`MultiHeadAttention::new`].
    ///
    /// # Errors
    /// [`Error::Argument`] for scores that compare sides of the same features when theirs differ, and for heads that do not divide the
    /// features; as [`Scope::draw`].
    pub fn new(scope: &mut Scope, score: Score, query: usize, key: usize, size: usize) -> Result<Self> {
        let uniform = |inputs: usize| Init::Uniform(1.0 / (inputs as f64).sqrt());
        if score.needs_equal_features() && query != key {
            let (expected, got) = (format!("{key}, as the keys have, for score {score}"), query.to_string());
            return Err(Error::Argument { op: "attention", key: "query features".into(), expected, got });
        }
        let own = match score {
            Score::Dot | Score::ScaledDot | Score::Cosine => Own::Nothing,
            Score::MultiHead(heads) => Own::MultiHead(MultiHeadAttention::new(scope, query, heads, 0.0)?),
            Score::General => Own::Luong { w: scope.draw("w", &[query, key], uniform(key))?, v: None },
            Score::Concat => {
                let w = scope.draw("w", &[size, query + key], uniform(query + key))?;
                Own::Luong { w, v: Some(scope.draw("v", &[size], uniform(size))?) }
            }
            Score::Bilinear => {
                let query = Linear::new(&mut scope.at("query"), query, size, false)?;
                Own::Bilinear { query, key: Linear::new(&mut scope.at("key"), key, size, false)? }
            }
            Score::Additive => {
                let query = Linear::new(&mut scope.at("query"), query, size, false)?;
                let key = Linear::new(&mut scope.at("key"), key, size, true)?;
                Own::Additive { query, key, v: scope.draw("v", &[size], uniform(size))? }
            }
        };
        Ok(Attention { score, own, features: if score == Score::Bilinear { size } else { key } })
    }

    /// Features of a context: those of the keys, or of what bilinear attention makes of them.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Contexts and weights, of several heads the mean of theirs. `key_mask` is u8 `[batch, keys]`.
    ///
    /// # Errors
    /// As [`apply`].
    pub fn forward(&self, query: &Variable, keys: &Variable, key_mask: Option<&Variable>) -> Result<Attended> {
        let luong = |score: &str, query: &Variable, keys: &Variable, own: &[(&str, &Variable)]| {
            let mut inputs = vec![("query", query), ("keys", keys), ("values", keys)];
            inputs.extend(own.iter().copied().chain(key_mask.map(|mask| ("key_mask", mask))));
            apply(&LuongAttention, &inputs, &settings(&[("score", &score)]))
        };
        let out = match &self.own {
            Own::Nothing if self.score == Score::ScaledDot => luong("dot", &query.scale(1.0 / (self.features as f64).sqrt())?, keys, &[])?,
            Own::Nothing => luong(self.score.name(), query, keys, &[])?,
            Own::Luong { w, v: None } => luong("general", query, keys, &[("w", w)])?,
            Own::Luong { w, v: Some(v) } => luong("concat", query, keys, &[("w", w), ("v", v)])?,
            Own::Bilinear { query: wa, key: we } => luong("dot", &wa.forward(query)?, &we.forward(keys)?, &[])?,
            Own::Additive { query: wq, key: Linear { weight: wk, bias: Some(b) }, v } => {
                let mut inputs =
                    vec![("query", query), ("keys", keys), ("values", keys), ("wq", &wq.weight), ("wk", wk), ("b", b), ("v", v)];
                inputs.extend(key_mask.map(|mask| ("key_mask", mask)));
                apply(&AdditiveAttention, &inputs, &settings(&[]))?
            }
            Own::Additive { .. } => unreachable!("the key's side was made with a bias"),
            Own::MultiHead(attention) => {
                let Attended { context, weights } = attention.forward([query, keys, keys], key_mask, false, &Mode::predict())?;
                let heads = weights.shape()[1];
                return Ok(Attended { context, weights: weights.sum(Some(&[1]))?.scale(1.0 / heads as f64)? });
            }
        };
        Ok(Attended { context: out.get("context")?, weights: out.get("weights")? })
    }
}

/// One vector of a sequence: the sum of its elements, weighted by v·tanh(W x + b).
///
/// Source: Yang et al. 2016, "Hierarchical attention networks for document classification", equations 5 to 7.
#[derive(Clone, Debug)]
pub struct AttentionPooling {
    inner: Linear,
    v: Linear,
}

impl AttentionPooling {
    /// Draws `inner.weight` `[size, features]`, `inner.bias` and `v.weight` `[1, size]`.
    ///
    /// # Errors
    /// As [`Scope::draw`].
    pub fn new(scope: &mut Scope, features: usize, size: usize) -> Result<Self> {
        let inner = Linear::new(&mut scope.at("inner"), features, size, true)?;
        Ok(AttentionPooling { inner, v: Linear::new(&mut scope.at("v"), size, 1, false)? })
    }

    /// x `[batch, time, features]`, `mask` u8 `[batch, time]`: context `[batch, 1, features]`, weights `[batch, 1, time]`.
    ///
    /// # Errors
    /// As [`apply`], and [`Error::Shape`] for x of another rank.
    pub fn forward(&self, x: &Variable, mask: Option<&Variable>) -> Result<Attended> {
        let shape = x.shape();
        let &[batch, time, _] = shape.as_slice() else {
            let got = crate::array::show_shape(&shape);
            return Err(Error::Shape { op: "attention", tensor: "x".into(), expected: "[batch, time, features]".into(), got });
        };
        let mask = mask.map(|mask| mask.reshape(&[batch, 1, time])).transpose()?;
        let scores = self.v.forward(&self.inner.forward(x)?.tanh()?)?.reshape(&[batch, 1, time])?;
        let weights = scores.softmax(mask.as_ref())?;
        let mut inputs = vec![("weights", &weights), ("v", x)];
        inputs.extend(mask.as_ref().map(|mask| ("mask", mask)));
        let context = apply(&WeightedSum, &inputs, &settings(&[]))?.get("o")?;
        Ok(Attended { context, weights })
    }
}
