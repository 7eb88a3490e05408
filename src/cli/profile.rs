//! `wattn profile`: the time of every kernel on the device.

use serde::Serialize;

use super::{Session, Verdict, chosen_ops, describe, label, print, settings};
use crate::gpu::{Gpu, Span};
use crate::ops::check::{Expected, Outcome};
use crate::ops::{Operation, Request, Tuning};
use crate::{Error, Result};

const COMMAND: &str = "profile";

/// Timed runs: as many as fit in this many seconds of device time, within the bounds.
const SECONDS: f64 = 0.5;
const MIN_RUNS: usize = 5;
const MAX_RUNS: usize = 50;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The operations; all of them when none is named.
    #[arg(value_name = "OP")]
    ops: Vec<String>,
    /// Time this shape of the one operation named, instead of its quick cases.
    #[arg(long, allow_hyphen_values = true)]
    shape: Option<String>,
    /// A key of the operation, with --shape; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "shape")]
    set: Vec<String>,
    /// Draw no upstream gradients: time the forward pass alone.
    #[arg(long, requires = "shape")]
    forward_only: bool,
    /// Time it without comparing it with the reference first, which on the CPU may take far longer.
    #[arg(long, requires = "shape")]
    unchecked: bool,
    /// Seed of the drawn tensors.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Open the device with WebGPU's default limits and no optional feature.
    #[arg(long)]
    baseline: bool,
}

/// One kernel of one case, as JSON.
#[derive(Serialize)]
struct Row {
    op: &'static str,
    case: String,
    /// The kernel and its variant.
    variant: String,
    dtype: &'static str,
    /// The median over the runs of the kernel's dispatches together; null without timestamps.
    gpu_ms: Option<f64>,
    gflops: Option<f64>,
    gbytes_per_s: Option<f64>,
    /// Of operations that go through time: microseconds of a time step.
    #[serde(skip_serializing_if = "Option::is_none")]
    us_per_step: Option<f64>,
    /// Null until a peak has been measured on this device.
    share_of_peak: Option<f64>,
}

/// What is timed.
struct Job {
    op: &'static dyn Operation,
    case: String,
    request: Request,
}

/// Runs the subcommand.
pub(super) fn execute(session: &mut Session, args: &Args) -> Result<Verdict> {
    let jobs = jobs(args)?;
    let Some(gpu) = session.gpu(args.baseline, "profile")? else { return Ok(Verdict::Wrong) };
    if !gpu.caps().timestamps {
        session.note("this device has no timestamps: the kernels are listed without their times");
    }
    let mut rows = Vec::new();
    let mut right = true;
    for job in &jobs {
        if !args.unchecked {
            session.warn_of_reference(job.op.cost(&job.request)?);
        }
        match profile(&gpu, job, args) {
            Ok(Timed::Rows(timed)) => rows.extend(timed),
            Ok(Timed::Skipped(why)) => session.note(format!("skipped: {} {}: {why}", job.op.spec().name, job.case)),
            Err(gone @ Error::DeviceLost { .. }) => return Err(gone),
            Ok(Timed::Wrong(why)) => {
                right = false;
                session.note(format!("error: {} {} is wrong, so not timed: {why}", job.op.spec().name, job.case));
            }
            Err(error) => {
                right = false;
                session.note(format!("error: {} {}: {error}", job.op.spec().name, job.case));
            }
        }
    }
    if session.json {
        session.json(&rows)?;
    } else {
        session.line(format!("on {}", describe(gpu.info())))?;
        session.line(table(&rows))?;
    }
    Ok(Verdict::of(right))
}

fn jobs(args: &Args) -> Result<Vec<Job>> {
    let ops = chosen_ops(COMMAND, &args.ops)?;
    if let Some(shape) = &args.shape {
        let (&[op], [_]) = (&ops[..], &args.ops[..]) else {
            let got = args.ops.join(" ");
            return Err(Error::Argument {
                op: COMMAND,
                key: "OP".into(),
                expected: "one operation with --shape".into(),
                got: format!("'{got}'"),
            });
        };
        let settings = settings(COMMAND, &args.set)?;
        let mut tensors = op.draw(shape, &settings, args.seed)?;
        if args.forward_only {
            tensors.retain(|name, _| !name.starts_with("d_"));
        }
        return Ok(vec![Job { op, case: shape.clone(), request: Request::new(op.spec(), tensors, settings)? }]);
    }
    let mut jobs = Vec::new();
    for op in ops {
        for case in op.cases().into_iter().filter(|case| case.quick) {
            jobs.push(Job { op, case: case.name.to_string(), request: case.request(op, args.seed)? });
        }
    }
    Ok(jobs)
}

/// What became of a job.
enum Timed {
    Rows(Vec<Row>),
    Skipped(String),
    /// Fast and wrong is worth nothing.
    Wrong(String),
}

/// Compares, then times.
fn profile(gpu: &Gpu, job: &Job, args: &Args) -> Result<Timed> {
    if !args.unchecked {
        match Expected::new(job.op, &job.request)?.verify(gpu, job.op, &job.request, &Tuning::default())? {
            Outcome::Skipped(why) => return Ok(Timed::Skipped(why)),
            Outcome::Checked(checks) => {
                if let Some(wrong) = checks.iter().find(|check| !check.ok) {
                    return Ok(Timed::Wrong(wrong.to_string()));
                }
            }
        }
    }
    time(gpu, job).map(Timed::Rows)
}

/// A kernel's dispatches of one run together.
struct Total {
    label: String,
    seconds: Vec<f64>,
    flops: f64,
    bytes: f64,
}

fn time(gpu: &Gpu, job: &Job) -> Result<Vec<Row>> {
    let mut run = job.op.prepare(gpu, &job.request)?;
    drop(run()?);
    gpu.finish()?;
    let mut totals: Vec<Total> = Vec::new();
    let mut spent = 0.0;
    for round in 0..MAX_RUNS {
        let (_, spans) = gpu.profile(|| run().map(drop))?;
        add_run(&mut totals, &spans);
        spent += spans.iter().filter_map(|span| span.seconds).sum::<f64>();
        if round + 1 >= MIN_RUNS && spent > SECONDS {
            break;
        }
    }
    let dtype = job.request.settings.dtype(job.op.spec().name)?.name();
    Ok(totals.into_iter().map(|total| row(job, dtype, total)).collect())
}

/// Adds one run's dispatches, in the order in which each kernel first appears.
fn add_run(totals: &mut Vec<Total>, spans: &[Span]) {
    let mut this_run: Vec<(String, Option<f64>, f64, f64)> = Vec::new();
    for span in spans {
        let label = label(span);
        match this_run.iter_mut().find(|(other, ..)| *other == label) {
            Some((_, seconds, flops, bytes)) => {
                *seconds = seconds.zip(span.seconds).map(|(a, b)| a + b);
                *flops += span.flops;
                *bytes += span.bytes;
            }
            None => this_run.push((label, span.seconds, span.flops, span.bytes)),
        }
    }
    for (label, seconds, flops, bytes) in this_run {
        match totals.iter_mut().find(|total| total.label == label) {
            Some(total) => total.seconds.extend(seconds),
            None => totals.push(Total { label, seconds: seconds.into_iter().collect(), flops, bytes }),
        }
    }
}

fn row(job: &Job, dtype: &'static str, mut total: Total) -> Row {
    total.seconds.sort_by(f64::total_cmp);
    // Below the clock's resolution there is no rate.
    let median = total.seconds.get(total.seconds.len() / 2).copied();
    let rate = |work: f64| median.filter(|&s| s > 0.0).map(|s| work / s / 1e9);
    Row {
        op: job.op.spec().name,
        case: job.case.clone(),
        gflops: rate(total.flops),
        gbytes_per_s: rate(total.bytes),
        us_per_step: median.zip(job.op.steps(&job.request)).map(|(s, steps)| s * 1e6 / steps as f64),
        variant: total.label,
        dtype,
        gpu_ms: median.map(|s| s * 1e3),
        share_of_peak: None,
    }
}

fn table(rows: &[Row]) -> String {
    let columns = [
        ("op", false),
        ("case", false),
        ("type", false),
        ("GPU time", true),
        ("arithmetic", true),
        ("memory", true),
        ("a step", true),
        ("kernel and variant", false),
    ];
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    print::table(
        &columns,
        rows.iter().map(|row| {
            vec![
                row.op.to_string(),
                row.case.clone(),
                row.dtype.to_string(),
                or_unknown(row.gpu_ms.map(|ms| print::seconds(ms / 1e3))),
                or_unknown(row.gflops.map(|x| print::rate(x * 1e9, "FLOP/s"))),
                or_unknown(row.gbytes_per_s.map(|x| print::rate(x * 1e9, "B/s"))),
                row.us_per_step.map_or(String::new(), |us| print::seconds(us / 1e6)),
                row.variant.clone(),
            ]
        }),
    )
}
