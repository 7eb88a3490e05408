//! A tag for each element of a sequence: a recurrent network in both directions, and a conditional random field over what it says.
//!
//! ```text
//! h_1..h_T = network([embedding(x); indicator])     indicator: which element is the predicate, where the model is told
//! s_t      = W [h_t; c_t]                           c_t = Σ_u weights_tu h_u, where there is attention, over the sequence itself
//! p(tags)  = crf(s)
//! ```
//!
//! Sources: Huang, Xu & Yu 2015, arXiv:1508.01991 (BiLSTM-CRF); He et al. 2017, "Deep semantic role labeling", for the indicator.

use super::{PAD, Sequences};
use crate::autograd::{Device, Variable, concat, no_grad};
use crate::nn::{Attention, Cell, Crf, Dropout, Embedding, Linear, Mode, Recurrent, RecurrentOptions, Scope, Score};
use crate::{Error, Result};

/// The sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize))]
pub struct TaggerOptions {
    /// Ids of the elements, the special ones included.
    pub words: usize,
    /// Tags, which are counted from 0.
    pub tags: usize,
    /// Features of an id.
    pub embedding: usize,
    /// Features of the indicator, when the model is told which element is the predicate.
    pub predicate: Option<usize>,
    /// Features of a state, of each direction.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// The step.
    pub cell: Cell,
    /// How elements are compared with one another, where there is attention.
    pub score: Option<Score>,
    /// The probability that an element is dropped while training: of embeddings, between layers, before the last one.
    pub dropout: f32,
}

/// A batch: the elements, and which of them are predicates.
#[derive(Clone, Debug)]
pub struct Sentences {
    /// The elements' ids.
    pub words: Sequences,
    /// i32 `[batch, time]`: 1 at a predicate, else 0.
    pub predicates: Option<Variable>,
}

impl Sentences {
    /// Of the ids of sentences and, where the model is told, whether each element is the predicate, or a part of it.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of sentences or of marks; as [`Sequences::new`].
    pub fn new<S: AsRef<[i32]>>(device: &Device, words: &[S], predicates: Option<&[Vec<bool>]>) -> Result<Self> {
        let words = Sequences::new(device, words)?;
        let marks = |marks: &[Vec<bool>]| {
            let marks: Vec<Vec<i32>> = marks.iter().map(|own| own.iter().map(|&is| i32::from(is)).collect()).collect();
            words.beside("predicates", &marks)
        };
        let predicates = predicates.map(marks).transpose()?;
        Ok(Sentences { words, predicates })
    }

    /// Tags of these sentences, as [`Tagger::loss`] takes them.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of sentences or of tags.
    pub fn tags<S: AsRef<[i32]>>(&self, tags: &[S]) -> Result<Variable> {
        self.words.beside("tags", tags)
    }
}

/// The model.
#[derive(Clone, Debug)]
pub struct Tagger {
    options: TaggerOptions,
    embedding: Embedding,
    indicator: Option<Embedding>,
    network: Recurrent,
    attention: Option<Attention>,
    output: Linear,
    crf: Crf,
}

impl Tagger {
    /// Draws the parameters.
    ///
    /// # Errors
    /// As [`Attention::new`].
    pub fn new(scope: &mut Scope, options: &TaggerOptions) -> Result<Self> {
        let o = *options;
        let embedding = Embedding::new(&mut scope.at("embedding"), o.words, o.embedding, Some(PAD as usize))?;
        let indicator = o.predicate.map(|features| Embedding::new(&mut scope.at("predicate_embedding"), 2, features, None)).transpose()?;
        let network = RecurrentOptions {
            cell: o.cell,
            inputs: o.embedding + o.predicate.unwrap_or(0),
            hidden: o.hidden,
            layers: o.layers,
            bidirectional: true,
            dropout: o.dropout,
        };
        let (network, features) = (Recurrent::new(&mut scope.at("network"), &network)?, 2 * o.hidden);
        let attention = o.score.map(|score| Attention::new(&mut scope.at("attention"), score, features, features, o.hidden)).transpose()?;
        let seen = attention.as_ref().map_or(0, Attention::features);
        let output = Linear::new(&mut scope.at("output"), features + seen, o.tags, true)?;
        Ok(Tagger { options: o, embedding, indicator, network, attention, output, crf: Crf::new(&mut scope.at("crf"), o.tags)? })
    }

    /// The sizes.
    pub fn options(&self) -> &TaggerOptions {
        &self.options
    }

    /// The scores of tags `[batch, time, tags]` and, with attention, the weights `[batch, time, time]`.
    fn scores(&self, sentences: &Sentences, mode: &Mode) -> Result<(Variable, Option<Variable>)> {
        let (words, dropout) = (&sentences.words, Dropout(self.options.dropout));
        let mut x = self.embedding.forward(&words.ids)?;
        match (&self.indicator, &sentences.predicates) {
            (Some(indicator), Some(predicates)) => x = concat(&[&x, &indicator.forward(predicates)?], -1)?,
            (None, None) => {}
            (own, _) => {
                let expected =
                    format!("{} predicates, as the model has been made", if own.is_some() { "sentences with" } else { "none, no" });
                return Err(Error::Argument { op: "tagger", key: "predicates".into(), expected, got: "the other".into() });
            }
        }
        let h = self.network.forward(&dropout.forward(&x, mode)?, Some(&words.lengths), None, mode)?.y;
        let h = dropout.forward(&h, mode)?;
        let Some(attention) = &self.attention else { return Ok((self.output.forward(&h)?, None)) };
        let attended = attention.forward(&h, &h, Some(&words.mask))?;
        Ok((self.output.forward(&concat(&[&h, &attended.context], -1)?)?, Some(attended.weights)))
    }

    /// The negative log-likelihood of tags from [`Sentences::tags`], the mean over the sentences.
    ///
    /// # Errors
    /// [`Error::Argument`] for predicates that the model does not have, or lacks; as [`apply`](crate::autograd::apply).
    pub fn loss(&self, sentences: &Sentences, tags: &Variable, mode: &Mode) -> Result<Variable> {
        self.crf.loss(&self.scores(sentences, mode)?.0, tags, Some(&sentences.words.lengths))
    }

    /// The best tags of each sentence and, with attention, for each element the weights of all.
    ///
    /// # Errors
    /// As [`Tagger::loss`].
    pub fn predict(&self, sentences: &Sentences) -> Result<Vec<Tags>> {
        let words = &sentences.words;
        let (path, weights) = no_grad(|| {
            let (scores, weights) = self.scores(sentences, &Mode::predict())?;
            let weights = weights.map(|weights| weights.array()).transpose()?;
            Ok::<_, Error>((self.crf.decode(&scores, Some(&words.lengths))?.to_f64(), weights.map(|weights| weights.to_f64())))
        })?;
        let time = words.time();
        let own = |(b, &count): (usize, &usize)| Tags {
            tags: path[b * time..][..count].iter().map(|&tag| tag as i32).collect(),
            weights: weights.as_ref().map(|weights| {
                let row = |t: usize| weights[(b * time + t) * time..][..count].iter().map(|&w| w as f32).collect();
                (0..count).map(row).collect()
            }),
        };
        Ok(words.counts().iter().enumerate().map(own).collect())
    }
}

/// What was found of one sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Tags {
    /// A tag for each element.
    pub tags: Vec<i32>,
    /// For each element the weights of all, where the model has attention.
    pub weights: Option<Vec<Vec<f32>>>,
}
