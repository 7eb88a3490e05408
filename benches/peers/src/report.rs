//! What is printed and recorded.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use wattn::wgpu::AdapterInfo;

use crate::Result;
use crate::turns::Options;

/// What was asked for.
#[derive(Clone)]
pub struct What {
    pub case: String,
    /// As wattn's command line has it.
    pub shape: String,
    pub flops: f64,
}

/// One library's times in one case, in seconds: of its first call, and of those after it.
pub struct Times {
    pub first: f64,
    pub seconds: Vec<f64>,
}

/// One library's times in one case, in seconds.
pub struct Row {
    library: &'static str,
    what: What,
    first: f64,
    runs: usize,
    fastest: f64,
    median: f64,
    /// From what was expected, as a part of the largest value.
    difference: f64,
}

impl Row {
    pub fn new(library: &'static str, what: &What, times: Times, difference: f64) -> Self {
        let Times { first, mut seconds } = times;
        seconds.sort_by(f64::total_cmp);
        let (runs, fastest, median) = (seconds.len(), seconds[0], seconds[seconds.len() / 2]);
        Row { library, what: what.clone(), first, runs, fastest, median, difference }
    }

    fn gflops(&self) -> f64 {
        self.what.flops / self.median / 1e9
    }
}

/// burn's version, as the lock has it.
fn burn_version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let version = lock.split("name = \"burn\"\nversion = \"").nth(1).and_then(|rest| rest.split('"').next());
    version.unwrap_or("of unknown version")
}

/// What burn does without, if it was built so.
const WITHOUT: &str = if cfg!(feature = "fusion") { "" } else { " without fusion" };

/// Where rows go: to the file that was asked for as soon as they are measured, and to a table in the end.
pub struct Report<'a> {
    info: &'a AdapterInfo,
    options: &'a Options,
    /// wattn's name for what is compared.
    op: &'static str,
    /// What else the table's heading should say.
    note: &'a str,
    /// What is timed: a call or a step.
    unit: &'static str,
}

impl<'a> Report<'a> {
    pub fn new(info: &'a AdapterInfo, options: &'a Options, op: &'static str, note: &'a str) -> Self {
        Report { info, options, op, note, unit: "call" }
    }

    /// Of another unit than calls.
    pub fn of(self, unit: &'static str) -> Self {
        Report { unit, ..self }
    }

    /// Measures the cases, by their names, that are wanted. One that fails gives no times and leaves those of the others.
    pub fn run<M: FnOnce() -> Result<Vec<Row>>>(&self, cases: impl IntoIterator<Item = (String, M)>) -> Result<()> {
        let (mut measured, mut failed) = (vec![], vec![]);
        for (name, measure) in cases.into_iter().filter(|(name, _)| self.options.want(name)) {
            match measure() {
                Ok(rows) => {
                    self.options.csv.as_ref().map_or(Ok(()), |file| self.append(file, &rows))?;
                    measured.push(rows);
                }
                Err(error) => {
                    eprintln!("{name}: {error}");
                    failed.push(name);
                }
            }
        }
        if !measured.is_empty() {
            self.print(&measured);
        }
        match failed.as_slice() {
            [] if measured.is_empty() => Err(self.options.nothing().into()),
            [] => Ok(()),
            names => Err(format!("no times of {}", names.join(", ")).into()),
        }
    }

    /// Prints a table, the rows of each case together; wattn's are first.
    fn print(&self, cases: &[Vec<Row>]) {
        println!("{} on {}, {} {}", self.op, self.info.name, self.info.driver, self.info.driver_info);
        println!("burn {}{WITHOUT}{}; {} rounds\n", burn_version(), self.note, self.options.rounds);
        let mut table = Table::new();
        let (first, rate) = (format!("first {}", self.unit), format!("{}s/s", self.unit));
        let headings = ["case", "shape", "library", &first, "median", "fastest", &rate, "GFLOP/s", "of wattn's time", "differs by"];
        table.load_preset(presets::NOTHING).set_header(headings);
        for rows in cases {
            for row in rows {
                let ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
                table.add_row([
                    row.what.case.clone(),
                    row.what.shape.clone(),
                    row.library.to_string(),
                    ms(row.first),
                    ms(row.median),
                    ms(row.fastest),
                    format!("{:.2}", 1.0 / row.median),
                    format!("{:.2}", row.gflops()),
                    format!("{:.2}", row.median / rows[0].median),
                    format!("{:.1e}", row.difference),
                ]);
            }
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if index >= 3 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        println!("{}", table.trim_fmt());
    }

    /// Appends the rows to a CSV file, which gets a line of headings when it is new. The columns are those of benches/record, with the
    /// library and its first call, and without bytes: the libraries do not move the same.
    fn append(&self, path: &Path, rows: &[Row]) -> Result<()> {
        let mut lines = String::new();
        if !path.exists() {
            lines += "device,driver,library,op,case,shape,runs,first_ms,fastest_ms,median_ms,gflops,clock,load\n";
        }
        // On a software driver the processor is the device: what else runs on it shows.
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default();
        for row in rows {
            let burn = format!(" {}{WITHOUT}", burn_version());
            lines += &format!(
                "\"{}\",\"{} {}\",{}{},{},{},\"{}\",{},{:.4},{:.4},{:.4},{:.3},wall,{load}\n",
                self.info.name,
                self.info.driver,
                self.info.driver_info,
                row.library,
                if row.library == "wattn" { "" } else { &burn },
                self.op,
                row.what.case,
                row.what.shape,
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
}
