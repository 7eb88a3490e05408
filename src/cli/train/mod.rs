//! `wattn train`: models of generated or read examples.

pub(super) mod options;
mod run;
pub(super) mod tag;
pub(super) mod translate;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::options::{Options, Place, resumed};
use self::run::{Lesson, Summary};
use super::{Session, Verdict, missing};
use crate::autograd::Device;
use crate::io::checkpoint::{self, Model};
use crate::nn::Parameters;
use crate::ops::Arrays;
use crate::tasks::vocabulary::Vocabularies;
use crate::tasks::{Sizes, Split, Vocabulary};
use crate::{Error, Result};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    task: TaskArgs,
}

/// What is learned.
#[derive(Subcommand)]
enum TaskArgs {
    Translate {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        task: Box<translate::Translate>,
    },
    Tag {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        task: Box<tag::Tag>,
    },
}

/// What config.json holds: what was asked for, and what the model was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Config<O, M> {
    pub options: O,
    pub model: M,
}

/// Something to learn, as the arguments describe it.
trait Task: Sized + Clone + Serialize + DeserializeOwned {
    const NAME: &'static str;
    /// What the model is made with.
    type Model: Clone + Serialize + DeserializeOwned;
    type Data;
    type Learner: Lesson<Task = Self>;

    fn options(&self) -> &Options;
    fn options_mut(&mut self) -> &mut Options;
    /// Reads or generates the examples.
    fn read(&self) -> Result<Self::Data>;
    /// What a run that begins with these examples has.
    fn begun(self, data: &Self::Data) -> Model<Config<Self, Self::Model>>;
    /// The model with the examples.
    fn learner(device: &Device, dir: &Path, saved: Model<Config<Self, Self::Model>>, data: Self::Data) -> Result<Self::Learner>;
}

/// Runs the command. `given` has the names of the options that were given, as the fields are called.
pub(super) fn execute(session: &mut Session, args: Args, given: &[String]) -> Result<Verdict> {
    match args.task {
        TaskArgs::Translate { place, task } => learn(session, &place, *task, given),
        TaskArgs::Tag { place, task } => learn(session, &place, *task, given),
    }
}

fn learn<T: Task>(session: &mut Session, place: &Place, mut task: T, given: &[String]) -> Result<Verdict> {
    let dir = &*place.out;
    task.options_mut().make_absolute()?;
    let resume = place.resume && checkpoint::exists(dir);
    let saved = if resume { Some(checkpoint::load::<Config<T, T::Model>>(dir, T::NAME)?) } else { None };
    if let Some(saved) = &saved {
        task = resumed(&saved.config.options, &task, given, dir)?;
    }
    task.options().check()?;
    let data = task.read()?;
    let device = session.device()?;
    let saved = match saved {
        Some(saved) => Model { config: Config { options: task, ..saved.config }, ..saved },
        None => task.begun(&data),
    };
    let learner = T::learner(&device, dir, saved, data)?;
    // Only now: what is wrong with arguments or examples leaves no directory behind.
    if !resume {
        if place.resume {
            session.note(format!("there is no checkpoint in {} yet: training begins", dir.display()));
        }
        checkpoint::claim(dir, place.force)?;
    }
    let summary = run::train(&learner, dir, resume)?;
    report(session, dir, &summary)
}

fn report(session: &mut Session, dir: &Path, summary: &Summary) -> Result<Verdict> {
    let Summary { epochs, steps, metric, test_examples, seconds, .. } = summary;
    if summary.stopped {
        session.note(format!("stopped after step {steps}, saved to {}; the same command with --resume goes on", dir.display()));
    }
    if session.json {
        session.json(summary)?;
        return Ok(Verdict::of(!summary.stopped));
    }
    let mut line =
        format!("{}: {steps} steps in {epochs} {}, {seconds:.0} s", dir.display(), if *epochs == 1 { "epoch" } else { "epochs" });
    if let (Some(valid), Some(epoch)) = (summary.valid, summary.best_epoch) {
        line += &format!("; {metric} {:.2} % after epoch {epoch}, the best", 100.0 * valid);
    }
    if let Some(test) = summary.test {
        line += &format!("; on {test_examples} examples for the test {metric} {:.2} %", 100.0 * test);
    }
    session.line(line)?;
    Ok(Verdict::of(!summary.stopped))
}

/// Where examples come from.
enum Source<G> {
    Generated(G),
    Files(Files),
}

/// The files that were named.
struct Files {
    train: PathBuf,
    valid: Option<PathBuf>,
    test: Option<PathBuf>,
}

impl Files {
    fn split<T>(&self, read: impl Fn(&Path) -> Result<Vec<T>>) -> Result<Split<T>> {
        let part = |path: &Option<PathBuf>| path.as_deref().map_or(Ok(vec![]), &read);
        Ok(Split { train: read(&self.train)?, valid: part(&self.valid)?, test: part(&self.test)? })
    }
}

fn source<G>(options: &Options, generate: Option<G>) -> Result<Source<G>> {
    match (&options.train, generate) {
        (Some(train), _) => Ok(Source::Files(Files { train: train.clone(), valid: options.valid.clone(), test: options.test.clone() })),
        (None, Some(generate)) => Ok(Source::Generated(generate)),
        (None, None) => Err(missing("train", "--train", "--train FILE, or --generate for examples that wattn makes")),
    }
}

/// The sizes of a generated task, or so many examples to learn from, and no more to decide and test by.
fn sizes(own: &Sizes, examples: Option<usize>) -> Sizes {
    examples.map_or(*own, |train| Sizes { train, valid: own.valid.min(train), test: own.test.min(train) })
}

fn checksum(texts: [String; 2]) -> u32 {
    let mut sum = flate2::Crc::new();
    texts.iter().for_each(|text| sum.update(text.as_bytes()));
    sum.sum()
}

/// A vocabulary of the checkpoint in the directory.
fn vocabulary(dir: &Path, all: &Vocabularies, name: &str) -> Result<Vocabulary> {
    all.get(name).cloned().map_err(|message| Error::Format { path: dir.into(), message })
}

/// Gives the parameters the weights of the checkpoint in the directory; a run that begins has none yet.
fn load(dir: &Path, parameters: &Parameters, weights: &Arrays) -> Result<()> {
    if weights.is_empty() { Ok(()) } else { parameters.load_from(dir, weights) }
}
