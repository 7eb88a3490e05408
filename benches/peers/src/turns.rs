//! Libraries take turns at a case: each is verified, then timed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::Device;
use wattn::{Gpu, GpuOptions};

use crate::case::Case;
use crate::report::{Report, Row, Times, What};
use crate::{Result, device};

/// The largest difference from what is expected, as a part of the largest value. Two evaluations in f32 differ by 1e-6 or so, one whose
/// products take f16 by 1e-3, a wrong mask, scale or gate by 1.
pub const TOLERANCE: f64 = 1e-4;

/// The options of every comparison.
#[derive(clap::Args)]
pub struct Options {
    /// A part of the names of the cases to run, such as `forward`.
    filter: Option<String>,
    /// Times each library is timed in each case.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// The adapter: auto, or a number or a part of a name as `wattn devices` lists them.
    #[arg(long, env = "WATTN_DEVICE", default_value = "auto")]
    pub device: String,
    /// A file that the rows are appended to, as CSV.
    #[arg(long)]
    pub csv: Option<PathBuf>,
}

impl Options {
    /// wattn's device.
    pub fn open(&self) -> Result<Gpu> {
        open(&self.device)
    }

    /// Whether a case of this name is to run.
    pub fn want(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter))
    }

    /// What is wrong when no case runs.
    pub fn nothing(&self) -> String {
        format!("no case's name holds '{}'", self.filter.as_deref().unwrap_or_default())
    }
}

/// wattn's device of a name.
pub fn open(device: &str) -> Result<Gpu> {
    Ok(Gpu::new(&GpuOptions { device: device.to_string(), ..Default::default() })?)
}

/// The options of what is timed again and again in one process.
#[derive(clap::Args)]
pub struct Warm {
    #[command(flatten)]
    pub options: Options,
    /// Calls of each library between its first one and those that are timed.
    #[arg(long, default_value_t = 2)]
    warmup: u32,
}

/// Outputs and gradients by name.
pub type Values = BTreeMap<String, Vec<f32>>;

/// The outputs of a call, alive on the device until this is called or dropped.
pub type Outputs = Box<dyn FnOnce() -> Result<Values>>;

/// One library, ready to run one case.
pub struct Side {
    pub name: &'static str,
    /// Runs once and waits for the device.
    pub run: Box<dyn FnMut() -> Result<Outputs>>,
}

impl Side {
    /// Runs once: the seconds until the device was idle, and the outputs.
    pub fn time(&mut self) -> Result<(f64, Outputs)> {
        let start = Instant::now();
        let outputs = (self.run)()?;
        Ok((start.elapsed().as_secs_f64(), outputs))
    }
}

/// The largest difference from what is expected, as a part of the largest value. An error when it is beyond the tolerance.
fn compare(name: &str, got: &Values, expected: &Values, tolerance: f64) -> Result<f64> {
    let mut worst = 0.0;
    for (tensor, a) in expected {
        let b = got.get(tensor).ok_or_else(|| format!("{name} returns no {tensor}"))?;
        if a.len() != b.len() {
            return Err(format!("{name}'s {tensor} has {} elements; expected {}", b.len(), a.len()).into());
        }
        let largest = a.iter().fold(0.0, |max, &x| f64::max(max, f64::from(x).abs()));
        let differences = a.iter().zip(b).map(|(&a, &b)| ((f64::from(a) - f64::from(b)) / largest).abs());
        // In this order NaN is the largest.
        let difference = differences.max_by(f64::total_cmp).unwrap_or(0.0);
        if difference.is_nan() || difference > tolerance {
            let by = format!("{difference:.2e} of the largest value");
            return Err(format!("{name}'s {tensor} differs from what is expected by {by}, so no times are given").into());
        }
        worst = f64::max(worst, difference);
    }
    Ok(worst)
}

/// The largest difference of each library from what is expected; without that, from the first, wattn. An error when one is too large.
pub fn verify(names: &[&str], values: &[Values], expected: Option<&Values>, tolerance: f64) -> Result<Vec<f64>> {
    let expected = expected.unwrap_or(&values[0]);
    names.iter().zip(values).map(|(name, got)| compare(name, got, expected, tolerance)).collect()
}

/// The values of outputs.
pub fn values(outputs: Vec<Outputs>) -> Result<Vec<Values>> {
    outputs.into_iter().map(|read| read()).collect()
}

impl Warm {
    /// Times the sides in turns: the seconds of each, and the outputs of the last round.
    pub fn take_turns(&self, sides: &mut [Side]) -> Result<(Vec<Vec<f64>>, Vec<Outputs>)> {
        for _ in 0..self.warmup {
            sides.iter_mut().try_for_each(|side| (side.run)().map(drop))?;
        }
        let mut samples = vec![vec![]; sides.len()];
        let mut last = vec![];
        for _ in 0..self.options.rounds {
            // Dropped before the round, not within it: taking memory back is no part of the next call.
            last.clear();
            for (side, samples) in sides.iter_mut().zip(&mut samples) {
                let (seconds, outputs) = side.time()?;
                samples.push(seconds);
                last.push(outputs);
            }
        }
        Ok((samples, last))
    }
}

/// Verifies and times one case.
fn measure(warm: &Warm, case: &Case, gpu: &Gpu, device: &Device) -> Result<Vec<Row>> {
    let name = &case.name;
    let request = case.request()?;
    let expected = case.expected(&request)?;
    let mut sides = vec![case.ours(gpu, &request)?];
    sides.extend((case.theirs)(device, &request)?);
    let names: Vec<&'static str> = sides.iter().map(|side| side.name).collect();
    let verify = |outputs: Vec<Outputs>| verify(&names, &values(outputs)?, expected.as_ref(), TOLERANCE);
    eprintln!("{name}: first calls");
    let (first, outputs): (Vec<f64>, Vec<Outputs>) = sides.iter_mut().map(Side::time).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    verify(outputs)?;
    let (samples, last) = warm.take_turns(&mut sides)?;
    let differences = verify(last)?;
    let what = What { case: name.clone(), shape: case.shape.clone(), flops: case.flops(&request)? };
    let times = first.into_iter().zip(samples).map(|(first, seconds)| Times { first, seconds });
    Ok(names.iter().zip(times).zip(differences).map(|((name, times), difference)| Row::new(name, &what, times, difference)).collect())
}

/// Compares, prints and records the cases that are wanted, one after the other.
pub fn run(warm: &Warm, op: &'static str, note: &str, cases: impl IntoIterator<Item = Case>) -> Result<()> {
    let gpu = warm.options.open()?;
    let (device, _) = device::open(gpu.info())?;
    let report = Report::new(gpu.info(), &warm.options, op, note);
    let (gpu, device) = (&gpu, &device);
    report.run(cases.into_iter().map(|case| (case.name.clone(), move || measure(warm, &case, gpu, device))))
}
