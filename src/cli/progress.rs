//! What a long run shows of itself, and how it is asked to end.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{Error, Result};

/// A bar on stderr with the loss, tokens per second and the time left. Where stderr is no terminal there is none, and [`Progress::note`]
/// still writes its lines.
pub struct Progress {
    bar: ProgressBar,
    /// The mean of late losses, which jump from batch to batch.
    loss: Option<f64>,
    tokens: u64,
    begun: Instant,
}

/// The part of a new loss in the mean that is shown.
const NEW: f64 = 0.05;

impl Progress {
    /// A bar of this many steps, `done` of which were taken by an earlier run.
    pub fn new(steps: u64, done: u64) -> Self {
        Self::on(ProgressDrawTarget::stderr_with_hz(5), steps, done)
    }

    fn on(target: ProgressDrawTarget, steps: u64, done: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_position(done);
        let template = "{prefix} {wide_bar:.blue} {pos}/{len} {msg}, {eta} left";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        // Time left is reckoned from what this run does.
        bar.reset_eta();
        Progress { bar, loss: None, tokens: 0, begun: Instant::now() }
    }

    /// What the bar is of: `epoch 3/20`.
    pub fn stage(&self, name: &str) {
        self.bar.set_prefix(name.to_string());
    }

    /// A step has been taken, with this loss on this many tokens.
    pub fn step(&mut self, loss: f64, tokens: usize) {
        self.tokens += tokens as u64;
        // A loss that is no number is to be seen at once.
        self.loss = Some(match self.loss {
            Some(mean) if loss.is_finite() && mean.is_finite() => mean + NEW * (loss - mean),
            _ => loss,
        });
        self.bar.set_message(self.message());
        self.bar.inc(1);
    }

    fn message(&self) -> String {
        format!("loss {:.4}, {}", self.loss.unwrap_or(f64::NAN), rate(self.tokens_per_s()))
    }

    /// Of all steps of this run.
    pub fn tokens_per_s(&self) -> f64 {
        self.tokens as f64 / self.begun.elapsed().max(Duration::from_micros(1)).as_secs_f64()
    }

    /// Writes a line above the bar.
    pub fn note(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    /// An error on the way must not be written behind a bar.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn rate(tokens_per_s: f64) -> String {
    match tokens_per_s {
        rate if rate >= 1e6 => format!("{:.1} M tokens/s", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.0} k tokens/s", rate / 1e3),
        rate => format!("{rate:.0} tokens/s"),
    }
}

static STOP: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C, or a system that asks the process to end, is a wish that [`stopped`] tells. The second one ends the process at once,
/// with the code that shells give for it.
///
/// # Errors
/// [`Error::Io`] when the system does not allow that, or when something else in the process has asked for it.
pub fn catch_stop() -> Result<()> {
    static CAUGHT: OnceLock<Result<(), String>> = OnceLock::new();
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        // What is written here is for somebody who waits: steps may take seconds.
        eprintln!("\nstopping after this step, and saving; once more stops at once");
    };
    let caught = CAUGHT.get_or_init(|| ctrlc::set_handler(handler).map_err(|error| error.to_string()));
    caught.clone().map_err(|message| Error::Io { path: "Ctrl-C".into(), source: std::io::Error::other(message) })
}

/// Whether somebody has asked the run to end.
pub fn stopped() -> bool {
    STOP.load(Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_counts_and_smooths() {
        let mut progress = Progress::on(ProgressDrawTarget::hidden(), 10, 3);
        progress.stage("epoch 1/2");
        progress.step(2.0, 100);
        assert!(progress.message().starts_with("loss 2.0000, "), "{}", progress.message());
        progress.step(1.0, 100);
        assert!(progress.message().starts_with("loss 1.9500, "), "{}", progress.message());
        progress.step(f64::NAN, 100);
        assert!(progress.message().starts_with("loss NaN"), "{}", progress.message());
        progress.step(1.0, 100);
        assert_eq!((progress.bar.position(), progress.tokens), (7, 400));
        assert!(progress.message().starts_with("loss 1.0000") && progress.tokens_per_s() > 0.0);
        assert_eq!([12.3, 45_678.0, 2.5e6].map(rate), ["12 tokens/s", "46 k tokens/s", "2.5 M tokens/s"]);
    }
}
