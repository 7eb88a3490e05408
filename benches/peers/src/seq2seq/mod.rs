//! Training: steps of an LSTM encoder-decoder with attention. A step is the forward, the backward and Adam's update of every parameter.
//!
//! - `wattn`: [`Seq2Seq`] with one layer in one direction, the score "general" and no dropout, and [`Optimizer`].
//! - `burn`: the same function of burn's modules, as [`theirs`] says, and its Adam.
//!
//! Both train on one batch, which is on the device before, from wattn's initial parameters. All sequences are of full length: burn gets no
//! mask then, while wattn's model always takes lengths and a mask.
//!
//! A time is that of some steps, until the device is idle, divided by their number; nothing is read in between. The loss of each is alive
//! until then.
//!
//! Before anything is timed, and again from the start with what burn has tuned by then, both take [`CHECKED`] steps. Compared are the losses,
//! and by how much each parameter has changed: that says more than the parameters, of which a step moves little.
//!
//! GFLOP/s count the products alone, three times those of the forward.

mod ours;
mod theirs;

use std::time::Instant;

use burn::tensor::Device;
use wattn::Gpu;
use wattn::models::EOS;
use wattn::models::seq2seq::Seq2SeqOptions;
use wattn::nn::{Cell, Score};
use wattn::ops::Arrays;
use wattn::ops::philox::Rng;

use crate::case::floats;
use crate::report::{Report, Row, Times, What};
use crate::turns::{Outputs, Side, TOLERANCE, Values, Warm, values, verify};
use crate::{Result, SEED, device};

/// Steps after which parameters are compared.
const CHECKED: u32 = 3;

/// The rate. What else Adam takes has burn's defaults, which are PyTorch's but for ε.
const LR: f64 = 1e-3;

/// Adam's ε, of burn's default. Where gradients are far smaller, their rounding would decide what Adam does.
const EPS: f64 = 1e-5;

/// The largest difference of a change, as a part of the largest change of that parameter.
const CHANGE_TOLERANCE: f64 = 1e-3;

/// Ids up to that of the end, which no drawn sequence has.
const SPECIAL: usize = EOS as usize + 1;

/// The name of the only case.
const CASE: &str = "train";

/// The name of the losses among the results.
const LOSSES: &str = "losses";

/// One layer each, in one direction; score "general"; Adam.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    warm: Warm,
    #[command(flatten)]
    sizes: Sizes,
    /// Steps that are timed together.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    steps: u32,
}

/// What `wattn train translate` has for dates.
#[derive(clap::Args, Clone, Copy)]
struct Sizes {
    /// B: pairs of sequences.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// S: ids of a source.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=4096))]
    source: u32,
    /// T: ids of a target, with the end.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=4096))]
    target: u32,
    /// Ids that a source may have, the three special ones included.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(4..=65536))]
    source_ids: u32,
    /// V: ids that a target may have.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(4..=65536))]
    target_ids: u32,
    /// E: features of an id.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    embedding: u32,
    /// H: features of a state.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4096))]
    hidden: u32,
}

impl Sizes {
    /// wattn's model.
    fn options(&self) -> Seq2SeqOptions {
        Seq2SeqOptions {
            source: self.source_ids as usize,
            target: self.target_ids as usize,
            embedding: self.embedding as usize,
            hidden: self.hidden as usize,
            layers: 1,
            cell: Cell::Lstm,
            bidirectional: false,
            score: Score::General,
            dropout: 0.0,
        }
    }

    /// Sources and targets, the latter without the end.
    fn draw(&self) -> [Vec<Vec<i32>>; 2] {
        let mut rng = Rng::new(SEED);
        [(self.source, self.source_ids), (self.target - 1, self.target_ids)].map(|(length, ids)| {
            let mut id = || (SPECIAL + rng.below(ids as usize - SPECIAL)) as i32;
            (0..self.batch).map(|_| (0..length).map(|_| id()).collect()).collect()
        })
    }

    fn what(&self) -> What {
        let Sizes { batch, source, target, source_ids, target_ids, embedding, hidden } = *self;
        let [b, s, t, v, e, h] = [batch, source, target, target_ids, embedding, hidden].map(f64::from);
        let recurrent = (s + t) * 4.0 * h * (e + h);
        let attention = t * h * h + 2.0 * t * s * h;
        let last = t * (2.0 * h * h + h * v);
        let sizes = [batch, source, target, source_ids, target_ids, embedding, hidden];
        let shape = sizes.map(|size| size.to_string()).join(",");
        What { case: CASE.into(), shape, flops: 3.0 * 2.0 * b * (recurrent + attention + last) }
    }
}

/// A library with a model that it trains.
struct Trainer {
    name: &'static str,
    /// Goes on for so many steps and waits for the device. Gives the losses and the parameters, by wattn's names and in its layout.
    train: Box<dyn FnMut(u32) -> Result<Outputs>>,
}

impl Trainer {
    /// One step: its seconds, and what it gives.
    fn first(&mut self) -> Result<(f64, Outputs)> {
        let start = Instant::now();
        let outputs = (self.train)(1)?;
        let seconds = start.elapsed().as_secs_f64();
        // Before the other library begins, which may take long.
        eprintln!("{CASE}: {}'s first step took {seconds:.1} s", self.name);
        Ok((seconds, outputs))
    }

    /// What trains for so many steps at a time.
    fn side(self, steps: u32) -> Side {
        let Trainer { name, mut train } = self;
        Side { name, run: Box::new(move || train(steps)) }
    }
}

/// Both libraries from the same parameters, which come first.
fn trainers(sizes: &Sizes, gpu: &Gpu, device: &Device) -> Result<(Arrays, Vec<Trainer>)> {
    let drawn = sizes.draw();
    let (initial, ours) = ours::trainer(&sizes.options(), &drawn, gpu)?;
    let theirs = theirs::trainer(&sizes.options(), &drawn, &initial, device)?;
    Ok((initial, vec![ours, theirs]))
}

/// The losses apart, and the changes of the parameters.
fn changes(mut results: Values, initial: &Arrays) -> Result<[Values; 2]> {
    let losses = results.remove_entry(LOSSES).into_iter().collect();
    for (name, before) in initial {
        let after = results.get_mut(name).ok_or_else(|| format!("there is no {name}"))?;
        after.iter_mut().zip(floats(before)?).for_each(|(after, before)| *after -= before);
    }
    Ok([losses, results])
}

/// What the checked steps give.
struct Check {
    /// The seconds of the first step.
    first: Vec<f64>,
    /// The largest difference of each library.
    differences: Vec<f64>,
}

/// Takes the checked steps from the initial parameters and compares.
fn check(trainers: &mut [Trainer], initial: &Arrays) -> Result<Check> {
    let names: Vec<&'static str> = trainers.iter().map(|trainer| trainer.name).collect();
    let compare = |outputs: Vec<Outputs>| -> Result<Vec<f64>> {
        let results = values(outputs)?.into_iter().map(|results| changes(results, initial)).collect::<Result<Vec<_>>>()?;
        let (losses, changes): (Vec<Values>, Vec<Values>) = results.into_iter().map(<(Values, Values)>::from).unzip();
        let losses = verify(&names, &losses, None, TOLERANCE)?;
        let changes = verify(&names, &changes, None, CHANGE_TOLERANCE)?;
        Ok(losses.into_iter().zip(changes).map(|(loss, change)| f64::max(loss, change)).collect())
    };
    let (first, outputs): (Vec<f64>, Vec<Outputs>) =
        trainers.iter_mut().map(Trainer::first).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    compare(outputs)?;
    let rest = trainers.iter_mut().map(|trainer| (trainer.train)(CHECKED - 1)).collect::<Result<_>>()?;
    Ok(Check { first, differences: compare(rest)? })
}

fn measure(args: &Args, what: &What, gpu: &Gpu, device: &Device) -> Result<Vec<Row>> {
    let fresh = || trainers(&args.sizes, gpu, device);
    let (initial, mut trainers) = fresh()?;
    let names: Vec<&'static str> = trainers.iter().map(|trainer| trainer.name).collect();
    let Check { first, .. } = check(&mut trainers, &initial)?;
    let mut sides: Vec<Side> = trainers.into_iter().map(|trainer| trainer.side(args.steps)).collect();
    let (samples, _) = args.warm.take_turns(&mut sides)?;
    let (initial, mut trainers) = fresh()?;
    let Check { differences, .. } = check(&mut trainers, &initial)?;
    let each = |seconds: Vec<f64>| seconds.into_iter().map(|seconds| seconds / f64::from(args.steps)).collect();
    let times = first.into_iter().zip(samples).map(|(first, seconds)| Times { first, seconds: each(seconds) });
    Ok(names.into_iter().zip(times).zip(differences).map(|((name, times), difference)| Row::new(name, what, times, difference)).collect())
}

/// Compares, prints and records.
pub fn run(args: &Args) -> Result<()> {
    let gpu = args.warm.options.open()?;
    let (device, _) = device::open(gpu.info())?;
    let note = format!(", {} steps at a time", args.steps);
    let what = args.sizes.what();
    let report = Report::new(gpu.info(), &args.warm.options, "seq2seq", &note).of("step");
    report.run([(what.case.clone(), || measure(args, &what, &gpu, &device))])
}
