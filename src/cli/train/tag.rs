//! `wattn train tag`: a tag for each token of a sentence.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::options::{Options, count};
use super::run::{Lesson, Loss, Part};
use super::{Config, Source, Task, checksum};
use crate::autograd::Device;
use crate::io::checkpoint::Model;
use crate::models::tagger::{Sentences, Tagger, TaggerOptions, Tags};
use crate::nn::{Mode, Parameters, Score};
use crate::tasks::vocabulary::Vocabularies;
use crate::tasks::{Batches, Sizes, Split, Tagged, Unit, Vocabulary, read, roles, score, tag};
use crate::{Error, Result};

/// Features of the indicator of the predicate.
const INDICATOR: usize = 16;

/// Learn to tag the tokens of sentences, from columns as CoNLL has them: a token first on each line, its tag last.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[group(skip)]
#[command(mut_arg("epochs", |epochs| epochs.required(false).default_value("8")), mut_arg("lr", |lr| lr.required(false).default_value("0.002")))]
pub(crate) struct Tag {
    #[command(flatten)]
    #[serde(flatten)]
    pub options: Options,
    /// Learn from sentences that wattn makes: dates and places to be marked, or what words are to one of two predicates.
    #[arg(long, value_enum, value_name = "WHAT", num_args = 0..=1, default_missing_value = "auto")]
    pub generate: Option<Generated>,
    /// The column that says whether a token is the predicate that is asked about, from 1: `-`, `_`, `O` and `0` say that it is not. Of
    /// generated roles it is 2; without it the model is not told.
    #[arg(long, value_name = "N")]
    pub predicate_column: Option<usize>,
    /// Words that come less often are unknown.
    #[arg(long, value_name = "N", default_value = "2", value_parser = count(1_000_000))]
    pub min_count: usize,
    /// Attention of the sentence to itself, if there is to be some: dot, scaled_dot, general, bilinear, additive, concat or cosine.
    #[arg(long)]
    pub score: Option<Score>,
}

/// What can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Generated {
    /// Roles where there is a --predicate-column, otherwise places.
    Auto,
    /// Dates and places.
    Places,
    /// Who did what to whom, with two predicates in a sentence.
    Roles,
}

impl Tag {
    /// As `wattn train` calls it, and config.json.
    pub const NAME: &'static str = "tag";
}

/// A model with its vocabularies.
pub(crate) struct Marker {
    pub saved: Model<Config<Tag, TaggerOptions>>,
    words: Vocabulary,
    tags: Vocabulary,
    pub parameters: Parameters,
    pub model: Tagger,
}

impl Marker {
    /// Of the checkpoint in the directory; where that has no weights yet they are drawn.
    ///
    /// # Errors
    /// [`Error::Format`] for vocabularies or weights that do not fit; those of the device.
    pub fn new(device: &Device, dir: &Path, saved: Model<Config<Tag, TaggerOptions>>) -> Result<Self> {
        let mut parameters = Parameters::new(device, saved.config.options.options.seed);
        let model = Tagger::new(&mut parameters.root(), &saved.config.model)?;
        super::load(dir, &parameters, &saved.weights)?;
        let vocabulary = |name| super::vocabulary(dir, &saved.vocabularies, name);
        Ok(Marker { words: vocabulary(WORDS)?, tags: vocabulary(TAGS)?, saved, parameters, model })
    }

    /// Whether the model is told which token is the predicate.
    pub fn asks_for_predicate(&self) -> bool {
        self.saved.config.model.predicate.is_some()
    }

    /// The words' ids.
    pub fn encode(&self, tokens: &[String]) -> Vec<i32> {
        tokens.iter().map(|token| self.words.index(token)).collect()
    }

    /// The tags of sentences, so many at a time; the marks say which tokens are predicates, where the model is told.
    ///
    /// # Errors
    /// As [`Tagger::predict`].
    pub fn mark(&self, words: &[&[i32]], marks: &[&[bool]], batch: usize) -> Result<Vec<Tags>> {
        Batches::new(words.iter().map(|words| words.len()).collect(), batch, 0).each(|examples| {
            let own: Vec<&[i32]> = examples.iter().map(|&i| words[i]).collect();
            let marks: Vec<Vec<bool>> = examples.iter().map(|&i| marks[i].to_vec()).collect();
            let sentences = Sentences::new(self.parameters.device(), &own, self.asks_for_predicate().then_some(&marks[..]))?;
            self.model.predict(&sentences)
        })
    }

    /// The tags of labels.
    pub fn tags(&self, found: &Tags) -> Vec<&str> {
        found.tags.iter().map(|&label| self.tags.tag(label)).collect()
    }
}

/// The names of the vocabularies.
const WORDS: &str = "words";
const TAGS: &str = "tags";

/// A sentence as numbers.
struct Encoded {
    words: Vec<i32>,
    tags: Vec<i32>,
}

/// The tagger with what it learns from.
pub(super) struct Learner {
    marker: Marker,
    parts: [Vec<Tagged>; 3],
    encoded: [Vec<Encoded>; 3],
    data: u32,
}

impl Task for Tag {
    const NAME: &'static str = Tag::NAME;
    type Model = TaggerOptions;
    type Data = Split<Tagged>;
    type Learner = Learner;

    fn options(&self) -> &Options {
        &self.options
    }

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn read(&self) -> Result<Split<Tagged>> {
        let sizes = |sizes: &Sizes| super::sizes(sizes, self.options.examples);
        let seed = self.options.seed;
        let wants_roles = |what| what == Generated::Roles || (what == Generated::Auto && self.predicate_column.is_some());
        let mut split = match super::source(&self.options, self.generate)? {
            Source::Files(files) => return files.split(|path| read::tagged(path, self.predicate_column)),
            Source::Generated(what) if wants_roles(what) => roles::generate(&sizes(&roles::SIZES), seed)?,
            Source::Generated(_) => tag::generate(&sizes(&tag::SIZES), seed)?,
        };
        let column = split.train.first().is_some_and(|first| !first.predicate.is_empty()).then_some(2);
        match self.predicate_column {
            None => [&mut split.train, &mut split.valid, &mut split.test].into_iter().flatten().for_each(|own| own.predicate.clear()),
            Some(_) if self.predicate_column == column => {}
            Some(got) => {
                let expected =
                    if column.is_some() { "2, where generated roles have it" } else { "--generate roles: places have no predicate" };
                let key = "--predicate-column".into();
                return Err(Error::Argument { op: "train", key, expected: expected.into(), got: got.to_string() });
            }
        }
        Ok(split)
    }

    fn begun(self, data: &Split<Tagged>) -> Model<Config<Self, TaggerOptions>> {
        let words = data.train.iter().flat_map(|sentence| &sentence.tokens).map(String::as_str);
        let words = Vocabulary::of_parts(Unit::Words, words, self.min_count);
        let tags = Vocabulary::of_parts(Unit::Words, data.train.iter().flat_map(|sentence| &sentence.tags).map(String::as_str), 1);
        let o = &self.options;
        let model = TaggerOptions {
            words: words.size(),
            tags: tags.labels(),
            embedding: o.embedding,
            predicate: self.predicate_column.map(|_| INDICATOR),
            hidden: o.hidden,
            layers: o.layers,
            cell: o.cell,
            score: o.heads.map(Score::MultiHead).or(self.score),
            dropout: o.dropout,
        };
        Model {
            task: Self::NAME.into(),
            config: Config { options: self, model },
            vocabularies: Vocabularies([(WORDS.to_string(), words), (TAGS.to_string(), tags)].into()),
            weights: Default::default(),
        }
    }

    fn learner(device: &Device, dir: &Path, saved: Model<Config<Self, TaggerOptions>>, data: Split<Tagged>) -> Result<Learner> {
        let sum = checksum([&data.train, &data.valid].map(|part| read::to_conll(part)));
        let marker = Marker::new(device, dir, saved)?;
        let encoded = |sentence: &Tagged| {
            let tags = sentence.tags.iter().map(|tag| marker.tags.label(tag)).collect::<Result<_, _>>();
            let wrong = |got| Error::Argument { op: "train", key: "tags".into(), expected: "those of --train".into(), got };
            Ok(Encoded { words: marker.encode(&sentence.tokens), tags: tags.map_err(wrong)? })
        };
        let parts = [data.train, data.valid, data.test];
        let all = parts.iter().map(|part| part.iter().map(encoded).collect()).collect::<Result<Vec<Vec<Encoded>>>>()?;
        let Ok(encoded) = all.try_into() else { unreachable!("there are three parts") };
        Ok(Learner { marker, parts, encoded, data: sum })
    }
}

impl Learner {
    fn sentences(&self, part: Part, examples: &[usize]) -> Result<Sentences> {
        let words: Vec<&[i32]> = examples.iter().map(|&i| &self.encoded[part as usize][i].words[..]).collect();
        let marks = || examples.iter().map(|&i| self.parts[part as usize][i].predicate.clone()).collect::<Vec<_>>();
        let marks = self.marker.asks_for_predicate().then(marks);
        Sentences::new(self.parameters().device(), &words, marks.as_deref())
    }
}

impl Lesson for Learner {
    type Task = Tag;
    const SCORE: &'static str = "F1";

    fn model(&self) -> &Model<Config<Tag, TaggerOptions>> {
        &self.marker.saved
    }

    fn parameters(&self) -> &Parameters {
        &self.marker.parameters
    }

    fn lengths(&self, part: Part) -> Vec<usize> {
        self.encoded[part as usize].iter().map(|sentence| sentence.words.len()).collect()
    }

    fn loss(&self, part: Part, examples: &[usize], mode: &Mode) -> Result<Loss> {
        let sentences = self.sentences(part, examples)?;
        let tags: Vec<&[i32]> = examples.iter().map(|&i| &self.encoded[part as usize][i].tags[..]).collect();
        let tags = sentences.tags(&tags)?;
        let tokens = sentences.words.counts().iter().sum();
        Ok(Loss { mean: self.marker.model.loss(&sentences, &tags, mode)?, count: examples.len(), tokens })
    }

    fn score(&self, part: Part) -> Result<f64> {
        let words: Vec<&[i32]> = self.encoded[part as usize].iter().map(|sentence| &sentence.words[..]).collect();
        let marks: Vec<&[bool]> = self.parts[part as usize].iter().map(|sentence| &sentence.predicate[..]).collect();
        let found = self.marker.mark(&words, &marks, self.options().batch)?;
        let mut counts = score::Score::default();
        for (found, sentence) in found.iter().zip(&self.parts[part as usize]) {
            counts.add(&self.marker.tags(found), &sentence.tags);
        }
        Ok(counts.all.f1())
    }

    fn data(&self) -> u32 {
        self.data
    }
}
