//! `wattn run`: one operation, on tensors from a file or on drawn ones.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use clap::CommandFactory;
use serde::Serialize;

use super::{Cli, Engine, Session, Verdict, driver, find_op, label, missing, print, settings};
use crate::gpu::Gpu;
use crate::ops::check::{TensorCheck, compare};
use crate::ops::{Arrays, Cost, Operation, Request, Settings, Spec, run_reference};
use crate::{DType, Result, io};

const COMMAND: &str = "run";

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(super) struct Args {
    /// The operation.
    op: Option<String>,
    /// A .safetensors or .npz file with the operation's tensors, and `d_` + output for each upstream gradient.
    #[arg(value_name = "IN", conflicts_with = "shape")]
    input: Option<PathBuf>,
    /// The .safetensors or .npz file to write: the outputs and, with upstream gradients, `d_` + input for each gradient.
    #[arg(short = 'o', long = "out", value_name = "OUT")]
    output: Option<PathBuf>,
    /// A key of the operation; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Draw standard-normal tensors for this shape instead of reading a file.
    #[arg(long, allow_hyphen_values = true)]
    shape: Option<String>,
    /// Seed of the drawn tensors.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Draw no upstream gradients: run the forward pass alone.
    #[arg(long, requires = "shape", conflicts_with = "input")]
    forward_only: bool,
    /// Compute the f64 reference too, and fail where a result is beyond the budget.
    #[arg(long)]
    compare: bool,
    /// Print help; after an operation's name, its tensors and keys.
    #[arg(short, long)]
    help: bool,
}

/// `run --json`.
#[derive(Serialize)]
struct Report {
    op: &'static str,
    device: String,
    driver: String,
    variants: Vec<String>,
    gpu_ms: Option<f64>,
    wall_ms: f64,
    gflops: f64,
    peak_bytes: u64,
    tensors: Vec<TensorReport>,
}

/// The numbers are null without `--compare`; an error that is no number, a NaN where there should be none, is null with `ok` false.
#[derive(Serialize)]
struct TensorReport {
    name: String,
    max_error: Option<f64>,
    budget: Option<f64>,
    ok: Option<bool>,
}

/// What a run gave.
struct Measured {
    arrays: Arrays,
    device: String,
    driver: String,
    variants: Vec<String>,
    gpu_seconds: Option<f64>,
    wall_seconds: f64,
    peak_bytes: u64,
}

/// Runs the subcommand.
pub(super) fn execute(session: &mut Session, args: &Args) -> Result<Verdict> {
    let Some(name) = &args.op else {
        return general_help(session, args.help);
    };
    let op = find_op(COMMAND, name)?;
    if args.help {
        session.line(op_help(op.spec()))?;
        return Ok(Verdict::Right);
    }
    let request = request(op, args)?;
    // The cost follows from the shapes, and asking for it finds what is wrong with them before a device is opened.
    let cost = op.cost(&request)?;
    if let Some(path) = &args.output {
        io::check_writable(path)?;
    }
    let measured = match session.engine()? {
        Engine::Gpu(gpu) => on_gpu(&gpu, op, &request)?,
        Engine::Cpu => on_cpu(op, &request)?,
    };
    if args.compare {
        session.warn_of_reference(cost);
    }
    let checks = if args.compare { Some(compare(op, &request, &measured.arrays)?) } else { None };
    let right = checks.iter().flatten().all(|check| check.ok);
    report(session, op, cost, &measured, checks.as_deref())?;
    match &args.output {
        Some(path) if right => {
            io::write(path, &measured.arrays)?;
            session.note(format!("wrote {}", path.display()));
        }
        Some(path) => session.note(format!("error: beyond the budget; {} was not written", path.display())),
        None if right => {}
        None => session.note("error: beyond the budget"),
    }
    Ok(Verdict::of(right))
}

/// Help for `run` itself, on stdout when it was asked for and on stderr when the operation is missing.
fn general_help(session: &mut Session, asked: bool) -> Result<Verdict> {
    if !asked {
        let names: Vec<&str> = crate::ops::REGISTRY.iter().map(|op| op.spec().name).collect();
        return Err(missing(COMMAND, "OP", format!("one of {}", names.join(", "))));
    }
    let mut command = Cli::command();
    // Global options become part of the subcommand's help once the command is built.
    command.build();
    if let Some(run) = command.find_subcommand_mut(COMMAND) {
        session.line(run.render_help())?;
    }
    let rows = crate::ops::REGISTRY.iter().map(|op| vec![format!("  {}", op.spec().name), op.spec().about.to_string()]);
    session.line(print::table(&[("Operations", false), ("", false)], rows))?;
    Ok(Verdict::Right)
}

/// The tensors and keys that the arguments ask for.
fn request(op: &dyn Operation, args: &Args) -> Result<Request> {
    let settings = settings(COMMAND, &args.set)?;
    let tensors = match (&args.input, &args.shape) {
        (Some(path), _) => {
            if args.output.is_none() && !args.compare {
                return Err(missing(COMMAND, "-o", "a file for the results, or --compare"));
            }
            // Widening f16 changes no value, and whether the device stores f16 is up to the key `dtype`.
            io::read(path)?.into_iter().map(|(name, array)| (name, array.to_float(DType::F32))).collect()
        }
        (None, Some(shape)) => drawn(op, shape, &settings, args)?,
        (None, None) => return Err(missing(COMMAND, "IN", "a .safetensors or .npz file, or --shape")),
    };
    Request::new(op.spec(), tensors, settings)
}

fn drawn(op: &dyn Operation, shape: &str, settings: &Settings, args: &Args) -> Result<Arrays> {
    let mut tensors = op.draw(shape, settings, args.seed)?;
    if args.forward_only {
        tensors.retain(|name, _| !name.starts_with("d_"));
    }
    Ok(tensors)
}

fn on_cpu(op: &dyn Operation, request: &Request) -> Result<Measured> {
    let start = Instant::now();
    let arrays = run_reference(op, request)?;
    let wall_seconds = start.elapsed().as_secs_f64();
    let (device, driver) = ("CPU".to_string(), "the f64 reference".to_string());
    Ok(Measured { arrays, device, driver, variants: vec![], gpu_seconds: None, wall_seconds, peak_bytes: 0 })
}

/// One run to compile the pipelines and fill the pool, and one that is timed.
fn on_gpu(gpu: &Gpu, op: &dyn Operation, request: &Request) -> Result<Measured> {
    let mut run = op.prepare(gpu, request)?;
    drop(run()?);
    gpu.finish()?;
    gpu.reset_peak();
    let start = Instant::now();
    let (tensors, spans) = gpu.profile(|| {
        let tensors = run()?;
        gpu.finish()?;
        Ok(tensors)
    })?;
    let wall_seconds = start.elapsed().as_secs_f64();
    // Before the results are read, which takes memory that the operation does not.
    let peak_bytes = gpu.memory().peak;
    let arrays = tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.array()?))).collect::<Result<_>>()?;
    let info = gpu.info();
    Ok(Measured {
        arrays,
        device: info.name.clone(),
        driver: driver(&info.driver, &info.driver_info),
        variants: spans.iter().map(label).collect::<BTreeSet<_>>().into_iter().collect(),
        gpu_seconds: spans.iter().map(|span| span.seconds).sum(),
        wall_seconds,
        peak_bytes,
    })
}

fn report(session: &mut Session, op: &dyn Operation, cost: Cost, measured: &Measured, checks: Option<&[TensorCheck]>) -> Result<()> {
    // A time of zero is one below the clock's resolution.
    let seconds = measured.gpu_seconds.filter(|&s| s > 0.0).unwrap_or(measured.wall_seconds).max(1e-9);
    if session.json {
        let unchecked = |name: &String| TensorReport { name: name.clone(), max_error: None, budget: None, ok: None };
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        let checked =
            |c: &TensorCheck| TensorReport { name: c.name.clone(), max_error: finite(c.error), budget: finite(c.budget), ok: Some(c.ok) };
        return session.json(&Report {
            op: op.spec().name,
            device: measured.device.clone(),
            driver: measured.driver.clone(),
            variants: measured.variants.clone(),
            gpu_ms: measured.gpu_seconds.map(|s| s * 1e3),
            wall_ms: measured.wall_seconds * 1e3,
            gflops: cost.flops / seconds / 1e9,
            peak_bytes: measured.peak_bytes,
            tensors: checks.map_or_else(|| measured.arrays.keys().map(unchecked).collect(), |c| c.iter().map(checked).collect()),
        });
    }
    session.line(format!("{} on {}, {}", op.spec().name, measured.device, measured.driver))?;
    let time = match measured.gpu_seconds {
        Some(s) => format!("GPU time {}, wall time {}", print::seconds(s), print::seconds(measured.wall_seconds)),
        None => format!("wall time {}", print::seconds(measured.wall_seconds)),
    };
    let memory = if measured.peak_bytes > 0 { format!(", {} of device memory", print::bytes(measured.peak_bytes)) } else { String::new() };
    session.line(format!(
        "{time}, {}, {}{memory}",
        print::rate(cost.flops / seconds, "FLOP/s"),
        print::rate(cost.bytes / seconds, "B/s")
    ))?;
    for variant in &measured.variants {
        session.line(format!("  {variant}"))?;
    }
    session.line("")?;
    session.line(match checks {
        Some(checks) => checks_table(checks),
        None => arrays_table(&measured.arrays),
    })
}

fn checks_table(checks: &[TensorCheck]) -> String {
    let columns = [("tensor", false), ("shape", false), ("error", true), ("budget", true), ("ok", false), ("worst element", false)];
    let rows = checks.iter().map(|check| {
        let worst = match (&check.misfit, &check.worst) {
            (Some(misfit), _) => misfit.clone(),
            (None, Some(w)) if check.error > 0.0 => {
                format!("{:?}: {} instead of {}", w.index, print::value(w.got), print::value(w.expected))
            }
            _ => "every element is exact".into(),
        };
        let ok = if check.ok { "yes" } else { "NO" };
        vec![check.name.clone(), format!("{:?}", check.shape), print::small(check.error), print::small(check.budget), ok.into(), worst]
    });
    print::table(&columns, rows)
}

fn arrays_table(arrays: &Arrays) -> String {
    let rows = arrays.iter().map(|(name, array)| {
        let values = array.to_f64();
        let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        vec![name.clone(), format!("{:?}", array.shape()), array.dtype().to_string(), print::value(smallest), print::value(largest)]
    });
    print::table(&[("tensor", false), ("shape", false), ("type", false), ("smallest", true), ("largest", true)], rows)
}

/// What help says of a tensor that each layer and direction has.
const EACH: &str = "one for each layer and direction: …_l0, …_l0_reverse, …_l1, …";

/// What `wattn run OP --help` prints.
fn op_help(spec: &Spec) -> String {
    let name = spec.name;
    let mut inputs: Vec<Vec<String>> = spec
        .inputs
        .iter()
        .map(|i| {
            let note = match (i.optional, i.layered, i.numbered) {
                (_, _, Some(first)) => format!("and {0}{1}, {0}{2}, …", i.name, first + 1, first + 2),
                (false, false, None) => String::new(),
                (true, false, None) => "optional".into(),
                (false, true, None) => EACH.into(),
                (true, true, None) => "optional; for all or none of …_l0, …_l0_reverse, …_l1, …".into(),
            };
            vec![format!("  {}", i.first()), i.dtype.to_string(), i.shape.to_string(), note]
        })
        .collect();
    inputs.extend(spec.outputs.iter().filter(|o| o.upstream).map(|o| {
        vec![format!("  d_{}", o.name), o.dtype.to_string(), o.shape.to_string(), format!("optional: the upstream gradient of {}", o.name)]
    }));
    let mut outputs: Vec<Vec<String>> =
        spec.outputs.iter().map(|o| vec![format!("  {}", o.name), o.dtype.to_string(), o.shape.to_string(), String::new()]).collect();
    outputs.extend(spec.inputs.iter().filter(|i| i.differentiable).map(|i| {
        vec![format!("  d_{}", i.first()), i.dtype.to_string(), i.shape.to_string(), "when an upstream gradient is given".to_string()]
    }));
    let columns = |heading| [(heading, false), ("", false), ("", false), ("", false)];
    let mut text = format!(
        "{name}: {}\n\n  wattn run {name} IN -o OUT [--set KEY=VALUE]… [--compare]\n  wattn run {name} --shape SHAPE [--seed N] [--forward-only] \
         [--compare] [-o OUT]\n\nSHAPE is {}.\nIN and OUT are .safetensors or .npz files.\n\n{}\n\n{}\n",
        spec.about,
        spec.shape,
        print::table(&columns("Tensors of IN"), inputs),
        print::table(&columns("Tensors of OUT"), outputs)
    );
    if !spec.keys.is_empty() {
        let rows = spec.keys.iter().map(|k| vec![format!("  {}", k.name), k.default.to_string(), k.about.to_string()]);
        text += &format!("\n{}\n", print::table(&[("Keys", false), ("default", false), ("", false)], rows));
    }
    text.truncate(text.trim_end().len());
    text
}
