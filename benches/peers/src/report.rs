//! What is printed and recorded.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use wattn::wgpu::AdapterInfo;

use crate::Result;
use crate::turns::Options;

/// What was compared.
pub struct Subject<'a> {
    /// wattn's name for it.
    pub op: &'static str,
    pub shape: &'a [usize],
    /// What else the table's heading should say.
    pub note: &'a str,
}

/// One library's times in one case, in seconds.
pub struct Row {
    library: &'static str,
    case: String,
    flops: f64,
    first: f64,
    runs: usize,
    fastest: f64,
    median: f64,
    /// From what was expected, as a part of the largest value.
    difference: f64,
}

impl Row {
    pub fn new(library: &'static str, case: String, flops: f64, first: f64, mut seconds: Vec<f64>, difference: f64) -> Self {
        seconds.sort_by(f64::total_cmp);
        let (runs, fastest, median) = (seconds.len(), seconds[0], seconds[seconds.len() / 2]);
        Row { library, case, flops, first, runs, fastest, median, difference }
    }

    fn gflops(&self) -> f64 {
        self.flops / self.median / 1e9
    }
}

/// burn's version, as the lock has it.
fn burn_version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let version = lock.split("name = \"burn\"\nversion = \"").nth(1).and_then(|rest| rest.split('"').next());
    version.unwrap_or("of unknown version")
}

fn text(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Prints the rows and appends them to the file that was asked for.
pub fn finish(info: &AdapterInfo, options: &Options, subject: &Subject, cases: &[Vec<Row>]) -> Result<()> {
    if cases.is_empty() {
        return Err(options.nothing().into());
    }
    print(info, options, subject, cases);
    options.csv.as_ref().map_or(Ok(()), |file| append(file, info, subject, cases))
}

/// Prints a table, the rows of each case together; wattn's are first.
fn print(info: &AdapterInfo, options: &Options, subject: &Subject, cases: &[Vec<Row>]) {
    println!("{} {} on {}, {} {}", subject.op, text(subject.shape), info.name, info.driver, info.driver_info);
    println!("burn {}{}; {} rounds\n", burn_version(), subject.note, options.rounds);
    let mut table = Table::new();
    let headings = ["case", "library", "first call", "median", "fastest", "GFLOP/s", "of wattn's time", "differs by"];
    table.load_preset(presets::NOTHING).set_header(headings);
    for rows in cases {
        for row in rows {
            let ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
            table.add_row([
                row.case.clone(),
                row.library.to_string(),
                ms(row.first),
                ms(row.median),
                ms(row.fastest),
                format!("{:.2}", row.gflops()),
                format!("{:.2}", row.median / rows[0].median),
                format!("{:.1e}", row.difference),
            ]);
        }
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if index >= 2 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{}", table.trim_fmt());
}

/// Appends the rows to a CSV file, which gets a line of headings when it is new. The columns are those of benches/record, with the library
/// and its first call, and without bytes: the libraries do not move the same.
fn append(path: &Path, info: &AdapterInfo, subject: &Subject, cases: &[Vec<Row>]) -> Result<()> {
    let mut lines = String::new();
    if !path.exists() {
        lines += "device,driver,library,op,case,shape,runs,first_ms,fastest_ms,median_ms,gflops,clock,load\n";
    }
    // On a software driver the processor is the device: what else runs on it shows.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    for row in cases.iter().flatten() {
        let burn = format!(" {}", burn_version());
        lines += &format!(
            "\"{}\",\"{} {}\",{}{},{},{},\"{}\",{},{:.4},{:.4},{:.4},{:.3},wall,{load}\n",
            info.name,
            info.driver,
            info.driver_info,
            row.library,
            if row.library == "wattn" { "" } else { &burn },
            subject.op,
            row.case,
            text(subject.shape),
            row.runs,
            row.first * 1e3,
            row.fastest * 1e3,
            row.median * 1e3,
            row.gflops(),
        );
    }
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(lines.as_bytes())).map_err(|error| format!("{}: {error}", path.display()).into())
}
