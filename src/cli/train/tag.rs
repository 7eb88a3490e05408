//! `wattn train tag`: a tag for each token of a sentence.

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
#[command(mut_arg("epochs", |epochs| epochs.default_value("8")))]
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

/// A model with its vocabularies.
pub(crate) struct Marker {
    pub saved: Model<Config<Tag, TaggerOptions>>,
    pub parameters: Parameters,
    pub model: Tagger,
}

impl Marker {
    /// Draws the parameters; those of a checkpoint are to be loaded then.
    ///
    /// # Errors
    /// Those of the device.
    pub fn new(device: &Device, saved: Model<Config<Tag, TaggerOptions>>) -> Result<Self> {
        let mut parameters = Parameters::new(device, saved.config.options.options.seed);
        let model = Tagger::new(&mut parameters.root(), &saved.config.model)?;
        Ok(Marker { saved, parameters, model })
    }

    /// Whether the model is told which token is the predicate.
    pub fn asks_for_predicate(&self) -> bool {
        self.saved.config.model.predicate.is_some()
    }

    /// The words' ids.
    ///
    /// # Errors
    /// That the checkpoint has no such vocabulary.
    pub fn encode(&self, tokens: &[String]) -> Result<Vec<i32>> {
        let words = super::vocabulary(&self.saved.vocabularies, WORDS)?;
        Ok(tokens.iter().map(|token| words.index(token)).collect())
    }

    /// The tags of labels.
    ///
    /// # Errors
    /// As [`Marker::encode`].
    pub fn tags(&self, found: &Tags) -> Result<Vec<String>> {
        let tags = super::vocabulary(&self.saved.vocabularies, TAGS)?;
        Ok(found.tags.iter().map(|&label| tags.tag(label).to_string()).collect())
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
    const NAME: &'static str = "tag";
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
                let expected = if column.is_some() { "2, where generated roles have it" } else { "--generate roles: places have no predicate" };
                let key = "--predicate-column".into();
                return Err(Error::Argument { op: "train", key, expected: expected.into(), got: got.to_string() });
            }
        }
        Ok(split)
    }

    fn learner(self, device: &Device, data: Split<Tagged>, saved: Option<Model<Config<Self, TaggerOptions>>>) -> Result<Learner> {
        let data_sum = checksum([&data.train, &data.valid].map(|part| read::to_conll(part)));
        let saved = match saved {
            Some(saved) => Model { config: Config { options: self, ..saved.config }, ..saved },
            None => self.begun(&data),
        };
        let parts = [data.train, data.valid, data.test];
        let (words, tags) = (super::vocabulary(&saved.vocabularies, WORDS)?, super::vocabulary(&saved.vocabularies, TAGS)?);
        let encoded = |sentence: &Tagged| {
            let tags = sentence.tags.iter().map(|tag| tags.label(tag)).collect::<Result<_, _>>();
            let wrong = |got| Error::Argument { op: "train", key: "tags".into(), expected: "those of --train".into(), got };
            Ok(Encoded { words: sentence.tokens.iter().map(|token| words.index(token)).collect(), tags: tags.map_err(wrong)? })
        };
        let all = parts.iter().map(|part| part.iter().map(encoded).collect()).collect::<Result<Vec<Vec<Encoded>>>>()?;
        let Ok(encoded) = all.try_into() else { unreachable!("there are three parts") };
        Ok(Learner { marker: Marker::new(device, saved)?, parts, encoded, data: data_sum })
    }
}

impl Tag {
    /// What a run that begins with these examples has.
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
            score: self.score,
            dropout: o.dropout,
        };
        Model {
            task: Self::NAME.into(),
            config: Config { options: self, model },
            vocabularies: Vocabularies([(WORDS.to_string(), words), (TAGS.to_string(), tags)].into()),
            weights: Default::default(),
        }
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
    type Config = Config<Tag, TaggerOptions>;
    const SCORE: &'static str = "F1";

    fn model(&self) -> &Model<Self::Config> {
        &self.marker.saved
    }

    fn options(&self) -> &Options {
        &self.marker.saved.config.options.options
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
        let mut counts = score::Score::default();
        for batch in Batches::new(self.lengths(part), self.options().batch, 0).sorted() {
            let found = self.marker.model.predict(&self.sentences(part, &batch)?)?;
            for (&i, found) in batch.iter().zip(&found) {
                counts.add(&self.marker.tags(found)?, &self.parts[part as usize][i].tags);
            }
        }
        Ok(counts.all.f1())
    }

    fn data(&self) -> u32 {
        self.data
    }
}
