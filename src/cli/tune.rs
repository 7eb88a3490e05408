//! `wattn tune`: finds which of the kernels that compute the same is the fastest on this device, and remembers it.

use serde::Serialize;

use super::{Session, Verdict, describe, print};
use crate::gpu::{Finding, Gpu, Span, Tunings};
use crate::io;
use crate::ops::check::{self, Expected, Outcome};
use crate::ops::{Operation, Prepared, Request, Settings, Tuning};
use crate::{Error, Result};

const COMMAND: &str = "tune";

/// What help says below the arguments.
const MEANING: &str = "\
Every way of running an operation is compared with the reference, then timed, in turns with what wattn chooses by itself. Another way is \
remembered for sizes like the one that was timed when it takes 5 % less and was faster in 4 of 5 turns.

What was found takes the place of what was found before for this device and version of its driver, in tunings.tsv in wattn's folder among \
the user's caches; WATTN_TUNINGS names another file, and an empty WATTN_TUNINGS turns tunings off. The choice changes the order of sums, so \
the last bits of results.";

#[derive(clap::Args)]
#[command(after_help = MEANING)]
pub(super) struct Args {
    /// The operations: softmax, matmul, attention, lstm; all of them when none is named.
    #[arg(value_name = "OP")]
    ops: Vec<String>,
    /// Forget what was found for this device, and look for nothing.
    #[arg(long)]
    forget: bool,
}

/// What is searched: an operation, the one choice of its ways that a size decides, and shapes from small to as large as a reference is had
/// in seconds. A recurrent layer's choice is the same for all cells.
const SEARCHES: &[(&str, &str, &[&str])] = &[
    ("softmax", "rows", &["4096,64", "1024,256", "512,1024", "128,4096"]),
    ("softmax", "again", &["4096,64", "1024,256", "512,1024", "128,2048"]),
    ("matmul", "product", &["64,64,64", "128,128,128", "256,256,256", "512,512,512", "1024,1024,1024"]),
    ("attention", "attention tile", &["1,8,256,32", "1,8,256,64", "1,4,256,128", "1,4,128,256"]),
    ("lstm", "pace", &["32,8,32,32", "32,8,64,64", "32,8,128,128", "32,8,256,256"]),
];

/// Turns that each way of running a case gets.
const TURNS: usize = 15;
/// What another way must be better by.
const GAIN: f64 = 1.05;
/// The part of the turns in which it must be faster.
const OFTEN: f64 = 0.8;

/// One case, as JSON.
#[derive(Serialize)]
struct Row {
    op: &'static str,
    case: &'static str,
    /// `auto`, or the way that is faster.
    tuning: String,
    auto_ms: f64,
    tuned_ms: f64,
    /// How many times faster than by itself.
    gain: f64,
}

/// Runs the subcommand.
pub(super) fn execute(session: &mut Session, args: &Args) -> Result<Verdict> {
    if let Some(name) = args.ops.iter().find(|name| SEARCHES.iter().all(|(op, ..)| op != name)) {
        // Searches of one operation follow one another.
        let mut known: Vec<&str> = SEARCHES.iter().map(|(op, ..)| *op).collect();
        known.dedup();
        return Err(super::unknown(COMMAND, "OP", name, known));
    }
    let Some(file) = Tunings::file() else {
        let expected = "a file to remember tunings in".to_string();
        return Err(Error::Argument { op: COMMAND, key: "WATTN_TUNINGS".into(), expected, got: "none".into() });
    };
    let Some(gpu) = session.gpu(false, COMMAND)? else { return Ok(Verdict::Wrong) };
    let gpu = gpu.untuned();
    let (mut rows, mut choices, mut findings, mut right) = (vec![], vec![], vec![], true);
    for (name, choice, shapes) in SEARCHES.iter().filter(|(name, ..)| args.ops.is_empty() || args.ops.iter().any(|op| op == name)) {
        let shapes = if args.forget { &[] } else { *shapes };
        match search(&gpu, name, choice, shapes, &mut rows) {
            Ok(found) => {
                choices.push(*choice);
                findings.extend(found);
            }
            Err(gone @ Error::DeviceLost { .. }) => return Err(gone),
            // What was found of it before stays.
            Err(error) => {
                right = false;
                session.note(format!("error: {name}: {error}"));
            }
        }
    }
    remember(&file, &gpu, &choices, &findings)?;
    if session.json {
        session.json(&rows)?;
    } else if args.forget {
        session.line(format!("nothing is remembered for {}", describe(gpu.info())))?;
    } else {
        session.line(format!("on {}", describe(gpu.info())))?;
        session.line(table(&rows))?;
        session.line(format!("remembered in {}", file.display()))?;
    }
    Ok(Verdict::of(right))
}

/// The findings of an operation's shapes.
fn search(gpu: &Gpu, name: &str, choice: &str, shapes: &'static [&'static str], rows: &mut Vec<Row>) -> Result<Vec<Finding>> {
    let op = super::find_op(COMMAND, name)?;
    let mut findings = vec![];
    for shape in shapes {
        let (row, found) = tune(gpu, op, choice, shape)?;
        rows.push(row);
        findings.extend(found);
    }
    Ok(findings)
}

/// Puts the findings into the file, in place of those on the same choices of the same device.
fn remember(file: &std::path::Path, gpu: &Gpu, choices: &[&str], findings: &[Finding]) -> Result<()> {
    let io = |source| Error::Io { path: file.into(), source };
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        other => other.map_err(io)?,
    };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    io::write_text(file, &Tunings::replaced(&text, gpu.info(), choices, findings))
}

/// A way of running a case, and its times.
struct Way {
    tuning: Tuning,
    gpu: Gpu,
    run: Prepared,
    /// Of each turn.
    seconds: Vec<f64>,
}

impl Way {
    fn new(gpu: &Gpu, op: &dyn Operation, request: &Request, tuning: Tuning) -> Result<Self> {
        let gpu = (tuning.pin)(gpu);
        let run = op.prepare(&gpu, request)?;
        Ok(Way { tuning, gpu, run, seconds: vec![] })
    }

    fn time(&mut self) -> Result<f64> {
        let (_, spans) = self.gpu.profile_by(self.gpu.clock(), || (self.run)().map(drop))?;
        Ok(Span::total(&spans))
    }

    fn median(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    }

    /// Whether it is to take the place of another.
    fn beats(&self, other: &Way) -> bool {
        let faster = self.seconds.iter().zip(&other.seconds).filter(|(own, other)| own < other).count();
        GAIN * self.median() < other.median() && faster as f64 >= OFTEN * self.seconds.len() as f64
    }
}

/// Times every way of running a shape that is no more than this choice, all in turns, the default first.
fn tune(gpu: &Gpu, op: &'static dyn Operation, choice: &str, shape: &'static str) -> Result<(Row, Vec<Finding>)> {
    let settings = Settings::default();
    let request = Request::new(op.spec(), op.draw(shape, &settings, 0)?, settings)?;
    let expected = Expected::new(op, &request)?;
    let mut ways = vec![];
    let searched = |tuning: &Tuning| (tuning.pin)(gpu).pins().keys().all(|name| *name == choice);
    for tuning in op.tunings(gpu.caps()).into_iter().filter(searched) {
        let faults = match expected.verify(gpu, op, &request, &tuning)? {
            Outcome::Checked(checks) => check::wrong(&checks),
            Outcome::Skipped(why) => Some(why),
        };
        if let Some(faults) = faults {
            return Err(Error::Wrong { faults: format!("{shape}, {}: {faults}", tuning.label) });
        }
        ways.push(Way::new(gpu, op, &request, tuning)?);
    }
    for turn in 0..=TURNS {
        for way in &mut ways {
            let seconds = way.time()?;
            // The first warms up.
            if turn > 0 {
                way.seconds.push(seconds);
            }
        }
    }
    let fastest = (0..ways.len()).min_by(|&a, &b| ways[a].median().total_cmp(&ways[b].median())).unwrap_or(0);
    let best = if ways[fastest].beats(&ways[0]) { fastest } else { 0 };
    let (auto_ms, tuned_ms) = (1e3 * ways[0].median(), 1e3 * ways[best].median());
    let row = Row { op: op.spec().name, case: shape, tuning: ways[best].tuning.label.clone(), auto_ms, tuned_ms, gain: auto_ms / tuned_ms };
    let findings = ways[best].gpu.findings(choice, |gpu| op.prepare(gpu, &request).and_then(|mut run| run().map(drop)))?;
    Ok((row, findings))
}

fn table(rows: &[Row]) -> String {
    let columns = [("op", false), ("case", false), ("by itself", true), ("tuned", true), ("times faster", true), ("tuning", false)];
    let cells = |row: &Row| {
        let (auto, tuned) = (print::seconds(row.auto_ms / 1e3), print::seconds(row.tuned_ms / 1e3));
        vec![row.op.into(), row.case.into(), auto, tuned, format!("{:.2}", row.gain), row.tuning.clone()]
    };
    print::table(&columns, rows.iter().map(cells))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Caps;

    #[test]
    fn wattn_knows_only_of_choices_that_are_searched() {
        let ways = |op: &str| super::super::find_op(COMMAND, op).unwrap().tunings(&Caps::everything());
        for (line, finding) in Tunings::known() {
            let finding = finding.unwrap_or_else(|| panic!("no finding: {line}"));
            let searched = SEARCHES.iter().find(|(_, choice, _)| *choice == finding.choice);
            let (op, ..) = searched.unwrap_or_else(|| panic!("no search: {line}"));
            assert!(ways(op).iter().any(|tuning| tuning.label == finding.label), "no label: {line}");
        }
    }
}
