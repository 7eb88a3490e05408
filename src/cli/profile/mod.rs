//! `wattn profile`: the time of every kernel, and what share that is of what the device can do.

mod files;
mod roofline;
mod timing;
mod trace;

use super::{Session, Verdict, chosen_ops, describe, print, settings};
use crate::gpu::{Ceilings, Clock, Gpu, Span};
use crate::ops::check::{Expected, Outcome};
use crate::ops::{Operation, Request, Tuning};
use crate::{Error, Result};

use files::Files;
use timing::{Peaks, Row};
use trace::Chain;

const COMMAND: &str = "profile";

/// What help says below the arguments.
const MEANING: &str = "\
Before the kernels, the device's own ceilings are measured: multiply-adds in registers, a copy that is larger than caches are, a launch. A \
kernel's share of the peak is the time that these ceilings allow for its arithmetic or its memory traffic, whichever takes longer, divided by \
the time that it took. Arithmetic is counted in f32, as everything is accumulated, and every byte once: a share over 100 % says that data came \
from a cache.

Times are medians; the spread is the distance from the first to the third quartile. A device without timestamps is timed by the host's clock, \
each dispatch submitted alone, which adds the time of a submission to every one.";

#[derive(clap::Args)]
#[command(after_help = MEANING)]
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
    #[command(flatten)]
    files: Files,
}

/// What is timed.
struct Job {
    op: &'static dyn Operation,
    case: String,
    request: Request,
}

/// Runs the subcommand.
pub(super) fn execute(session: &mut Session, args: &Args) -> Result<Verdict> {
    args.files.check()?;
    let jobs = jobs(args)?;
    let Some(gpu) = session.gpu(args.baseline, "profile")? else { return Ok(Verdict::Wrong) };
    let mut right = true;
    let ceilings = match gpu.ceilings() {
        Ok(ceilings) => Some(ceilings),
        Err(gone @ Error::DeviceLost { .. }) => return Err(gone),
        Err(error) => {
            right = false;
            session.note(format!("error: the ceilings are not known: {error}"));
            None
        }
    };
    if gpu.clock() == Clock::Host {
        let submission = ceilings.map_or(String::new(), |c| format!(", of which a submission takes {}", print::seconds(c.submission)));
        session.note(format!("this device has no timestamps: each dispatch is submitted alone and timed by the host's clock{submission}"));
    }
    let peaks = Peaks::new(gpu.info(), ceilings.as_ref());
    let (mut rows, mut chains) = (vec![], vec![]);
    for job in &jobs {
        if !args.unchecked {
            session.warn_of_reference(job.op.cost(&job.request)?);
        }
        let name = job.op.spec().name;
        match profile(&gpu, job, args) {
            Ok(Timed::Runs(runs)) => {
                rows.extend(timing::rows(job, job.request.settings.dtype(name)?.name(), &runs, ceilings.as_ref(), &peaks));
                chains.push(Chain { op: name, case: job.case.clone(), spans: timing::typical(runs) });
            }
            Ok(Timed::Skipped(why)) => session.note(format!("skipped: {name} {}: {why}", job.case)),
            Err(gone @ Error::DeviceLost { .. }) => return Err(gone),
            Ok(Timed::Wrong(why)) => {
                right = false;
                session.note(format!("error: {name} {} is wrong, so not timed: {why}", job.case));
            }
            Err(error) => {
                right = false;
                session.note(format!("error: {name} {}: {error}", job.case));
            }
        }
    }
    let device = describe(gpu.info());
    if session.json {
        session.json(&rows)?;
    } else {
        session.line(format!("on {device}"))?;
        if let Some(ceilings) = &ceilings {
            session.line(summary(ceilings))?;
        }
        session.line(table(&rows, gpu.clock()))?;
    }
    match ceilings.filter(|_| right) {
        Some(ceilings) => args.files.write(&device, &ceilings, &rows, &chains)?,
        None => args.files.names().iter().for_each(|name| session.note(format!("error: {name} was not written"))),
    }
    Ok(Verdict::of(right))
}

/// What the device can do at most.
fn summary(ceilings: &Ceilings) -> String {
    let others = [("f16", ceilings.f16_flops), ("matrix units", ceilings.matrix_flops)];
    let others = others.into_iter().filter_map(|(name, flops)| Some(format!(", {name} {}", print::rate(flops?, "FLOP/s"))));
    let others = others.collect::<String>();
    format!(
        "ceilings: f32 {}{others}, memory {}, a launch {}, a submission {}; by the {}'s clock",
        print::rate(ceilings.f32_flops, "FLOP/s"),
        print::rate(ceilings.bytes, "B/s"),
        print::seconds(ceilings.launch),
        print::seconds(ceilings.submission),
        ceilings.clock.name(),
    )
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
    /// The dispatches of each timed run.
    Runs(Vec<Vec<Span>>),
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
    timing::time(gpu, job).map(Timed::Runs)
}

fn table(rows: &[Row], clock: Clock) -> String {
    let columns = [
        ("op", false),
        ("case", false),
        ("type", false),
        (if clock == Clock::Device { "GPU time" } else { "wall time" }, true),
        ("spread", true),
        ("of case", true),
        ("arithmetic", true),
        ("memory", true),
        ("FLOP/byte", true),
        ("of peak", true),
        ("bound by", false),
        ("a step", true),
        ("kernel and variant", false),
    ];
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let cells = |row: &Row| {
        vec![
            row.op.to_string(),
            row.case.clone(),
            row.dtype.to_string(),
            or_unknown(row.gpu_ms.map(|ms| print::seconds(ms / 1e3))),
            or_unknown(row.gpu_ms_iqr.map(|ms| print::seconds(ms / 1e3))),
            or_unknown(row.share_of_case.map(print::share)),
            or_unknown(row.gflops.map(|x| print::rate(x * 1e9, "FLOP/s"))),
            or_unknown(row.gbytes_per_s.map(|x| print::rate(x * 1e9, "B/s"))),
            or_unknown(row.flops_per_byte.filter(|&x| x > 0.0).map(|x| format!("{x:.2}"))),
            or_unknown(row.share_of_peak.map(print::share)),
            or_unknown(row.bound.map(str::to_string)),
            row.us_per_step.map_or(String::new(), |us| print::seconds(us / 1e6)),
            row.variant.clone(),
        ]
    };
    print::table(&columns, rows.iter().map(cells))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Work;

    pub const CEILINGS: Ceilings = Ceilings {
        f32_flops: 1e12,
        f16_flops: Some(2e12),
        matrix_flops: Some(8e12),
        bytes: 1e11,
        launch: 1e-6,
        submission: 1e-5,
        clock: Clock::Device,
    };

    /// A kernel that did this work in a millisecond.
    pub fn row(kernel: &'static str, flops: f64, bytes: f64) -> Row {
        let op = crate::ops::find("softmax").unwrap();
        let tensors = op.draw("2,3", &Default::default(), 0).unwrap();
        let job = Job { op, case: "2,3".into(), request: Request::new(op.spec(), tensors, Default::default()).unwrap() };
        let span = Span {
            kernel,
            variant: "default".into(),
            matrix_units: false,
            clock: Clock::Device,
            start: Some(0.0),
            seconds: Some(1e-3),
            flops,
            bytes,
        };
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Noop);
        let mut rows = timing::rows(&job, "f32", &[vec![span]], Some(&CEILINGS), &Peaks::new(&info, Some(&CEILINGS)));
        Row { us_per_step: Some(1.0), ..rows.remove(0) }
    }

    #[test]
    fn shares_are_of_the_ceiling_that_a_kernel_is_under() {
        let of = |flops, bytes| {
            let row = row("a/b", flops, bytes);
            (row.share_of_peak.map(print::share), row.bound)
        };
        assert_eq!(of(5e8, 1e6), (Some("50 %".into()), Some("arithmetic")));
        assert_eq!(of(5e6, 1e6), (Some("1.0 %".into()), Some("memory")));
        assert_eq!(of(0.0, 0.0), (None, None));
        assert_eq!(CEILINGS.shortest(Work { flops: 5e8, bytes: 1e6 }, false), 5e-4);
    }
}
