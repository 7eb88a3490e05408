//! The blocks of a transformer.

use super::{Dropout, LayerNorm, Linear, Mode, MultiHeadAttention, Scope};
use crate::Array;
use crate::Result;
use crate::autograd::Variable;
use crate::ops::activation::Kind;

/// The sizes of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransformerOptions {
    /// Features of a position.
    pub features: usize,
    /// Heads, a divisor of the features.
    pub heads: usize,
    /// Features between the two linear layers.
    pub inner: usize,
    /// The probability that an element is dropped while training.
    pub dropout: f32,
    /// Between the two linear layers.
    pub activation: Kind,
    /// Normalize what goes into attention and linear layers, and not the sums behind them.
    pub norm_first: bool,
}

/// What is added to x: `f(norm(x))`, or the sum is normalized.
fn residual(x: &Variable, norm: &LayerNorm, first: bool, f: impl FnOnce(&Variable) -> Result<Variable>) -> Result<Variable> {
    if first { x.add(&f(&norm.forward(x)?)?) } else { norm.forward(&x.add(&f(x)?)?) }
}

/// Two linear layers with an activation between.
#[derive(Clone, Debug)]
struct FeedForward {
    linear1: Linear,
    linear2: Linear,
    activation: Kind,
    dropout: Dropout,
}

impl FeedForward {
    fn new(scope: &mut Scope, o: &TransformerOptions) -> Result<Self> {
        let linear1 = Linear::new(&mut scope.at("linear1"), o.features, o.inner, true)?;
        let linear2 = Linear::new(&mut scope.at("linear2"), o.inner, o.features, true)?;
        Ok(FeedForward { linear1, linear2, activation: o.activation, dropout: Dropout(o.dropout) })
    }

    fn forward(&self, x: &Variable, mode: &Mode) -> Result<Variable> {
        let inner = self.linear1.forward(x)?.activation(self.activation)?;
        self.dropout.forward(&self.linear2.forward(&self.dropout.forward(&inner, mode)?)?, mode)
    }
}

/// `torch.nn.TransformerEncoderLayer` with `batch_first`: self_attn, linear1, linear2, norm1, norm2.
#[derive(Clone, Debug)]
pub struct EncoderLayer {
    attention: MultiHeadAttention,
    feed_forward: FeedForward,
    norms: [LayerNorm; 2],
    options: TransformerOptions,
}

impl EncoderLayer {
    /// Draws the parameters.
    ///
    /// # Errors
    /// As [`MultiHeadAttention::new`].
    pub fn new(scope: &mut Scope, options: &TransformerOptions) -> Result<Self> {
        let attention = MultiHeadAttention::new(&mut scope.at("self_attn"), options.features, options.heads, options.dropout)?;
        let feed_forward = FeedForward::new(scope, options)?;
        let norms = [LayerNorm::new(&mut scope.at("norm1"), options.features)?, LayerNorm::new(&mut scope.at("norm2"), options.features)?];
        Ok(EncoderLayer { attention, feed_forward, norms, options: *options })
    }

    /// x `[batch, time, features]`, of which `mask` (u8 `[batch, time]`) says what there is; `causal` hides what comes later. The result is of
    /// x's shape; with it come the weights `[batch, heads, time, time]` when nothing is dropped.
    ///
    /// # Errors
    /// As [`apply`](crate::autograd::apply).
    pub fn forward(&self, x: &Variable, mask: Option<&Variable>, causal: bool, mode: &Mode) -> Result<(Variable, Variable)> {
        let mut weights = None;
        let dropout = Dropout(self.options.dropout);
        let attended = residual(x, &self.norms[0], self.options.norm_first, |x| {
            let attended = self.attention.forward([x, x, x], mask, causal, mode)?;
            weights = Some(attended.weights);
            dropout.forward(&attended.context, mode)
        })?;
        let y = residual(&attended, &self.norms[1], self.options.norm_first, |x| self.feed_forward.forward(x, mode))?;
        let Some(weights) = weights else { unreachable!("attention ran") };
        Ok((y, weights))
    }
}

/// `torch.nn.TransformerDecoderLayer` with `batch_first`: self_attn, multihead_attn, linear1, linear2, norm1, norm2, norm3.
#[derive(Clone, Debug)]
pub struct DecoderLayer {
    own: MultiHeadAttention,
    across: MultiHeadAttention,
    feed_forward: FeedForward,
    norms: [LayerNorm; 3],
    options: TransformerOptions,
}

impl DecoderLayer {
    /// Draws the parameters.
    ///
    /// # Errors
    /// As [`MultiHeadAttention::new`].
    pub fn new(scope: &mut Scope, options: &TransformerOptions) -> Result<Self> {
        let mut attention = |name: &str| MultiHeadAttention::new(&mut scope.at(name), options.features, options.heads, options.dropout);
        let (own, across) = (attention("self_attn")?, attention("multihead_attn")?);
        let feed_forward = FeedForward::new(scope, options)?;
        let mut norm = |name: &str| LayerNorm::new(&mut scope.at(name), options.features);
        let norms = [norm("norm1")?, norm("norm2")?, norm("norm3")?];
        Ok(DecoderLayer { own, across, feed_forward, norms, options: *options })
    }

    /// x `[batch, time, features]`, each position seeing those before it, and all of `memory` `[batch, keys, features]` that `memory_mask` (u8
    /// `[batch, keys]`) keeps. With the result come the weights over the memory, as in [`EncoderLayer::forward`].
    ///
    /// # Errors
    /// As [`apply`](crate::autograd::apply).
    pub fn forward(&self, x: &Variable, memory: &Variable, memory_mask: Option<&Variable>, mode: &Mode) -> Result<(Variable, Variable)> {
        let (first, dropout) = (self.options.norm_first, Dropout(self.options.dropout));
        let mut weights = None;
        let x = residual(x, &self.norms[0], first, |x| dropout.forward(&self.own.forward([x, x, x], None, true, mode)?.context, mode))?;
        let x = residual(&x, &self.norms[1], first, |x| {
            let attended = self.across.forward([x, memory, memory], memory_mask, false, mode)?;
            weights = Some(attended.weights);
            dropout.forward(&attended.context, mode)
        })?;
        let y = residual(&x, &self.norms[2], first, |x| self.feed_forward.forward(x, mode))?;
        let Some(weights) = weights else { unreachable!("attention ran") };
        Ok((y, weights))
    }
}

/// The sines and cosines that tell positions apart, `[time, features]`: sin(t / 10000^(2i/features)) at 2i, the cosine at 2i + 1.
///
/// Source: Vaswani et al. 2017, section 3.5.
pub fn positions(time: usize, features: usize) -> Array {
    let element = |n: usize| {
        let (t, column) = (n / features, n % features);
        let angle = t as f64 / 10000f64.powf((column - column % 2) as f64 / features as f64);
        (if column % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
    };
    Array::f32(&[time, features], (0..time * features).map(element).collect())
}
