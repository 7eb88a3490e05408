//! The training loop: steps, checkpoints, validation, an end.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::options::Options;
use super::{Config, Task};
use crate::autograd::{Variable, no_grad};
use crate::cli::picture::curve;
use crate::cli::progress::{Progress, catch_stop, stopped};
use crate::io::checkpoint::{self, Model, Row};
use crate::nn::{Mode, Parameters};
use crate::ops::Arrays;
use crate::optim::Optimizer;
use crate::tasks::Batches;
use crate::{Error, Result};

/// The parts that data comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Valid,
    Test,
}

/// The loss of a batch.
pub(super) struct Loss {
    /// The mean of what is counted.
    pub mean: Variable,
    /// How much is counted: the mean over an epoch is weighted by it.
    pub count: usize,
    /// What was read and written, padding left out.
    pub tokens: usize,
}

/// A model with its data, as the loop sees them.
pub(super) trait Lesson {
    /// What is learned.
    type Task: Task;

    /// What the score is called.
    const SCORE: &'static str;

    /// What is saved, without weights.
    fn model(&self) -> &Model<Config<Self::Task, <Self::Task as Task>::Model>>;
    fn options(&self) -> &Options {
        self.model().config.options.options()
    }
    fn parameters(&self) -> &Parameters;
    /// The length of each example; of similar ones batches are made. None where there is no such part.
    fn lengths(&self, part: Part) -> Vec<usize>;
    fn loss(&self, part: Part, examples: &[usize], mode: &Mode) -> Result<Loss>;
    /// How good the model's answers are, 0 to 1.
    fn score(&self, part: Part) -> Result<f64>;
    /// A checksum of what is learned from.
    fn data(&self) -> u32;
}

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Position {
    /// Epochs that are over.
    epochs: u64,
    /// Batches of the next one that have been learned from.
    batches: u64,
    /// Of these batches: losses times counts, counts, and tokens.
    losses: f64,
    count: u64,
    tokens: u64,
    /// Seconds that they took, and that everything took.
    epoch_seconds: f64,
    seconds: f64,
    /// The best score so far, the loss that came with it, and the epoch after which it was reached.
    best: Option<(f64, f64, u64)>,
    /// [`Lesson::data`]
    data: u32,
}

/// How a run ended.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    /// Epochs and steps altogether.
    pub epochs: u64,
    pub steps: u64,
    /// What the score is called.
    pub metric: &'static str,
    /// The best on the examples to decide by, and the epoch it was reached in.
    pub valid: Option<f64>,
    pub best_epoch: Option<u64>,
    /// On the examples that nothing was decided by.
    pub test: Option<f64>,
    pub test_examples: usize,
    pub seconds: f64,
    /// Whether somebody asked for the end.
    pub stopped: bool,
}

/// The names, in state.safetensors, of the weights that training goes on with. model.safetensors has the best ones.
const LAST: &str = "last.";

struct Run<'a, L: Lesson> {
    lesson: &'a L,
    dir: &'a Path,
    optimizer: Optimizer,
    batches: Batches,
    at: Position,
    log: Vec<Row>,
    /// The weights of the best epoch, where there has been one.
    best: Option<Arrays>,
    /// A loss that has not been looked at, so that the device has work while the host waits for it.
    pending: Option<Loss>,
    progress: Progress,
    clock: Instant,
}

/// Trains, from the beginning or from the checkpoint in the directory.
///
/// # Errors
/// [`Error::Diverged`]; [`Error::Format`] for a checkpoint of other data or another model; [`Error::Io`]; those of the device.
pub(super) fn train<L: Lesson>(lesson: &L, dir: &Path, resume: bool) -> Result<Summary> {
    catch_stop()?;
    let options = lesson.options();
    let batches = Batches::new(lesson.lengths(Part::Train), options.batch, options.seed);
    let steps = options.epochs * batches.count() as u64;
    let fresh = Position { data: lesson.data(), ..Position::default() };
    let (mut at, mut log, mut best, mut state) = (fresh, vec![], None, None);
    if resume {
        let mut saved = checkpoint::load_progress::<Position>(dir)?;
        if saved.position.data != at.data {
            let message = "the examples to learn from are not those that this run began with".to_string();
            return Err(Error::Format { path: dir.into(), message });
        }
        let (last, own): (Arrays, Arrays) = std::mem::take(&mut saved.state).into_iter().partition(|(name, _)| name.starts_with(LAST));
        let last: Arrays = last.into_iter().map(|(name, array)| (name[LAST.len()..].to_string(), array)).collect();
        lesson.parameters().load(&last)?;
        best = saved.position.best.is_some().then(|| lesson.model().weights.clone());
        (at, log, state) = (saved.position, saved.log, Some(own));
    }
    let mut optimizer = Optimizer::new(lesson.parameters(), &options.optimizer(), options.schedule(steps)?, options.clip())?;
    if let Some(state) = &state {
        optimizer.load(state)?;
    }
    let progress = Progress::new(steps, optimizer.steps());
    let mut run = Run { lesson, dir, optimizer, batches, at, log, best, pending: None, progress, clock: Instant::now() };
    if !resume {
        run.save()?;
    }
    let stopped = run.epochs()?;
    run.finish(stopped)
}

impl<L: Lesson> Run<'_, L> {
    /// Trains to the end, and returns whether somebody asked for it.
    fn epochs(&mut self) -> Result<bool> {
        let options = self.lesson.options();
        while self.at.epochs < options.epochs && !self.is_stuck() {
            self.progress.stage(&format!("epoch {}/{}", self.at.epochs + 1, options.epochs));
            let order = self.batches.epoch(self.at.epochs);
            for examples in order.iter().skip(self.at.batches as usize) {
                self.step(examples)?;
                let stop = stopped();
                if stop || self.optimizer.steps().is_multiple_of(options.save_every) {
                    self.save()?;
                }
                if stop {
                    return Ok(true);
                }
            }
            self.end_epoch()?;
        }
        Ok(false)
    }

    /// Whether the score has not become better for so long that it hardly will.
    fn is_stuck(&self) -> bool {
        self.at.best.is_some_and(|(_, _, epoch)| self.at.epochs - epoch >= self.lesson.options().patience)
    }

    fn step(&mut self, examples: &[usize]) -> Result<()> {
        let mode = Mode::train(self.lesson.options().seed, self.optimizer.steps());
        let loss = self.lesson.loss(Part::Train, examples, &mode)?;
        loss.mean.backward()?;
        self.optimizer.step()?;
        let loss = Loss { mean: loss.mean.detach(), ..loss };
        let former = self.pending.replace(loss);
        self.count(former)?;
        self.at.batches += 1;
        Ok(())
    }

    /// Counts a loss, for which it waits.
    fn count(&mut self, loss: Option<Loss>) -> Result<()> {
        let Some(loss) = loss else { return Ok(()) };
        let mean = loss.mean.scalar()?;
        if !mean.is_finite() {
            let step = self.optimizer.steps() - u64::from(self.pending.is_some());
            return Err(Error::Diverged { step, loss: mean });
        }
        self.at.losses += mean * loss.count as f64;
        self.at.count += loss.count as u64;
        self.at.tokens += loss.tokens as u64;
        self.progress.step(mean, loss.tokens);
        Ok(())
    }

    /// Counts what is left, and stops the clock.
    fn settle(&mut self) -> Result<()> {
        let last = self.pending.take();
        self.count(last)?;
        let seconds = self.clock.elapsed().as_secs_f64();
        self.at.seconds += seconds;
        self.at.epoch_seconds += seconds;
        self.clock = Instant::now();
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        self.settle()?;
        let last = self.lesson.parameters().arrays()?;
        let mut state = self.optimizer.state()?;
        state.extend(last.iter().map(|(name, array)| (format!("{LAST}{name}"), array.clone())));
        let Model { task, config, vocabularies, .. } = self.lesson.model();
        let (task, config, vocabularies) = (task.clone(), config.clone(), vocabularies.clone());
        let model = Model { task, config, vocabularies, weights: self.best.clone().unwrap_or(last) };
        let progress = checkpoint::Progress { state, position: self.at.clone(), log: self.log.clone() };
        checkpoint::save(self.dir, &model, &progress)
    }

    /// Validates, writes the log and a checkpoint.
    fn end_epoch(&mut self) -> Result<()> {
        self.settle()?;
        let Position { losses, count, tokens, epoch_seconds, .. } = self.at;
        self.at =
            Position { epochs: self.at.epochs + 1, batches: 0, losses: 0.0, count: 0, tokens: 0, epoch_seconds: 0.0, ..self.at.clone() };
        let valid = self.validate()?;
        if let Some((score, loss)) = valid {
            let better = self.at.best.is_none_or(|(best, at, _)| score > best || (score == best && loss < at));
            if better {
                self.at.best = Some((score, loss, self.at.epochs));
                self.best = Some(self.lesson.parameters().arrays()?);
            }
        }
        self.at.seconds += self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
        let row = Row {
            epoch: self.at.epochs,
            step: self.optimizer.steps(),
            train_loss: losses / count.max(1) as f64,
            valid_loss: valid.map(|(_, loss)| loss),
            score: valid.map(|(score, _)| score),
            learning_rate: self.optimizer.lr(),
            tokens_per_s: tokens as f64 / epoch_seconds.max(1e-6),
            seconds: self.at.seconds,
        };
        let held_out = valid.map(|(score, loss)| format!(", on held-out examples {loss:.4}, {} {:.2} %", L::SCORE, 100.0 * score));
        self.progress.note(&format!("epoch {}: loss {:.4}{}", row.epoch, row.train_loss, held_out.unwrap_or_default()));
        self.log.push(row);
        self.save()?;
        let title = format!("{}: training in {}", self.lesson.model().task, self.dir.display());
        curve::save(&self.dir.join("curve.svg"), &title, L::SCORE, &self.log)
    }

    /// The score and the mean loss on the examples to decide by.
    fn validate(&self) -> Result<Option<(f64, f64)>> {
        let lengths = self.lesson.lengths(Part::Valid);
        if lengths.is_empty() {
            return Ok(None);
        }
        let (mut sum, mut count) = (0.0, 0);
        for examples in Batches::new(lengths, self.lesson.options().batch, 0).sorted() {
            let loss = no_grad(|| self.lesson.loss(Part::Valid, &examples, &Mode::predict()))?;
            sum += loss.mean.scalar()? * loss.count as f64;
            count += loss.count;
        }
        Ok(Some((self.lesson.score(Part::Valid)?, sum / count.max(1) as f64)))
    }

    /// Tests the weights that prediction will use.
    fn finish(self, stopped: bool) -> Result<Summary> {
        self.progress.finish();
        let examples = self.lesson.lengths(Part::Test).len();
        let tested = !stopped && examples > 0;
        if let Some(best) = self.best.as_ref().filter(|_| tested) {
            self.lesson.parameters().load(best)?;
        }
        Ok(Summary {
            epochs: self.at.epochs,
            steps: self.optimizer.steps(),
            metric: L::SCORE,
            valid: self.at.best.map(|(score, _, _)| score),
            best_epoch: self.at.best.map(|(_, _, epoch)| epoch),
            test: tested.then(|| self.lesson.score(Part::Test)).transpose()?,
            test_examples: if tested { examples } else { 0 },
            seconds: self.at.seconds,
            stopped,
        })
    }
}
