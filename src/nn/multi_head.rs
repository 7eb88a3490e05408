//! Multi-head attention.

use super::{Attended, Init, Linear, Mode, Scope};
use crate::autograd::{Variable, apply, settings};
use crate::ops::attention;
use crate::ops::multi_head_attention;
use crate::{Error, Result};

/// `torch.nn.MultiheadAttention` with `batch_first`: [`ops::multi_head_attention`](crate::ops::multi_head_attention), or with causality or
/// dropout [`ops::attention`](crate::ops::attention) between the projections.
///
/// Source: Vaswani et al. 2017, arXiv:1706.03762; PyTorch for names and initial values.
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    in_proj_weight: Variable,
    in_proj_bias: Variable,
    out_proj: Linear,
    heads: usize,
    features: usize,
    dropout: f32,
}

impl MultiHeadAttention {
    /// Draws in_proj_weight `[3 · features, features]` (Glorot's uniform), in_proj_bias, out_proj.weight and out_proj.bias; biases are 0.
    ///
    /// # Errors
    /// [`Error::Argument`] when the heads do not divide the features; as [`Scope::draw`].
    pub fn new(scope: &mut Scope, features: usize, heads: usize, dropout: f32) -> Result<Self> {
        if heads == 0 || !features.is_multiple_of(heads) {
            let (expected, got) = (format!("a divisor of {features}"), heads.to_string());
            return Err(Error::Argument { op: "multi_head_attention", key: "heads".into(), expected, got });
        }
        let glorot = Init::Uniform((6.0 / (4 * features) as f64).sqrt());
        let in_proj_weight = scope.draw("in_proj_weight", &[3 * features, features], glorot)?;
        let in_proj_bias = scope.draw("in_proj_bias", &[3 * features], Init::Constant(0.0))?;
        let mut out = scope.at("out_proj");
        let weight = out.draw("weight", &[features, features], Init::Uniform(1.0 / (features as f64).sqrt()))?;
        let out_proj = Linear { weight, bias: Some(out.draw("bias", &[features], Init::Constant(0.0))?) };
        Ok(MultiHeadAttention { in_proj_weight, in_proj_bias, out_proj, heads, features, dropout })
    }

    /// Of the sides query, key and value: queries `[batch, queries, features]` over keys and values `[batch, keys, features]`. `key_mask` is u8 `[batch, keys]`; `causal` hides
    /// the keys behind a query. The weights are `[batch, heads, queries, keys]`; where there is causality or dropout they are a constant and, while
    /// training, the logarithms of the sums `[batch, heads, queries]` in their place, since nothing of their size is stored then.
    ///
    /// # Errors
    /// As [`apply`].
    pub fn forward(&self, sides: [&Variable; 3], key_mask: Option<&Variable>, causal: bool, mode: &Mode) -> Result<Attended> {
        let p = mode.p(self.dropout);
        if causal || p > 0.0 {
            return self.between_projections(sides, key_mask, causal, mode);
        }
        let [query, key, value] = sides;
        let Some(out_bias) = &self.out_proj.bias else { unreachable!("it was made with a bias") };
        let mut inputs = vec![("query", query), ("key", key), ("value", value), ("in_proj_weight", &self.in_proj_weight)];
        inputs.extend([("in_proj_bias", &self.in_proj_bias), ("out_proj_weight", &self.out_proj.weight), ("out_proj_bias", out_bias)]);
        inputs.extend(key_mask.map(|mask| ("key_keep", mask)));
        let out = apply(&multi_head_attention::MultiHeadAttention, &inputs, &settings(&[("heads", &self.heads)]))?;
        Ok(Attended { context: out.get("o")?, weights: out.get("probs")? })
    }

    fn between_projections(&self, sides: [&Variable; 3], key_mask: Option<&Variable>, causal: bool, mode: &Mode) -> Result<Attended> {
        let [query, key, value] = sides;
        let (e, heads) = (self.features, self.heads);
        let [batch, queries, count] = match (query.shape().as_slice(), key.shape().as_slice()) {
            (&[batch, queries, _], &[_, count, _]) => [batch, queries, count],
            (shape, _) => {
                let got = crate::array::show_shape(shape);
                return Err(Error::Shape { op: "attention", tensor: "query".into(), expected: "[batch, queries, features]".into(), got });
            }
        };
        // [batch, heads, time, features / heads]
        let projected = |n: usize, x: &Variable, time: usize| {
            let weight = self.in_proj_weight.slice(0, n * e, (n + 1) * e)?;
            let bias = self.in_proj_bias.slice(0, n * e, (n + 1) * e)?;
            x.linear(&weight, Some(&bias))?.reshape(&[batch, time, heads, e / heads])?.transpose(&[0, 2, 1, 3])
        };
        let (q, k, v) = (projected(0, query, queries)?, projected(1, key, count)?, projected(2, value, count)?);
        let mask = key_mask.map(|mask| mask.reshape(&[batch, 1, 1, count])).transpose()?;
        let mut inputs = vec![("q", &q), ("k", &k), ("v", &v)];
        inputs.extend(mask.as_ref().map(|mask| ("mask", mask)));
        let p = mode.p(self.dropout);
        let seed = if p > 0.0 { mode.seed() } else { 0 };
        // While training nobody looks at the weights, and without them nothing of their size is stored.
        let shown = !mode.is_training();
        let keys = settings(&[("causal", &causal), ("dropout_p", &p), ("seed", &seed), ("weights", &shown)]);
        let out = apply(&attention::Attention, &inputs, &keys)?;
        let o = out.get("o")?.transpose(&[0, 2, 1, 3])?.reshape(&[batch, queries, e])?;
        let weights = if shown { out.get("weights")? } else { out.get("lse")? };
        Ok(Attended { context: self.out_proj.forward(&o)?, weights })
    }
}
