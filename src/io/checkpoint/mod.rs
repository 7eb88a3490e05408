//! Checkpoints: what a training run leaves, and what it goes on from.
//!
//! A directory with five files:
//!
//! | file | what it holds |
//! |---|---|
//! | model.safetensors | the weights, by name |
//! | config.json | the task, and what the model was made with |
//! | vocab.txt | [`Vocabularies`] |
//! | state.safetensors | what only training needs: the optimizer's tensors, and where it was |
//! | log.csv | a row for each epoch |
//!
//! **Whole or not at all.** [`save`] writes all five aside, into `.writing` inside the directory, and sees to it that they are on the
//! disk. Renaming that to `.done` is the moment at which the new checkpoint takes the place of the former. Then the files are moved, one
//! by one, to where they belong. A process that dies before that moment leaves the former checkpoint, untouched; one that dies after it
//! leaves the new one, which readers find in `.done`, and which the next save moves to its place. Where the disk is full, `.writing` is
//! removed, and the former is still there.
//!
//! Files of other names are left alone. Two runs must not save to one directory at a time.

mod files;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{read, write, write_text};
use crate::ops::Arrays;
use crate::tasks::vocabulary::Vocabularies;
use crate::{Array, Data, Error, Result};

const MODEL: &str = "model.safetensors";
const CONFIG: &str = "config.json";
const VOCABULARIES: &str = "vocab.txt";
const STATE: &str = "state.safetensors";
const LOG: &str = "log.csv";

/// What config.json says it is.
const FORMAT: &str = "wattn checkpoint 1";

/// The tensor of state.safetensors that holds the position: JSON, so that numbers of 64 bits stay what they are.
const POSITION: &str = "position";

/// What prediction needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Model<C> {
    /// What it was trained for, as `wattn train` names it.
    pub task: String,
    /// What it was made with.
    pub config: C,
    /// Which index stands for what.
    pub vocabularies: Vocabularies,
    /// The weights.
    pub weights: Arrays,
}

/// What training needs to go on as if it had not stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress<P> {
    /// The optimizer's tensors, and whatever else there is of them.
    pub state: Arrays,
    /// Epoch, batch, random state and the like. Every number in it must be finite.
    pub position: P,
    /// What there has been.
    pub log: Vec<Row>,
}

/// An epoch in the log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From 1.
    pub epoch: u64,
    /// Optimizer steps since the beginning.
    pub step: u64,
    /// The mean over the epoch.
    pub train_loss: f64,
    /// On what is held out to decide by.
    pub valid_loss: Option<f64>,
    /// Exact matches or F1, 0 to 1, on the same.
    pub score: Option<f64>,
    /// At the epoch's end.
    pub learning_rate: f64,
    /// Tokens that are no padding, per second of the epoch's training.
    pub tokens_per_s: f64,
    /// Since the beginning, validation included.
    pub seconds: f64,
}

/// The content of config.json.
#[derive(Serialize, Deserialize)]
struct Config<C> {
    format: String,
    task: String,
    config: C,
}

/// Makes the directory ready for a new run, and fails before any work where it will not do.
///
/// # Errors
/// [`Error::Format`] when it is a file, or when it is not empty and nobody said `force`. [`Error::Io`] when it cannot be made or written to.
pub fn claim(dir: &Path, force: bool) -> Result<()> {
    let io = |source| Error::Io { path: dir.into(), source };
    let refused = |message: &str| Err(Error::Format { path: dir.into(), message: message.into() });
    match std::fs::metadata(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::fs::create_dir_all(dir).map_err(io)?,
        Err(error) => return Err(io(error)),
        Ok(about) if !about.is_dir() => return refused("is a file; expected a directory to write the model to"),
        Ok(_) if force => {}
        Ok(_) if exists(dir) => {
            return refused("there is a checkpoint already; --resume goes on with it, --force begins anew in its place");
        }
        Ok(_) if std::fs::read_dir(dir).map_err(io)?.next().is_some() => {
            return refused("is not empty and holds no checkpoint; expected a new directory, or --force to write into this one");
        }
        Ok(_) => {}
    }
    files::recover(dir)?;
    files::try_writing(dir)
}

/// Saves a checkpoint in place of the one that is there.
///
/// # Errors
/// [`Error::Io`] or [`Error::Format`], for instance for a full disk. Then the checkpoint that was there is there still.
pub fn save<C: Serialize, P: Serialize>(dir: &Path, model: &Model<C>, progress: &Progress<P>) -> Result<()> {
    let fault = |name: &str, message: String| Error::Format { path: dir.join(name), message };
    let config = Config { format: FORMAT.into(), task: model.task.clone(), config: &model.config };
    let config = serde_json::to_string_pretty(&config).map_err(|error| fault(CONFIG, error.to_string()))? + "\n";
    let position = serde_json::to_vec(&progress.position).map_err(|error| fault(STATE, error.to_string()))?;
    if progress.state.contains_key(POSITION) {
        return Err(fault(STATE, format!("no tensor of the state can be named '{POSITION}'")));
    }
    let mut state = progress.state.clone();
    state.insert(POSITION.into(), Array::u8(&[position.len()], position));
    let log = to_csv(&progress.log).map_err(|message| fault(LOG, message))?;
    files::replace(dir, |aside| {
        write(&aside.join(MODEL), &model.weights)?;
        write_text(&aside.join(CONFIG), &config)?;
        write_text(&aside.join(VOCABULARIES), &model.vocabularies.to_text())?;
        write(&aside.join(STATE), &state)?;
        write_text(&aside.join(LOG), &log)
    })
}

/// Whether the directory holds a checkpoint.
pub fn exists(dir: &Path) -> bool {
    files::exists(dir, CONFIG)
}

/// The task that the checkpoint's model is for.
///
/// # Errors
/// [`Error::Io`] when there is no such directory, [`Error::Format`] when it holds no checkpoint.
pub fn task(dir: &Path) -> Result<String> {
    config::<serde_json::Value>(dir).map(|config| config.task)
}

/// What prediction needs.
///
/// # Errors
/// As [`task`]; [`Error::Format`] for a model of another task, and for whatever is wrong inside the files.
pub fn load<C: DeserializeOwned>(dir: &Path, task: &str) -> Result<Model<C>> {
    let Config { task: found, config: value, .. } = config::<serde_json::Value>(dir)?;
    if found != task {
        return Err(Error::Format { path: dir.into(), message: format!("is a model for '{found}'; expected one for '{task}'") });
    }
    let config = serde_json::from_value(value).map_err(|error| Error::Format { path: dir.join(CONFIG), message: error.to_string() })?;
    let vocabularies = Vocabularies::from_text(&files::text(dir, VOCABULARIES)?);
    let vocabularies = vocabularies.map_err(|message| Error::Format { path: dir.join(VOCABULARIES), message })?;
    Ok(Model { task: found, config, vocabularies, weights: files::find(dir, MODEL, read)? })
}

/// What training needs beside the model.
///
/// # Errors
/// As [`load`].
pub fn load_progress<P: DeserializeOwned>(dir: &Path) -> Result<Progress<P>> {
    let fault = |name: &str, message: String| Error::Format { path: dir.join(name), message };
    let mut state = files::find(dir, STATE, read)?;
    let position = state.remove(POSITION).ok_or_else(|| fault(STATE, format!("there is no tensor '{POSITION}'")))?;
    let Data::U8(bytes) = position.data() else {
        return Err(fault(STATE, format!("'{POSITION}' is {}; expected u8", position.dtype())));
    };
    let position = serde_json::from_slice(bytes).map_err(|error| fault(STATE, format!("'{POSITION}': {error}")))?;
    let text = files::text(dir, LOG)?;
    let rows = csv::Reader::from_reader(text.as_bytes()).into_deserialize().collect::<Result<Vec<Row>, _>>();
    Ok(Progress { state, position, log: rows.map_err(|error| fault(LOG, error.to_string()))? })
}

fn config<C: DeserializeOwned>(dir: &Path) -> Result<Config<C>> {
    std::fs::metadata(dir).map_err(|source| Error::Io { path: dir.into(), source })?;
    if !files::exists(dir, CONFIG) {
        return Err(Error::Format { path: dir.into(), message: format!("holds no checkpoint of `wattn train`: there is no {CONFIG}") });
    }
    let fault =
        |message: String| Error::Format { path: dir.join(CONFIG), message: format!("no configuration of a wattn checkpoint: {message}") };
    let config: Config<C> = serde_json::from_str(&files::text(dir, CONFIG)?).map_err(|error| fault(error.to_string()))?;
    if config.format != FORMAT {
        return Err(fault(format!("format '{}'; expected '{FORMAT}'", config.format.escape_debug())));
    }
    Ok(config)
}

/// The log as a table.
fn to_csv(rows: &[Row]) -> Result<String, String> {
    let mut writer = csv::Writer::from_writer(vec![]);
    for row in rows {
        writer.serialize(row).map_err(|error| error.to_string())?;
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
