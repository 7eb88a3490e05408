//! Many timed runs of a case, and what becomes of them: a row for each kernel.

use serde::Serialize;

use super::Job;
use crate::Result;
use crate::cli::{driver, label};
use crate::gpu::{Ceilings, Clock, Gpu, Span, Work};

/// Timed runs: as many as fit in this many seconds of device time, within the bounds.
const SECONDS: f64 = 0.5;
const MIN_RUNS: usize = 5;
const MAX_RUNS: usize = 50;

/// One kernel of one case, as JSON. `files::COLUMNS` lists the same names.
#[derive(Serialize)]
pub(super) struct Row {
    pub op: &'static str,
    pub case: String,
    /// The kernel and its variant.
    pub variant: String,
    pub dtype: &'static str,
    /// What measured the time: the device, or the host around a submission.
    pub clock: &'static str,
    /// How often it was timed.
    pub runs: usize,
    /// The kernel's dispatches in a run, which are timed together.
    pub dispatches: usize,
    /// The median over the runs.
    pub gpu_ms: Option<f64>,
    /// Between the first and the third quartile of the runs.
    pub gpu_ms_iqr: Option<f64>,
    pub gflops: Option<f64>,
    pub gbytes_per_s: Option<f64>,
    /// Arithmetic intensity; null where nothing is read or written.
    pub flops_per_byte: Option<f64>,
    /// Of operations that go through time: microseconds of a time step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub us_per_step: Option<f64>,
    /// The time that the ceilings allow for, divided by the time that it took.
    pub share_of_peak: Option<f64>,
    /// The ceiling that it is under.
    pub bound: Option<&'static str>,
    /// Of the time of all kernels of the case.
    pub share_of_case: Option<f64>,
    #[serde(flatten)]
    pub peaks: Peaks,
    #[serde(skip)]
    pub kernel: &'static str,
}

/// The device and its ceilings, the same in each row: a row that is cut out of a file still says what it was measured on.
#[derive(Clone, Serialize)]
pub(super) struct Peaks {
    peak_f32_gflops: Option<f64>,
    peak_f16_gflops: Option<f64>,
    peak_matrix_gflops: Option<f64>,
    peak_gbytes_per_s: Option<f64>,
    launch_us: Option<f64>,
    submission_us: Option<f64>,
    device: String,
    driver: String,
}

impl Peaks {
    pub fn new(info: &wgpu::AdapterInfo, ceilings: Option<&Ceilings>) -> Self {
        Peaks {
            peak_f32_gflops: ceilings.map(|c| c.f32_flops / 1e9),
            peak_f16_gflops: ceilings.and_then(|c| c.f16_flops).map(|x| x / 1e9),
            peak_matrix_gflops: ceilings.and_then(|c| c.matrix_flops).map(|x| x / 1e9),
            peak_gbytes_per_s: ceilings.map(|c| c.bytes / 1e9),
            launch_us: ceilings.map(|c| c.launch * 1e6),
            submission_us: ceilings.map(|c| c.submission * 1e6),
            device: info.name.clone(),
            driver: driver(&info.driver, &info.driver_info),
        }
    }
}

/// Runs the job as often as is enough. Each run is its dispatches in order.
pub(super) fn time(gpu: &Gpu, job: &Job) -> Result<Vec<Vec<Span>>> {
    let mut run = job.op.prepare(gpu, &job.request)?;
    drop(run()?);
    gpu.finish()?;
    let mut runs = vec![];
    let mut spent = 0.0;
    while runs.len() < MAX_RUNS && (runs.len() < MIN_RUNS || spent <= SECONDS) {
        let (_, spans) = gpu.profile_by(gpu.clock(), || run().map(drop))?;
        spent += Span::total(&spans);
        runs.push(spans);
    }
    Ok(runs)
}

/// The run in the middle, by the time of its kernels together: the one that is shown as a timeline.
pub(super) fn typical(mut runs: Vec<Vec<Span>>) -> Vec<Span> {
    runs.sort_by(|a, b| Span::total(a).total_cmp(&Span::total(b)));
    let middle = runs.len() / 2;
    if runs.is_empty() { vec![] } else { runs.swap_remove(middle) }
}

/// A kernel's dispatches of a run together.
struct Total {
    kernel: &'static str,
    label: String,
    clock: Clock,
    matrix_units: bool,
    /// Of each run.
    seconds: Vec<f64>,
    dispatches: usize,
    work: Work,
}

impl Total {
    /// The least value that this part of the runs does not exceed.
    fn quantile(&self, part: f64) -> Option<f64> {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        seconds.get(((seconds.len().saturating_sub(1)) as f64 * part).round() as usize).copied()
    }
}

/// The kernels of all runs, in the order in which each first appears.
fn totals(runs: &[Vec<Span>]) -> Vec<Total> {
    let mut totals: Vec<Total> = vec![];
    for (number, span) in runs.iter().enumerate().flat_map(|(number, run)| run.iter().map(move |span| (number, span))) {
        let label = label(span);
        let index = totals.iter().position(|total| total.label == label).unwrap_or_else(|| {
            let Span { kernel, clock, matrix_units, .. } = *span;
            let (seconds, work) = (vec![0.0; runs.len()], Work::default());
            totals.push(Total { kernel, label, clock, matrix_units, seconds, dispatches: 0, work });
            totals.len() - 1
        });
        let total = &mut totals[index];
        total.seconds[number] += span.seconds.unwrap_or(0.0);
        if number == 0 {
            total.dispatches += 1;
            total.work.flops += span.flops;
            total.work.bytes += span.bytes;
        }
    }
    totals
}

/// A row for each kernel and variant of a job.
pub(super) fn rows(job: &Job, dtype: &'static str, runs: &[Vec<Span>], ceilings: Option<&Ceilings>, peaks: &Peaks) -> Vec<Row> {
    let totals = totals(runs);
    let of_case: f64 = totals.iter().filter_map(|total| total.quantile(0.5)).sum();
    let row = |total: Total| {
        // Below the clock's resolution there is no rate.
        let median = total.quantile(0.5);
        let measured = median.filter(|&s| s > 0.0);
        let per_second = |amount: f64| measured.map(|s| amount / s);
        let Work { flops, bytes } = total.work;
        let counted = ceilings.filter(|_| flops + bytes > 0.0);
        let units = total.matrix_units;
        Row {
            op: job.op.spec().name,
            case: job.case.clone(),
            dtype,
            clock: total.clock.name(),
            runs: runs.len(),
            dispatches: total.dispatches,
            gpu_ms: median.map(|s| s * 1e3),
            gpu_ms_iqr: total.quantile(0.75).zip(total.quantile(0.25)).map(|(third, first)| (third - first) * 1e3),
            gflops: per_second(flops / 1e9),
            gbytes_per_s: per_second(bytes / 1e9),
            flops_per_byte: Some(flops / bytes).filter(|x| x.is_finite()),
            us_per_step: median.zip(job.op.steps(&job.request)).map(|(s, steps)| s * 1e6 / steps as f64),
            share_of_peak: counted.and_then(|c| per_second(c.shortest(total.work, units))),
            bound: counted.map(|c| c.bound(total.work, units).name()),
            share_of_case: measured.map(|s| s / of_case),
            peaks: peaks.clone(),
            variant: total.label,
            kernel: total.kernel,
        }
    };
    totals.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(kernel: &'static str, seconds: f64) -> Span {
        Span {
            kernel,
            variant: "default".into(),
            matrix_units: false,
            clock: Clock::Device,
            start: Some(0.0),
            seconds: Some(seconds),
            flops: 2.0,
            bytes: 1.0,
        }
    }

    #[test]
    fn dispatches_of_a_kernel_are_counted_together() {
        let runs: Vec<Vec<Span>> = (1..=5).map(|i| vec![span("a", f64::from(i)), span("b", 1.0), span("a", 1.0)]).collect();
        let all = totals(&runs);
        assert_eq!(all.iter().map(|t| (t.kernel, t.dispatches, t.work.flops)).collect::<Vec<_>>(), [("a", 2, 4.0), ("b", 1, 2.0)]);
        assert_eq!([0.25, 0.5, 0.75].map(|part| all[0].quantile(part)), [3.0, 4.0, 5.0].map(Some));
        assert_eq!(Span::total(&typical(runs)), 5.0);
        assert!(typical(vec![]).is_empty());
    }
}
