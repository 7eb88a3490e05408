//! Linear, Embedding, Dropout, LayerNorm and RmsNorm.

use super::{Init, Mode, Scope};
use crate::autograd::{Variable, apply, settings};
use crate::ops::embedding;
use crate::ops::layer_norm;
use crate::ops::rms_norm;
use crate::{Array, Error, Result};

/// y = x weightᵀ + bias, as `torch.nn.Linear`: [`ops::linear`](crate::ops::linear). weight and bias are uniform up to 1/√inputs.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`
    pub weight: Variable,
    /// `[outputs]`
    pub bias: Option<Variable>,
}

impl Linear {
    /// Draws `weight` and, with `bias`, `bias`.
    ///
    /// # Errors
    /// As [`Scope::draw`].
    pub fn new(scope: &mut Scope, inputs: usize, outputs: usize, bias: bool) -> Result<Self> {
        let init = Init::Uniform(1.0 / (inputs as f64).sqrt());
        let weight = scope.draw("weight", &[outputs, inputs], init)?;
        let bias = if bias { Some(scope.draw("bias", &[outputs], init)?) } else { None };
        Ok(Linear { weight, bias })
    }

    /// `[.., outputs]` from `[.., inputs]`.
    ///
    /// # Errors
    /// As [`apply`].
    pub fn forward(&self, x: &Variable) -> Result<Variable> {
        x.linear(&self.weight, self.bias.as_ref())
    }
}

/// Rows of a matrix by their ids, as `torch.nn.Embedding`: [`ops::embedding`](crate::ops::embedding). weight is standard normal, and 0 in the row of
/// the padding, which has no gradient.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[vocabulary, columns]`
    pub weight: Variable,
    padding: Option<usize>,
}

impl Embedding {
    /// Draws `weight`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a padding that is no row; as [`Scope::draw`].
    pub fn new(scope: &mut Scope, vocabulary: usize, columns: usize, padding: Option<usize>) -> Result<Self> {
        let shape = [vocabulary, columns];
        let mut values = scope.values(crate::ops::count("embedding", "weight", &shape)?, Init::Normal(1.0));
        if let Some(row) = padding {
            if row >= vocabulary {
                let expected = format!("a row from 0 to {}", vocabulary - 1);
                return Err(Error::Argument { op: "embedding", key: "padding".into(), expected, got: row.to_string() });
            }
            values[row * columns..][..columns].fill(0.0);
        }
        let weight = scope.put("weight", Array::f32(&shape, values))?;
        Ok(Embedding { weight, padding })
    }

    /// `[.., columns]` of ids `[..]` (i32).
    ///
    /// # Errors
    /// As [`apply`].
    pub fn forward(&self, ids: &Variable) -> Result<Variable> {
        let padding = self.padding.map_or("none".to_string(), |row| row.to_string());
        apply(&embedding::Embedding, &[("ids", ids), ("weight", &self.weight)], &settings(&[("padding_idx", &padding)]))?.get("y")
    }
}

/// Some elements left out at random while training, as `torch.nn.Dropout`: [`ops::dropout`](crate::ops::dropout).
#[derive(Clone, Copy, Debug)]
pub struct Dropout(pub f32);

impl Dropout {
    /// x, or what is left of it.
    ///
    /// # Errors
    /// As [`apply`].
    pub fn forward(&self, x: &Variable, mode: &Mode) -> Result<Variable> {
        let p = mode.p(self.0);
        if p == 0.0 { Ok(x.clone()) } else { x.dropout(p, mode.seed()) }
    }
}

/// Normalization by mean and variance, as `torch.nn.LayerNorm` over the last dimension: [`ops::layer_norm`](crate::ops::layer_norm).
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// `[columns]`, ones
    pub weight: Variable,
    /// `[columns]`, zeros
    pub bias: Variable,
}

impl LayerNorm {
    /// Makes `weight` and `bias`.
    ///
    /// # Errors
    /// As [`Scope::draw`].
    pub fn new(scope: &mut Scope, columns: usize) -> Result<Self> {
        let weight = scope.draw("weight", &[columns], Init::Constant(1.0))?;
        Ok(LayerNorm { weight, bias: scope.draw("bias", &[columns], Init::Constant(0.0))? })
    }

    /// In x's shape `[.., columns]`.
    ///
    /// # Errors
    /// As [`apply`].
    pub fn forward(&self, x: &Variable) -> Result<Variable> {
        let inputs = [("x", x), ("weight", &self.weight), ("bias", &self.bias)];
        apply(&layer_norm::LayerNorm, &inputs, &settings(&[]))?.get("y")
    }
}

/// Normalization by the root mean square, as `torch.nn.RMSNorm` with an eps of 1e-5: [`ops::rms_norm`](crate::ops::rms_norm).
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// `[columns]`, ones
    pub weight: Variable,
}

impl RmsNorm {
    /// Makes `weight`.
    ///
    /// # Errors
    /// As [`Scope::draw`].
    pub fn new(scope: &mut Scope, columns: usize) -> Result<Self> {
        Ok(RmsNorm { weight: scope.draw("weight", &[columns], Init::Constant(1.0))? })
    }

    /// In x's shape `[.., columns]`.
    ///
    /// # Errors
    /// As [`apply`].
    pub fn forward(&self, x: &Variable) -> Result<Variable> {
        apply(&rms_norm::RmsNorm, &[("x", x), ("weight", &self.weight)], &settings(&[]))?.get("y")
    }
}
