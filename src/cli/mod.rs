//! The command line: one file per subcommand.
//!
//! Exit code 0: done and right. 1: the comparison or the run failed. 2: bad arguments or a bad input file. An error is one line on
//! stderr; results go to stdout and everything else to stderr.

mod devices;
pub mod picture;
mod predict;
mod print;
mod profile;
pub mod progress;
mod run;
mod shaders;
mod train;
pub mod translate;
mod tune;
mod verify;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde::Serialize;

use crate::autograd::Device;
use crate::gpu::{Gpu, GpuOptions, Span};
use crate::ops::{self, Operation, REGISTRY};
use crate::{Error, Result};

/// Done and right.
const RIGHT: u8 = 0;
/// The comparison or the run failed.
const WRONG: u8 = 1;
/// Bad arguments or a bad input file.
const MISUSED: u8 = 2;

/// Floating-point operations that keep the reference busy for some seconds.
const SLOW_REFERENCE: f64 = 2e9;

/// The `--device` that is the reference.
const CPU: &str = "cpu";

/// Attention and recurrent layers on any GPU, forward and backward, checked against an f64 reference.
#[derive(Parser)]
#[command(name = "wattn", version, arg_required_else_help = true)]
struct Cli {
    /// Where to run: auto, cpu (the f64 reference), an index from `wattn devices`, or a part of the adapter's name.
    #[arg(long, global = true, env = "WATTN_DEVICE", default_value = "auto", hide_env_values = true)]
    device: String,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the adapters of this machine and what they can do.
    Devices,
    /// Run one operation, on tensors from a file or on drawn ones. `wattn run OP --help` describes an operation.
    Run(run::Args),
    /// Compare every operation, case and variant on this device with the f64 reference.
    Verify(verify::Args),
    /// Time every kernel on the device.
    Profile(profile::Args),
    /// Train a model on examples from files, or on generated ones.
    Train(train::Args),
    /// Apply a model that `wattn train` wrote: one line out for each line in.
    Predict(predict::Args),
    /// Search the fastest kernels for this device, and remember them.
    Tune(tune::Args),
    /// List, show or check the shaders: composed WGSL, or its SPIR-V, MSL or HLSL.
    Shaders(shaders::Args),
}

/// Runs the command line with the process's own streams.
pub fn main_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Unlocked: a thread that panics must be able to say so.
    ExitCode::from(execute(args, &mut io::stdout(), &mut io::stderr()))
}

/// Runs the command line, the program's name being the first of `args`, and returns the exit code.
pub fn execute(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let parsed = Cli::command().try_get_matches_from(args);
    let (cli, given) = match parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, given(&matches)))) {
        Ok(parsed) => parsed,
        Err(usage) => return explain(&usage, out, err),
    };
    // An empty WATTN_DEVICE is one that is not set.
    let device = if cli.device.is_empty() { "auto".into() } else { cli.device };
    let mut session = Session { device, json: cli.json, out, err };
    let outcome = match cli.command {
        Command::Devices => devices::execute(&mut session),
        Command::Run(args) => run::execute(&mut session, &args),
        Command::Verify(args) => verify::execute(&mut session, &args),
        Command::Profile(args) => profile::execute(&mut session, &args),
        Command::Train(args) => train::execute(&mut session, args, &given),
        Command::Predict(args) => predict::execute(&mut session, &args),
        Command::Tune(args) => tune::execute(&mut session, &args),
        Command::Shaders(args) => shaders::execute(&mut session, &args),
    };
    match outcome {
        Ok(Verdict::Right) => RIGHT,
        Ok(Verdict::Wrong) => WRONG,
        // The reader, `head` for instance, has seen enough.
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => WRONG,
        Err(error) => {
            session.note(format!("error: {error}"));
            if error.is_input_fault() { MISUSED } else { WRONG }
        }
    }
}

/// The names of the innermost command's options that were given, and not left to their defaults.
fn given(matches: &ArgMatches) -> Vec<String> {
    if let Some((_, inner)) = matches.subcommand() {
        return given(inner);
    }
    let on_line = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    matches.ids().filter(on_line).map(|id| id.to_string()).collect()
}

/// Prints help where help was asked for, and otherwise what is wrong with the arguments, in one line.
fn explain(usage: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    use clap::error::ErrorKind;
    // Nothing is left to do when the stream is closed.
    match usage.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = write!(out, "{usage}");
            RIGHT
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = write!(err, "{usage}");
            MISUSED
        }
        _ => {
            let text = usage.to_string();
            let text = text.split("\n\nFor more information").next().unwrap_or_default();
            let mut parts: Vec<String> = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            if usage.kind() == ErrorKind::InvalidSubcommand {
                parts.push("the commands are listed by `wattn --help`".into());
            }
            let _ = writeln!(err, "{}", one_line(&parts.join("; ")));
            MISUSED
        }
    }
}

/// Whether what was asked for turned out right.
enum Verdict {
    Right,
    Wrong,
}

impl Verdict {
    fn of(right: bool) -> Self {
        if right { Verdict::Right } else { Verdict::Wrong }
    }
}

/// What every subcommand gets: the global options and the streams.
struct Session<'a> {
    device: String,
    json: bool,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

/// What computes.
enum Engine {
    Gpu(Gpu),
    /// The reference.
    Cpu,
}

impl Session<'_> {
    /// Writes a line of results.
    fn line(&mut self, text: impl Display) -> Result<()> {
        writeln!(self.out, "{text}").map_err(|source| Error::Io { path: "stdout".into(), source })
    }

    /// Writes results as JSON.
    fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(|e| Error::Io { path: "stdout".into(), source: e.into() })?;
        self.line(text)
    }

    /// Writes a line that is no result.
    fn note(&mut self, text: impl Display) {
        // Where stderr is closed nobody reads it.
        let _ = writeln!(self.err, "{}", one_line(&text.to_string()));
    }

    /// Says that the comparison will take its time, where it will.
    fn warn_of_reference(&mut self, cost: ops::Cost) {
        if cost.flops > SLOW_REFERENCE {
            self.note("computing the f64 reference on the CPU, which takes a while at this size");
        }
    }

    /// Opens the device that was asked for. `auto` without any adapter is the CPU reference, and a note.
    fn engine(&mut self) -> Result<Engine> {
        if self.device == CPU {
            return Ok(Engine::Cpu);
        }
        match self.open(false) {
            Err(error @ Error::NoAdapter { .. }) => {
                self.note(format!("{error}; the CPU reference is used instead"));
                Ok(Engine::Cpu)
            }
            other => other.map(Engine::Gpu),
        }
    }

    /// The device that was asked for, for models.
    fn device(&mut self) -> Result<Device> {
        Ok(match self.engine()? {
            Engine::Gpu(gpu) => gpu.into(),
            Engine::Cpu => Device::cpu(),
        })
    }

    /// Opens the device that was asked for where the CPU will not do; `None`, and a note, when it is the CPU that was asked for.
    fn gpu(&mut self, baseline: bool, purpose: &str) -> Result<Option<Gpu>> {
        if self.device == CPU {
            self.note(format!("error: on the CPU there is nothing to {purpose}: it runs the reference itself; see `wattn devices`"));
            return Ok(None);
        }
        self.open(baseline).map(Some)
    }

    fn open(&self, baseline: bool) -> Result<Gpu> {
        Gpu::new(&GpuOptions { device: self.device.clone(), baseline, ..GpuOptions::default() })
    }
}

/// The text in one line, with nothing in it that a terminal would act on: names out of files may hold anything.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ").chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// The operation of a name.
fn find_op(command: &'static str, name: &str) -> Result<&'static dyn Operation> {
    ops::find(name).ok_or_else(|| unknown(command, "OP", name, REGISTRY.iter().map(|op| op.spec().name)))
}

/// The operations that were named, or all of them.
fn chosen_ops(command: &'static str, names: &[String]) -> Result<Vec<&'static dyn Operation>> {
    if names.is_empty() {
        return Ok(REGISTRY.to_vec());
    }
    names.iter().map(|name| find_op(command, name)).collect()
}

/// The error for a name that is none of `known`.
fn unknown<'a>(command: &'static str, argument: &str, got: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.into_iter().collect();
    Error::Argument { op: command, key: argument.into(), expected: format!("one of {}", known.join(", ")), got: format!("'{got}'") }
}

/// The `--set` options as settings.
fn settings(command: &'static str, pairs: &[String]) -> Result<ops::Settings> {
    let split = |pair: &String| {
        let parts = pair.split_once('=').filter(|(key, _)| !key.trim().is_empty());
        let (key, value) = parts.ok_or_else(|| Error::Argument {
            op: command,
            key: "--set".into(),
            expected: "KEY=VALUE".into(),
            got: format!("'{pair}'"),
        })?;
        Ok((key.trim().to_string(), value.trim().to_string()))
    };
    Ok(ops::Settings::new(pairs.iter().map(split).collect::<Result<Vec<_>>>()?))
}

/// A device in words: `NVIDIA H200, Vulkan, NVIDIA 555.42.06`.
fn describe(info: &wgpu::AdapterInfo) -> String {
    format!("{}, {}, {}", info.name, info.backend, driver(&info.driver, &info.driver_info))
}

/// The error for an argument that is missing.
fn missing(command: &'static str, argument: &str, expected: impl Into<String>) -> Error {
    Error::Argument { op: command, key: argument.into(), expected: expected.into(), got: "(missing)".into() }
}

/// A kernel and its variant: `softmax/forward TILE=64u`.
fn label(span: &Span) -> String {
    format!("{} {}", span.kernel, span.variant)
}

/// A driver and its version.
fn driver(driver: &str, info: &str) -> String {
    let text = format!("{driver} {info}");
    if text.trim().is_empty() { "driver unknown".into() } else { text.trim().to_string() }
}
