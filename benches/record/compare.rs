//! Compares two records case by case: scripts/bench-compare OLD.csv NEW.csv [FILTER]
//!
//! Ratios are old over new, so that above 1 is faster. What makes two records hard to compare is said in warnings and stops nothing.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use serde::Deserialize;

/// How many times the fastest run a median is at least that is far above it.
const FAR: f64 = 1.5;
/// How many times the number of cores a load is at least that is well above it.
const BUSY: f64 = 1.5;

/// Prints, for every case that both records have, its times and how many times faster the new one is.
#[derive(Parser)]
#[command(name = "bench-compare", bin_name = "scripts/bench-compare")]
struct Args {
    /// A record of scripts/bench-record.
    old: PathBuf,
    /// Another one.
    new: PathBuf,
    /// A part of the names, op/case, to compare.
    filter: Option<String>,
}

/// The columns of a record that matter here.
#[derive(Deserialize)]
struct Row {
    date: String,
    commit: String,
    device: String,
    driver: String,
    op: String,
    case: String,
    shape: String,
    fastest_ms: f64,
    median_ms: f64,
    clock: String,
    /// Of the last minute; there is none but on Linux.
    load: Option<f64>,
}

impl Row {
    /// What FILTER is a part of.
    fn case(&self) -> String {
        format!("{}/{}", self.op, self.case)
    }

    /// Times of different shapes are times of different cases.
    fn name(&self) -> String {
        format!("{} {}", self.case(), self.shape)
    }
}

struct Record {
    path: PathBuf,
    rows: Vec<Row>,
}

impl Record {
    fn read(path: &Path, filter: &str) -> Result<Self, String> {
        let wrong = |what: String| format!("{}: {what}", path.display());
        let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
        let rows: Result<Vec<Row>, _> = csv::Reader::from_reader(file).into_deserialize().collect();
        let mut rows = rows.map_err(|e| wrong(format!("no record of scripts/bench-record: {e}")))?;
        if rows.is_empty() {
            return Err(wrong("empty: no case in it".into()));
        }
        let mut seen = BTreeSet::new();
        for row in &rows {
            if ![row.fastest_ms, row.median_ms].iter().all(|ms| ms.is_finite() && *ms > 0.0) {
                return Err(wrong(format!("no record of scripts/bench-record: {} took {} ms", row.name(), row.median_ms)));
            }
            if !seen.insert(row.name()) {
                return Err(wrong(format!("no record of one run: {} is in it twice", row.name())));
            }
        }
        rows.retain(|row| row.case().contains(filter));
        Ok(Record { path: path.into(), rows })
    }

    /// What stands in a column, each value once.
    fn all<'a>(&'a self, column: impl Fn(&'a Row) -> &'a str) -> String {
        let values: BTreeSet<&str> = self.rows.iter().map(column).collect();
        Vec::from_iter(values).join(" and ")
    }

    fn heading(&self, age: &str) -> String {
        let (commit, date) = (self.all(|row| &row.commit), self.all(|row| &row.date));
        let (device, driver) = (self.all(|row| &row.device), self.all(|row| &row.driver));
        format!("{age}: {}\n     commit {commit}, {date}; {device}; {driver}\n", self.path.display())
    }

    /// Signs that the machine had something else to do.
    fn busy(&self, age: &str, cores: usize) -> Vec<String> {
        let mut warnings = vec![];
        let load = self.rows.iter().filter_map(|row| row.load).fold(0.0, f64::max);
        if load >= BUSY * cores as f64 {
            warnings.push(format!("{age}: the load was up to {load:.2}, and this machine has {cores} cores"));
        }
        let far: Vec<&Row> = self.rows.iter().filter(|row| row.median_ms >= FAR * row.fastest_ms).collect();
        if !far.is_empty() {
            let names: Vec<String> = far.iter().map(|row| row.name()).collect();
            warnings.push(format!("{age}: medians {FAR} times the fastest run or more: {}", names.join("; ")));
        }
        warnings
    }
}

type Column = fn(&Row) -> &str;

/// Why the rows of two records are not alike in all but the commit.
fn differences(pairs: &[(&Row, &Row)]) -> Vec<String> {
    let columns: [(&str, Column); 3] = [("devices", |row| &row.device), ("drivers", |row| &row.driver), ("clocks", |row| &row.clock)];
    let differ = |(what, column): (&str, Column)| {
        let cases: Vec<String> = pairs.iter().filter(|(old, new)| column(old) != column(new)).map(|(old, _)| old.name()).collect();
        let of = if cases.len() == pairs.len() { "all cases".into() } else { cases.join("; ") };
        (!cases.is_empty()).then(|| format!("{what} differ: {of}"))
    };
    columns.into_iter().filter_map(differ).collect()
}

fn table(pairs: &[(&Row, &Row)]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["case", "shape", "old median", "new median", "old/new", "old fastest", "new fastest"]);
    for (old, new) in pairs {
        let ms = |ms: f64| format!("{ms:.4} ms");
        let ratio = format!("{:.3}", old.median_ms / new.median_ms);
        let times = [ms(old.median_ms), ms(new.median_ms), ratio, ms(old.fastest_ms), ms(new.fastest_ms)];
        table.add_row([old.case(), old.shape.clone()].into_iter().chain(times));
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if i >= 2 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn compare(args: &Args, cores: usize) -> Result<String, String> {
    let filter = args.filter.as_deref().unwrap_or_default();
    let (old, new) = (Record::read(&args.old, filter)?, Record::read(&args.new, filter)?);
    let by_name = |record: &Record| -> HashMap<String, usize> { record.rows.iter().map(Row::name).zip(0..).collect() };
    let (in_old, in_new) = (by_name(&old), by_name(&new));
    let pairs: Vec<(&Row, &Row)> = old.rows.iter().filter_map(|row| Some((row, &new.rows[*in_new.get(&row.name())?]))).collect();
    if pairs.is_empty() {
        let of = if filter.is_empty() { String::new() } else { format!(" whose name contains '{filter}'") };
        return Err(format!("{} and {} have no case in common{of}", args.old.display(), args.new.display()));
    }
    let mut text = old.heading("old") + &new.heading("new");
    for warning in differences(&pairs).into_iter().chain(old.busy("old", cores)).chain(new.busy("new", cores)) {
        text += &format!("warning: {warning}\n");
    }
    text += &format!("\n{}\n\n", table(&pairs).trim_fmt());
    for (age, record, other) in [("old", &old, &in_new), ("new", &new, &in_old)] {
        for name in record.rows.iter().map(Row::name).filter(|name| !other.contains_key(name)) {
            text += &format!("only in {age}: {name}\n");
        }
    }
    let logarithms: f64 = pairs.iter().map(|(old, new)| (old.median_ms / new.median_ms).ln()).sum();
    let mean = (logarithms / pairs.len() as f64).exp();
    Ok(text + &format!("geometric mean of old/new over {} cases: {mean:.3} (above 1 is faster)\n", pairs.len()))
}

/// The exit status and what to say: 1 for records that cannot be compared, 2 for bad usage. `cores` is what a load is held against.
pub fn run(args: impl IntoIterator<Item = OsString>, cores: usize) -> (u8, String) {
    match Args::try_parse_from(args) {
        Err(usage) => (usage.exit_code() as u8, usage.to_string()),
        Ok(args) => match compare(&args, cores) {
            Ok(text) => (0, text),
            Err(wrong) => (1, format!("error: {wrong}\n")),
        },
    }
}

fn main() -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let (code, text) = run(std::env::args_os(), cores);
    // Nobody is left to hear of a pipe that was closed.
    let _ = if code == 0 { std::io::stdout().write_all(text.as_bytes()) } else { std::io::stderr().write_all(text.as_bytes()) };
    ExitCode::from(code)
}
