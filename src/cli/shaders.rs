//! `wattn shaders`: what the device is given, and what drivers make of it. Needs no device.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::translate::{Translated, check};
use super::{Session, Verdict, missing, print, unknown};
use crate::gpu::{AnyVariant, Caps};
use crate::ops::REGISTRY;
use crate::{Error, Result};

const COMMAND: &str = "shaders";

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List every kernel and variant.
    List,
    /// Print one variant of a kernel.
    Show(Show),
    /// Compose, validate and translate every variant of every kernel.
    Check,
}

#[derive(clap::Args)]
struct Show {
    /// The kernel, as `wattn shaders list` names it.
    kernel: String,
    /// Its variant: the label, or a part of it that only one has. The first one listed when left out.
    #[arg(long, value_name = "LABEL", allow_hyphen_values = true)]
    variant: Option<String>,
    /// The language.
    #[arg(long, value_enum, default_value_t = Language::Wgsl)]
    to: Language,
    /// Write to this file instead; SPIR-V is binary and needs it.
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// The composed WGSL, as the device gets it.
    Wgsl,
    /// SPIR-V, for Vulkan.
    Spirv,
    /// The Metal Shading Language.
    Msl,
    /// HLSL, for Direct3D 12.
    Hlsl,
}

/// One variant, as JSON.
#[derive(Serialize)]
struct Row {
    op: &'static str,
    kernel: &'static str,
    variant: String,
}

/// Runs the subcommand.
pub(super) fn execute(session: &mut Session, args: &Args) -> Result<Verdict> {
    let all = all();
    match &args.action {
        Action::List => list(session, &all),
        Action::Show(args) => show(session, &all, args),
        Action::Check => check_all(session, &all),
    }
}

/// Every kernel and variant that some device can run, each once, beside the operation that first lists it.
fn all() -> Vec<(&'static str, AnyVariant)> {
    let caps = Caps::everything();
    let mut all: Vec<(&'static str, AnyVariant)> = Vec::new();
    for op in REGISTRY {
        for variant in op.kernels(&caps) {
            if !all.iter().any(|(_, v)| v.kernel.name == variant.kernel.name && v.knobs == variant.knobs) {
                all.push((op.spec().name, variant));
            }
        }
    }
    all
}

fn list(session: &mut Session, all: &[(&'static str, AnyVariant)]) -> Result<Verdict> {
    let rows: Vec<Row> = all.iter().map(|(op, v)| Row { op, kernel: v.kernel.name, variant: v.knobs.to_string() }).collect();
    if session.json {
        session.json(&rows)?;
    } else {
        let cells = rows.iter().map(|row| vec![row.kernel.to_string(), row.variant.clone()]);
        session.line(print::table(&[("kernel", false), ("variant", false)], cells))?;
    }
    Ok(Verdict::Right)
}

fn show(session: &mut Session, all: &[(&'static str, AnyVariant)], args: &Show) -> Result<Verdict> {
    let translated = Translated::new(find(all, args)?)?;
    let bytes = match args.to {
        Language::Wgsl => translated.text().as_bytes().to_vec(),
        Language::Msl => translated.msl()?.into_bytes(),
        Language::Hlsl => translated.hlsl()?.into_bytes(),
        Language::Spirv => translated.spirv()?.iter().flat_map(|word| word.to_le_bytes()).collect(),
    };
    match &args.output {
        Some(path) => {
            std::fs::write(path, &bytes).map_err(|source| Error::Io { path: path.clone(), source })?;
            session.note(format!("wrote {} ({} bytes)", path.display(), bytes.len()));
        }
        None if args.to == Language::Spirv => {
            return Err(missing(COMMAND, "-o", "a file with --to spirv, which is binary"));
        }
        None => session.out.write_all(&bytes).map_err(|source| Error::Io { path: "stdout".into(), source })?,
    }
    Ok(Verdict::Right)
}

/// The variant that is meant.
fn find<'a>(all: &'a [(&'static str, AnyVariant)], args: &Show) -> Result<&'a AnyVariant> {
    let of_kernel: Vec<&AnyVariant> = all.iter().map(|(_, v)| v).filter(|v| v.kernel.name == args.kernel).collect();
    let Some(first) = of_kernel.first() else {
        let mut known: Vec<&str> = all.iter().map(|(_, v)| v.kernel.name).collect();
        known.dedup();
        return Err(unknown(COMMAND, "KERNEL", &args.kernel, known));
    };
    let Some(label) = &args.variant else { return Ok(first) };
    let labels: Vec<String> = of_kernel.iter().map(|v| v.knobs.to_string()).collect();
    let exact = labels.iter().position(|l| l == label);
    let mut containing = (0..labels.len()).filter(|&i| labels[i].contains(label.as_str()));
    let only = containing.next().filter(|_| containing.next().is_none());
    match exact.or(only) {
        Some(place) => Ok(of_kernel[place]),
        None => Err(unknown(COMMAND, "--variant", label, labels.iter().map(String::as_str))),
    }
}

fn check_all(session: &mut Session, all: &[(&'static str, AnyVariant)]) -> Result<Verdict> {
    let mut wrong = 0;
    for (_, variant) in all {
        if let Err(error) = check(variant) {
            wrong += 1;
            session.line(error)?;
        }
    }
    session.line(match wrong {
        0 => format!("{} variants compose and translate to SPIR-V, MSL, WGSL and, without matrix units, HLSL", all.len()),
        _ => format!("{wrong} of {} variants are WRONG", all.len()),
    })?;
    Ok(Verdict::of(wrong == 0))
}
