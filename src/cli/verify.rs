//! `wattn verify`: every operation, case and variant on this device against the f64 reference.

use serde::Serialize;

use super::{Session, Verdict, chosen_ops, describe, unknown};
use crate::gpu::{Gpu, Optional};
use crate::ops::check::{Expected, Outcome, wrong};
use crate::ops::{Case, Operation, SelfTest, Tuning};
use crate::{Error, Result};

const COMMAND: &str = "verify";

#[derive(clap::Args)]
pub(super) struct Args {
    /// The operations; all of them when none is named.
    #[arg(value_name = "OP")]
    ops: Vec<String>,
    /// Seed of the drawn tensors.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only the cases that cover the most in the least time, in the variants that this device would use.
    #[arg(long)]
    quick: bool,
    /// Only the case of this name.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Only the variant of this name.
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Open the device with WebGPU's default limits and no optional feature.
    #[arg(long)]
    baseline: bool,
}

/// `verify --json`: `ok` is null for a case that was skipped, `worst` where there is no number: skipped, failed to run, or an error
/// that is not finite.
#[derive(Serialize)]
struct Row {
    op: &'static str,
    case: &'static str,
    variant: String,
    ok: Option<bool>,
    /// The largest error as a part of its budget.
    worst: Option<f64>,
    #[serde(skip)]
    reason: String,
}

/// Runs the subcommand.
pub(super) fn execute(session: &mut Session, args: &Args) -> Result<Verdict> {
    let ops = chosen_ops(COMMAND, &args.ops)?;
    check_case(&ops, args)?;
    let Some(gpu) = session.gpu(args.baseline, "verify")? else { return Ok(Verdict::Wrong) };
    check_variant(&ops, args, &gpu)?;
    if !session.json {
        session.line(format!("on {}", describe(gpu.info())))?;
    }
    let mut all = Vec::new();
    for op in ops {
        let rows = verify_op(&gpu, op, args)?;
        if !session.json && !rows.is_empty() {
            print_op(session, op, &rows)?;
        }
        all.extend(rows);
    }
    let wrong = all.iter().filter(|row| row.ok == Some(false)).count();
    if session.json {
        session.json(&all)?;
    } else {
        let ran = all.iter().filter(|row| row.ok.is_some()).count();
        session.line(match wrong {
            0 => format!("all {ran} right"),
            _ => format!("{wrong} of {ran} WRONG"),
        })?;
        if wrong > 0 && args.quick {
            session.line(advice(&gpu.self_test()?))?;
        }
    }
    Ok(Verdict::of(wrong == 0))
}

/// What a program can do about wrong numbers.
fn advice(test: &SelfTest) -> String {
    let names: Vec<String> = test.without.iter().map(Optional::to_string).collect();
    match (&test.safe, names.is_empty()) {
        (None, _) => "not even the kernels that need no optional feature are right on this driver".into(),
        (Some(_), true) => "a second run was right: this driver is not to be trusted".into(),
        (Some(_), false) => format!("everything is right without {}: Gpu::without, or what Gpu::self_test returns", names.join(" and ")),
    }
}

fn chosen_cases(op: &dyn Operation, args: &Args) -> Vec<Case> {
    let chosen = |case: &Case| match &args.case {
        Some(name) => case.name == name,
        None => case.quick || !args.quick,
    };
    op.cases().into_iter().filter(chosen).collect()
}

fn chosen_tunings(gpu: &Gpu, op: &dyn Operation, args: &Args) -> Vec<Tuning> {
    let chosen = |tuning: &Tuning| args.variant.as_ref().is_none_or(|name| tuning.label == *name);
    // The first is what the device would use.
    let most = if args.quick && args.variant.is_none() { 1 } else { usize::MAX };
    op.tunings(gpu.caps()).into_iter().filter(chosen).take(most).collect()
}

fn check_case(ops: &[&dyn Operation], args: &Args) -> Result<()> {
    let Some(name) = &args.case else { return Ok(()) };
    if ops.iter().any(|op| !chosen_cases(*op, args).is_empty()) {
        return Ok(());
    }
    let mut known: Vec<&str> = ops.iter().flat_map(|op| op.cases()).map(|case| case.name).collect();
    known.sort_unstable();
    known.dedup();
    Err(unknown(COMMAND, "--case", name, known))
}

fn check_variant(ops: &[&dyn Operation], args: &Args, gpu: &Gpu) -> Result<()> {
    let Some(name) = &args.variant else { return Ok(()) };
    if ops.iter().any(|op| !chosen_tunings(gpu, *op, args).is_empty()) {
        return Ok(());
    }
    let mut known: Vec<String> = ops.iter().flat_map(|op| op.tunings(gpu.caps())).map(|tuning| tuning.label).collect();
    known.sort();
    known.dedup();
    Err(unknown(COMMAND, "--variant", name, known.iter().map(String::as_str)))
}

/// Every chosen case and variant of an operation.
///
/// # Errors
/// Only what ends the whole run: a device that is gone. Any other error is a row that is wrong.
fn verify_op(gpu: &Gpu, op: &dyn Operation, args: &Args) -> Result<Vec<Row>> {
    let tunings = chosen_tunings(gpu, op, args);
    let mut rows = Vec::new();
    if tunings.is_empty() {
        return Ok(rows);
    }
    for case in chosen_cases(op, args) {
        let prepared = case.request(op, args.seed).and_then(|request| Ok((Expected::new(op, &request)?, request)));
        for tuning in &tunings {
            let outcome = match &prepared {
                Ok((expected, request)) => match expected.verify(gpu, op, request, tuning) {
                    Err(gone @ Error::DeviceLost { .. }) => return Err(gone),
                    other => other.map_err(|error| error.to_string()),
                },
                Err(error) => Err(error.to_string()),
            };
            rows.push(row(op, &case, tuning, outcome));
        }
    }
    Ok(rows)
}

fn row(op: &dyn Operation, case: &Case, tuning: &Tuning, outcome: Result<Outcome, String>) -> Row {
    let (ok, worst, reason) = match outcome {
        Ok(Outcome::Skipped(reason)) => (None, None, reason),
        Err(reason) => (Some(false), None, reason),
        Ok(Outcome::Checked(checks)) => {
            let wrong = wrong(&checks);
            let worst = checks.iter().map(|check| check.ratio).fold(0.0, f64::max);
            (Some(wrong.is_none()), Some(worst).filter(|x| x.is_finite()), wrong.unwrap_or_default())
        }
    };
    Row { op: op.spec().name, case: case.name, variant: tuning.label.clone(), ok, worst, reason }
}

/// One line for the operation, and one for each reason why cases are wrong or were skipped, which names them.
fn print_op(session: &mut Session, op: &dyn Operation, rows: &[Row]) -> Result<()> {
    let count = |ok: Option<bool>| rows.iter().filter(|row| row.ok == ok).count();
    let (right, wrong, skipped) = (count(Some(true)), count(Some(false)), count(None));
    let mut line = format!("{:<22} {right:>4} right", op.spec().name);
    if wrong > 0 {
        line += &format!(", {wrong} WRONG");
    }
    if skipped > 0 {
        line += &format!(", {skipped} skipped");
    }
    let worst = rows.iter().filter(|row| row.ok == Some(true)).max_by(|a, b| a.worst.unwrap_or(0.0).total_cmp(&b.worst.unwrap_or(0.0)));
    if let Some((row, worst)) = worst.and_then(|row| Some((row, row.worst?))) {
        line += &format!(", the worst at {:.0} % of its budget: {} {}", 100.0 * worst, row.case, row.variant);
    }
    session.line(line)?;
    for (ok, reason) in reasons(rows) {
        let what = if ok.is_some() { "WRONG  " } else { "skipped" };
        let named = rows.iter().filter(|row| row.ok == ok && row.reason == reason).map(|row| format!("{} {}", row.case, row.variant));
        session.line(format!("  {what} {}: {}", named.collect::<Vec<_>>().join(", "), super::one_line(reason)))?;
    }
    Ok(())
}

/// Why cases are not right, each reason once: a device that lacks something lacks it in many cases.
fn reasons(rows: &[Row]) -> Vec<(Option<bool>, &str)> {
    let mut reasons = Vec::new();
    for row in rows.iter().filter(|row| row.ok != Some(true)) {
        let reason = (row.ok, row.reason.as_str());
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons
}
