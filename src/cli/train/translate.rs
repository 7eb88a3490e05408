//! `wattn train translate`: one text to another.

use std::path::Path;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::options::{Options, count};
use super::run::{Lesson, Loss, Part};
use super::{Config, Source, Task, checksum};
use crate::Result;
use crate::autograd::Device;
use crate::io::checkpoint::Model;
use crate::models::Sequences;
use crate::models::seq2seq::{Decoded, Pairs, SearchOptions, Seq2Seq, Seq2SeqOptions};
use crate::nn::{Mode, Parameters, Score};
use crate::tasks::vocabulary::Vocabularies;
use crate::tasks::{Batches, Pair, Sizes, Split, Unit, Vocabulary, dates, read, score, summary};

/// Learn to make one text of another, from lines of source, tab and target.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[group(skip)]
#[command(mut_arg("epochs", |epochs| epochs.required(false).default_value("10")), mut_arg("lr", |lr| lr.required(false).default_value("0.004")))]
pub(crate) struct Translate {
    #[command(flatten)]
    #[serde(flatten)]
    pub options: Options,
    /// Learn from examples that wattn makes: dates as people write them to ISO 8601, or several sentences to the one about a name.
    #[arg(long, value_enum, value_name = "WHAT", num_args = 0..=1, default_missing_value = "dates")]
    pub generate: Option<Generated>,
    /// What texts are taken apart into: characters or words. Words for generated summaries, otherwise characters, when it is left out.
    #[arg(long)]
    pub unit: Option<Unit>,
    /// Characters or words that come less often are unknown.
    #[arg(long, value_name = "N", default_value = "1", value_parser = count(1_000_000))]
    pub min_count: usize,
    /// Directions in which the source is read.
    #[arg(long, value_name = "N", default_value = "2", value_parser = count(2))]
    pub directions: usize,
    /// How what is written is compared with what was read: dot, scaled_dot, general, bilinear, additive, concat or cosine.
    #[arg(long, default_value = "additive")]
    pub score: Score,
}

/// What can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Generated {
    /// `Sat 9 May 1998` to `1998-05-09`.
    Dates,
    /// Sentences about people, and a name, to the sentence about that name.
    Summary,
}

/// What a model is made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Made {
    #[serde(flatten)]
    pub options: Seq2SeqOptions,
    /// The longest target that was learned from: what is written ends at twice its length.
    pub longest: usize,
}

impl Translate {
    /// As `wattn train` calls it, and config.json.
    pub const NAME: &'static str = "translate";
}

/// A model with its vocabularies.
pub(crate) struct Translator {
    pub saved: Model<Config<Translate, Made>>,
    pub source: Vocabulary,
    pub target: Vocabulary,
    pub parameters: Parameters,
    pub model: Seq2Seq,
}

impl Translator {
    /// Of the checkpoint in the directory; where that has no weights yet they are drawn.
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format) for vocabularies or weights that do not fit; those of the device.
    pub fn new(device: &Device, dir: &Path, saved: Model<Config<Translate, Made>>) -> Result<Self> {
        let mut parameters = Parameters::new(device, saved.config.options.options.seed);
        let model = Seq2Seq::new(&mut parameters.root(), &saved.config.model.options)?;
        super::load(dir, &parameters, &saved.weights)?;
        let vocabulary = |name| super::vocabulary(dir, &saved.vocabularies, name);
        Ok(Translator { source: vocabulary(SOURCE)?, target: vocabulary(TARGET)?, saved, parameters, model })
    }

    /// What the search finds for each source, so many at a time.
    ///
    /// # Errors
    /// As [`Seq2Seq::predict`].
    pub fn translate(&self, sources: &[&[i32]], batch: usize, search: &SearchOptions) -> Result<Vec<Decoded>> {
        Batches::new(sources.iter().map(|source| source.len()).collect(), batch, 0).each(|examples| {
            let own: Vec<&[i32]> = examples.iter().map(|&i| sources[i]).collect();
            self.model.predict(&Sequences::new(self.parameters.device(), &own)?, search)
        })
    }

    /// What a search is bounded by if nobody says otherwise.
    pub fn max_length(&self) -> usize {
        2 * self.saved.config.model.longest + 1
    }
}

/// The names of the vocabularies.
const SOURCE: &str = "source";
const TARGET: &str = "target";

/// The translator with what it learns from.
pub(super) struct Learner {
    translator: Translator,
    /// Texts, and what they are as ids.
    parts: [Vec<Pair>; 3],
    ids: [Vec<(Vec<i32>, Vec<i32>)>; 3],
    data: u32,
}

impl Task for Translate {
    const NAME: &'static str = Translate::NAME;
    type Model = Made;
    type Data = Split<Pair>;
    type Learner = Learner;

    fn options(&self) -> &Options {
        &self.options
    }

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    fn read(&self) -> Result<Split<Pair>> {
        let sizes = |sizes: &Sizes| super::sizes(sizes, self.options.examples);
        match (super::source(&self.options, self.generate)?, self.options.seed) {
            (Source::Generated(Generated::Dates), seed) => dates::generate(&sizes(&dates::SIZES), seed),
            (Source::Generated(Generated::Summary), seed) => summary::generate(&sizes(&summary::SIZES), seed),
            (Source::Files(files), _) => files.split(read::pairs),
        }
    }

    fn begun(self, data: &Split<Pair>) -> Model<Config<Self, Made>> {
        let unit = self.unit.unwrap_or(if self.generate == Some(Generated::Summary) { Unit::Words } else { Unit::Characters });
        let source = Vocabulary::of(unit, data.train.iter().map(|pair| &*pair.source), self.min_count);
        let target = Vocabulary::of(unit, data.train.iter().map(|pair| &*pair.target), self.min_count);
        let o = &self.options;
        let options = Seq2SeqOptions {
            source: source.size(),
            target: target.size(),
            embedding: o.embedding,
            hidden: o.hidden,
            layers: o.layers,
            cell: o.cell,
            bidirectional: self.directions == 2,
            score: o.heads.map_or(self.score, Score::MultiHead),
            dropout: o.dropout,
        };
        let longest = data.train.iter().map(|pair| unit.split(&pair.target).len()).max().unwrap_or(0);
        Model {
            task: Self::NAME.into(),
            config: Config { options: self, model: Made { options, longest } },
            vocabularies: Vocabularies([(SOURCE.to_string(), source), (TARGET.to_string(), target)].into()),
            weights: Default::default(),
        }
    }

    fn learner(device: &Device, dir: &Path, saved: Model<Config<Self, Made>>, data: Split<Pair>) -> Result<Learner> {
        let sum = checksum([&data.train, &data.valid].map(|part| read::to_tsv(part)));
        let translator = Translator::new(device, dir, saved)?;
        let parts = [data.train, data.valid, data.test];
        let encoded = |pair: &Pair| (translator.source.encode(&pair.source), translator.target.encode(&pair.target));
        let ids = parts.each_ref().map(|part| part.iter().map(encoded).collect());
        Ok(Learner { translator, parts, ids, data: sum })
    }
}

impl Lesson for Learner {
    type Task = Translate;
    const SCORE: &'static str = "exact";

    fn model(&self) -> &Model<Config<Translate, Made>> {
        &self.translator.saved
    }

    fn parameters(&self) -> &Parameters {
        &self.translator.parameters
    }

    fn lengths(&self, part: Part) -> Vec<usize> {
        self.ids[part as usize].iter().map(|(source, target)| source.len() + target.len()).collect()
    }

    fn loss(&self, part: Part, examples: &[usize], mode: &Mode) -> Result<Loss> {
        let (sources, targets): (Vec<&[i32]>, Vec<&[i32]>) =
            examples.iter().map(|&i| &self.ids[part as usize][i]).map(|(source, target)| (&source[..], &target[..])).unzip();
        let pairs = Pairs::new(self.parameters().device(), &sources, &targets)?;
        let read: usize = pairs.source.counts().iter().sum();
        Ok(Loss { mean: self.translator.model.loss(&pairs, mode)?, count: pairs.tokens, tokens: read + pairs.tokens })
    }

    fn score(&self, part: Part) -> Result<f64> {
        let search = SearchOptions { max_length: self.translator.max_length(), ..Default::default() };
        let sources: Vec<&[i32]> = self.ids[part as usize].iter().map(|(source, _)| &source[..]).collect();
        let found = self.translator.translate(&sources, self.options().batch, &search)?;
        let answers: Vec<String> = found.iter().map(|found| self.translator.target.decode(&found.ids)).collect();
        Ok(score::exact(answers.iter().zip(&self.parts[part as usize]).map(|(answer, pair)| (&**answer, &*pair.target))))
    }

    fn data(&self) -> u32 {
        self.data
    }
}
