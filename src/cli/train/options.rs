//! What training can be told, and what a run that goes on may be told anew.

use std::path::{Path, PathBuf};

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::nn::Cell;
use crate::ops::optimizer::{Kind, OptimizerOptions};
use crate::optim::Schedule;
use crate::{Error, Result};

/// What a run that goes on may have another value of: it changes how long to train, not what is trained.
const MAY_CHANGE: [&str; 3] = ["epochs", "patience", "save_every"];

/// Where a run is saved, and how it begins.
#[derive(Args)]
pub(super) struct Place {
    /// The directory that the model, its checkpoints, log.csv and curve.svg are written to.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Go on from the checkpoint in DIR, with its options. Where there is none yet, training begins.
    #[arg(long, conflicts_with = "force")]
    pub resume: bool,
    /// Begin anew in a directory that holds something already.
    #[arg(long)]
    pub force: bool,
}

/// What all tasks can be told. config.json holds it.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Options {
    /// Examples to learn from.
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    pub train: Option<PathBuf>,
    /// Examples to decide by: which weights to keep, when to stop.
    #[arg(long, value_name = "FILE", requires = "train")]
    pub valid: Option<PathBuf>,
    /// Examples for the score at the end, which nothing is decided by.
    #[arg(long, value_name = "FILE", requires = "train")]
    pub test: Option<PathBuf>,
    /// Generated examples to learn from, if not as many as the task has.
    #[arg(long, value_name = "N", value_parser = count(10_000_000), requires = "generate")]
    pub examples: Option<usize>,
    /// Times that each example is seen.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub epochs: u64,
    /// Examples of a step.
    #[arg(long, value_name = "N", default_value = "64", value_parser = count(65_536))]
    pub batch: usize,
    /// The highest learning rate (AdamW).
    #[arg(long, value_name = "RATE")]
    pub lr: f64,
    /// Steps in which the rate rises to the highest.
    #[arg(long, value_name = "STEPS", default_value = "100")]
    pub warm_up: u64,
    /// What the rate does then: stay, or fall to 0 along a cosine until the last step.
    #[arg(long, value_enum, default_value = "cosine")]
    pub decay: Decay,
    /// How fast weights decay by themselves.
    #[arg(long, value_name = "RATE", default_value = "0.01")]
    pub weight_decay: f64,
    /// The largest norm of all gradients together; 0 for any.
    #[arg(long, value_name = "NORM", default_value = "1")]
    pub clip: f64,
    /// The probability that an element is dropped while training.
    #[arg(long, value_name = "P", default_value = "0.1")]
    pub dropout: f32,
    /// Which step the recurrent layers have: rnn, gru or lstm.
    #[arg(long, default_value = "lstm", value_name = "CELL")]
    pub cell: Cell,
    /// Features of a character or word.
    #[arg(long, value_name = "N", default_value = "64", value_parser = count(MOST_FEATURES))]
    pub embedding: usize,
    /// Features of a state.
    #[arg(long, value_name = "N", default_value = "96", value_parser = count(MOST_FEATURES))]
    pub hidden: usize,
    /// Recurrent layers, one on the other.
    #[arg(long, value_name = "N", default_value = "1", value_parser = count(64))]
    pub layers: usize,
    /// Attend with this many heads, each with its own part of the features, in place of one --score.
    #[arg(long, value_name = "N", value_parser = count(1_024), conflicts_with = "score")]
    pub heads: Option<usize>,
    /// Of initial weights, of the order of examples, and of what is dropped and generated.
    #[arg(long, value_name = "N", default_value = "0")]
    pub seed: u64,
    /// Epochs without a better score on the examples to decide by, after which training ends.
    #[arg(long, value_name = "EPOCHS", default_value = "5", value_parser = clap::value_parser!(u64).range(1..))]
    pub patience: u64,
    /// Steps between checkpoints; there is one after each epoch as well.
    #[arg(long, value_name = "STEPS", default_value = "500", value_parser = clap::value_parser!(u64).range(1..))]
    pub save_every: u64,
}

/// The largest number of features: a layer's matrix is to fit into a host's memory.
const MOST_FEATURES: u64 = 8_192;

pub(in crate::cli) fn count(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

/// What the rate does once it is warm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decay {
    /// It stays.
    None,
    /// Half a cosine down to 0.
    Cosine,
}

impl Options {
    /// Refuses numbers that mean nothing.
    ///
    /// # Errors
    /// [`Error::Argument`] that names the option.
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, expected: &str, got: f64| {
            Err(Error::Argument { op: "train", key: key.into(), expected: expected.into(), got: got.to_string() })
        };
        match self {
            o if !(o.lr > 0.0 && o.lr.is_finite()) => wrong("--lr", "a rate above 0", o.lr),
            o if !(o.weight_decay >= 0.0 && o.weight_decay.is_finite()) => wrong("--weight-decay", "a rate of 0 or more", o.weight_decay),
            o if !(o.clip >= 0.0 && o.clip.is_finite()) => wrong("--clip", "a norm above 0, or 0 for any", o.clip),
            o if !(0.0..1.0).contains(&o.dropout) => wrong("--dropout", "a probability from 0 to below 1", o.dropout.into()),
            _ => Ok(()),
        }
    }

    pub fn optimizer(&self) -> OptimizerOptions {
        OptimizerOptions { kind: Kind::AdamW, lr: self.lr, weight_decay: self.weight_decay, ..Default::default() }
    }

    /// The schedule of a run of this many steps. A run that is over before the rate is the highest has no decay.
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub fn schedule(&self, steps: u64) -> Result<Schedule> {
        Schedule::new(self.warm_up, Some(steps).filter(|&steps| self.decay == Decay::Cosine && steps > self.warm_up))
    }

    pub fn clip(&self) -> Option<f64> {
        Some(self.clip).filter(|&clip| clip > 0.0)
    }

    /// Paths that mean the same wherever the run goes on.
    pub fn make_absolute(&mut self) -> Result<()> {
        let paths = [&mut self.train, &mut self.valid, &mut self.test];
        paths.into_iter().flatten().try_for_each(|path| {
            *path = std::path::absolute(&*path).map_err(|source| Error::Io { path: path.clone(), source })?;
            Ok(())
        })
    }
}

/// The options of a run that goes on: those that were saved, with what was given now where it may change.
///
/// # Errors
/// [`Error::Argument`] for an option that was given, has another value than the saved one, and may not change.
pub(super) fn resumed<T: Serialize + DeserializeOwned>(saved: &T, now: &T, given: &[String], dir: &Path) -> Result<T> {
    let fault = |error: serde_json::Error| Error::Format { path: dir.into(), message: error.to_string() };
    let map = |options: &T| serde_json::to_value(options).and_then(serde_json::from_value::<Map<String, Value>>).map_err(fault);
    let (mut saved, mut now) = (map(saved)?, map(now)?);
    for key in given {
        match (saved.get(key), now.remove(key)) {
            (Some(old), Some(new)) if *old != new && !MAY_CHANGE.contains(&key.as_str()) => {
                return Err(Error::Argument {
                    op: "train",
                    key: format!("--{}", key.replace('_', "-")),
                    expected: format!("{}, with which the run in {} began, or nothing at all", shown(old), dir.display()),
                    got: shown(&new),
                });
            }
            (Some(_), Some(new)) => {
                saved.insert(key.clone(), new);
            }
            _ => {}
        }
    }
    serde_json::from_value(Value::Object(saved)).map_err(fault)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Some3 {
        epochs: u64,
        warm_up: u64,
        train: Option<PathBuf>,
    }

    #[test]
    fn a_run_goes_on_with_its_own_options() {
        let saved = || Some3 { epochs: 3, warm_up: 5, train: Some("a".into()) };
        let go = |now: Some3, given: &[&str]| {
            let given: Vec<String> = given.iter().map(|key| key.to_string()).collect();
            resumed(&saved(), &now, &given, Path::new("run")).map_err(|error| error.to_string())
        };
        // What was not given is the parser's default, and counts for nothing.
        assert_eq!(go(Some3 { epochs: 9, warm_up: 7, train: None }, &["out"]).unwrap(), saved());
        assert_eq!(go(Some3 { epochs: 9, ..saved() }, &["epochs", "train"]).unwrap(), Some3 { epochs: 9, ..saved() });
        let error = go(Some3 { warm_up: 6, ..saved() }, &["warm_up"]).unwrap_err();
        assert_eq!(error, "train: --warm-up = 6; expected 5, with which the run in run began, or nothing at all");
        assert!(go(Some3 { train: None, ..saved() }, &["train"]).unwrap_err().contains("--train = none; expected a, "));
    }
}
