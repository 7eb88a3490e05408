//! An encoder and a decoder, both recurrent, with attention between them: translation of one sequence of ids to another.
//!
//! ```text
//! e_1..e_S = encoder(embedding(x))             in one direction or in both; its last states begin the decoder
//! h_t      = decoder(embedding(y_{t-1}), h_{t-1})
//! c_t      = Σ_s weights_ts e_s                weights_t = softmax over s of score(h_t, e_s)
//! p(y_t)   = softmax(W_o tanh(W_c [c_t; h_t]))
//! ```
//!
//! While training, y_{t-1} is the right one (teacher forcing), so the whole target is one call of the decoder and one of the attention: no context
//! goes into the next step. With two directions the last states go through a linear layer and tanh each, and where the score compares sides
//! of the same features, the encoder's outputs go through a linear layer to the decoder's size.
//!
//! Sources: Sutskever, Vinyals & Le 2014, arXiv:1409.3215; Luong, Pham & Manning 2015, arXiv:1508.04025, section 3 (attention behind the decoder,
//! W_c); Bahdanau, Cho & Bengio 2014, arXiv:1409.0473 (two directions, additive score); Vaswani et al. 2017, arXiv:1706.03762 (several heads).

use super::search::search;
use super::sequences::padded;
use super::{BOS, EOS, IGNORED, PAD, Sequences};
use crate::autograd::{Device, Variable, concat, no_grad};
use crate::nn::{Attention, Cell, Dropout, Embedding, Linear, Mode, Recurrent, RecurrentOptions, Scope, Score, States};
use crate::ops::cross_entropy::CrossEntropyOptions;
use crate::{Error, Result};

/// The sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize))]
pub struct Seq2SeqOptions {
    /// Ids of the source, the special ones included.
    pub source: usize,
    /// Ids of the target.
    pub target: usize,
    /// Features of an id.
    pub embedding: usize,
    /// Features of a state; those of the encoder's outputs are twice as many with two directions.
    pub hidden: usize,
    /// Layers of encoder and decoder.
    pub layers: usize,
    /// The step of both.
    pub cell: Cell,
    /// Whether the encoder goes in both directions.
    pub bidirectional: bool,
    /// How a state is compared with the encoder's outputs.
    pub score: Score,
    /// The probability that an element is dropped while training: of embeddings, between layers, before the last one.
    pub dropout: f32,
}

/// How a target is searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchOptions {
    /// Hypotheses that are kept; 1 is greedy.
    pub beam: usize,
    /// The most ids of a target.
    pub max_length: usize,
    /// α: hypotheses are compared by log p / lengthᵅ. 0 compares log p.
    pub length_penalty: f64,
}

impl Default for SearchOptions {
    fn default() -> Self {
        SearchOptions { beam: 1, max_length: 100, length_penalty: 0.0 }
    }
}

/// A target that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Without [`BOS`] and [`EOS`].
    pub ids: Vec<i32>,
    /// log p of the ids and, unless the target was cut at `max_length`, of [`EOS`].
    pub log_p: f64,
    /// For each id, and for [`EOS`] where it was reached, the weights of the source's elements.
    pub weights: Vec<Vec<f32>>,
}

/// A pair of sequences for training.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// x
    pub source: Sequences,
    /// [`BOS`] and y: what the decoder reads.
    pub input: Variable,
    /// y and [`EOS`]: what it is to say, `[batch · time]`.
    pub target: Variable,
    /// Targets that count.
    pub tokens: usize,
}

impl Pairs {
    /// Of sources and as many targets, the latter without special ids; a target may be empty.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of targets, and as [`Sequences::new`].
    pub fn new<S: AsRef<[i32]>, T: AsRef<[i32]>>(device: &Device, sources: &[S], targets: &[T]) -> Result<Self> {
        if sources.len() != targets.len() {
            let (expected, got) = (format!("{}, as there are sources", sources.len()), targets.len().to_string());
            return Err(Error::Argument { op: "seq2seq", key: "targets".into(), expected, got });
        }
        let read = |target: &T| [&[BOS], target.as_ref()].concat();
        let said = |target: &T| [target.as_ref(), &[EOS]].concat();
        let (input, counts) = padded(&targets.iter().map(read).collect::<Vec<_>>(), PAD)?;
        let (target, _) = padded(&targets.iter().map(said).collect::<Vec<_>>(), IGNORED)?;
        Ok(Pairs {
            source: Sequences::new(device, sources)?,
            input: device.constant(input)?,
            target: device.constant(target.reshape(&[target.len()])?)?,
            tokens: counts.iter().sum(),
        })
    }
}

/// The model.
#[derive(Clone, Debug)]
pub struct Seq2Seq {
    options: Seq2SeqOptions,
    source_embedding: Embedding,
    target_embedding: Embedding,
    encoder: Recurrent,
    decoder: Recurrent,
    /// h's and, of an LSTM, c's, when the encoder goes in both directions.
    bridges: Vec<Linear>,
    /// The encoder's outputs to the decoder's size, where the score asks for it.
    keys: Option<Linear>,
    attention: Attention,
    combine: Linear,
    output: Linear,
}

/// What the encoder has found out, for each sequence of a batch or each hypothesis.
pub(super) struct Memory {
    pub keys: Variable,
    pub mask: Variable,
    pub states: States,
}

impl Seq2Seq {
    /// Draws the parameters.
    ///
    /// # Errors
    /// As [`Attention::new`].
    pub fn new(scope: &mut Scope, options: &Seq2SeqOptions) -> Result<Self> {
        let o = *options;
        let of = |inputs, bidirectional| RecurrentOptions {
            cell: o.cell,
            inputs,
            hidden: o.hidden,
            layers: o.layers,
            bidirectional,
            dropout: o.dropout,
        };
        let source_embedding = Embedding::new(&mut scope.at("source_embedding"), o.source, o.embedding, Some(PAD as usize))?;
        let target_embedding = Embedding::new(&mut scope.at("target_embedding"), o.target, o.embedding, Some(PAD as usize))?;
        let encoder = Recurrent::new(&mut scope.at("encoder"), &of(o.embedding, o.bidirectional))?;
        let decoder = Recurrent::new(&mut scope.at("decoder"), &of(o.embedding, false))?;
        let encoded = o.hidden * if o.bidirectional { 2 } else { 1 };
        let mut bridges = vec![];
        if o.bidirectional {
            let names = if o.cell == Cell::Lstm { &["bridge_h", "bridge_c"][..] } else { &["bridge_h"] };
            for name in names {
                bridges.push(Linear::new(&mut scope.at(name), encoded, o.hidden, true)?);
            }
        }
        let project = o.score.needs_equal_features() && encoded != o.hidden;
        let keys = if project { Some(Linear::new(&mut scope.at("keys"), encoded, o.hidden, true)?) } else { None };
        let features = if project { o.hidden } else { encoded };
        let attention = Attention::new(&mut scope.at("attention"), o.score, o.hidden, features, o.hidden)?;
        let combine = Linear::new(&mut scope.at("combine"), attention.features() + o.hidden, o.hidden, true)?;
        let output = Linear::new(&mut scope.at("output"), o.hidden, o.target, true)?;
        Ok(Seq2Seq { options: o, source_embedding, target_embedding, encoder, decoder, bridges, keys, attention, combine, output })
    }

    /// The sizes.
    pub fn options(&self) -> &Seq2SeqOptions {
        &self.options
    }

    pub(super) fn encode(&self, source: &Sequences, mode: &Mode) -> Result<Memory> {
        let x = Dropout(self.options.dropout).forward(&self.source_embedding.forward(&source.ids)?, mode)?;
        let encoded = self.encoder.forward(&x, Some(&source.lengths), None, mode)?;
        let keys = match &self.keys {
            Some(keys) => keys.forward(&encoded.y)?,
            None => encoded.y,
        };
        let last = [Some(&encoded.last.h), encoded.last.c.as_ref()];
        let mut begun = last.into_iter().flatten().enumerate().map(|(n, state)| match self.bridges.get(n) {
            Some(bridge) => self.bridged(bridge, state, source.batch()),
            None => Ok(state.clone()),
        });
        let Some(h) = begun.next().transpose()? else { unreachable!("there always is an h") };
        let c = begun.next().transpose()?;
        Ok(Memory { keys, mask: source.mask.clone(), states: States { h, c } })
    }

    /// `[layers, batch, hidden]` of the states `[layers · 2, batch, hidden]` of both directions.
    fn bridged(&self, bridge: &Linear, state: &Variable, batch: usize) -> Result<Variable> {
        let Seq2SeqOptions { layers, hidden, .. } = self.options;
        let both = state.reshape(&[layers, 2, batch, hidden])?.transpose(&[0, 2, 1, 3])?;
        bridge.forward(&both.reshape(&[layers, batch, 2 * hidden])?)?.tanh()
    }

    /// Logits `[batch, time, target]` of what comes after each of the ids `[batch, time]`, the weights `[batch, time, source]`, and the states
    /// after the last.
    pub(super) fn decode(&self, memory: &Memory, ids: &Variable, mode: &Mode) -> Result<(Variable, Variable, States)> {
        let dropout = Dropout(self.options.dropout);
        let y = dropout.forward(&self.target_embedding.forward(ids)?, mode)?;
        let decoded = self.decoder.forward(&y, None, Some(&memory.states), mode)?;
        let attended = self.attention.forward(&decoded.y, &memory.keys, Some(&memory.mask))?;
        let combined = self.combine.forward(&concat(&[&attended.context, &decoded.y], -1)?)?.tanh()?;
        Ok((self.output.forward(&dropout.forward(&combined, mode)?)?, attended.weights, decoded.last))
    }

    /// The cross entropy of the targets, the mean over those that count.
    ///
    /// # Errors
    /// As [`apply`](crate::autograd::apply). An id that there is not is [`Error::Index`] at the next read.
    pub fn loss(&self, pairs: &Pairs, mode: &Mode) -> Result<Variable> {
        let (logits, _, _) = self.decode(&self.encode(&pairs.source, mode)?, &pairs.input, mode)?;
        let rows = pairs.target.shape()[0];
        logits.reshape(&[rows, self.options.target])?.cross_entropy(&pairs.target, &CrossEntropyOptions::default())
    }

    /// The best target that the search finds for each source.
    ///
    /// # Errors
    /// [`Error::Argument`] for a beam or a length of 0; as [`apply`](crate::autograd::apply).
    pub fn predict(&self, source: &Sequences, options: &SearchOptions) -> Result<Vec<Decoded>> {
        no_grad(|| search(self, source, options))
    }
}
