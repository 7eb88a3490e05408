//! The time to a first result: from the start of a process until the result is on the host.
//!
//! Each sample is a process of its own, which opens its library's device, uploads the tensors, runs once and reads the results back.
//! Drivers keep no compiled shader from one to the next: Mesa and NVIDIA are told so, and the folder for caches is empty. burn is built
//! without what keeps its tuning. The libraries take turns, and the results of each turn are compared.
//!
//! Of the times, the first call's is that of the first turn, which may have found less of the program and the driver in memory.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio, id};
use std::time::Instant;

use burn::nn::Lstm;
use wattn::ops::attention::Path;

use crate::attention::With;
use crate::case::Case;
use crate::device::Place;
use crate::report::{Report, Row, Times, What};
use crate::turns::{Options, TOLERANCE, Values, open, verify};
use crate::{Result, attention, device, matmul, recurrent};

/// The name of the command that is one sample.
pub const FIRST: &str = "first";

/// What a sample prints once the results are on the host.
const DONE: &str = "done";

/// The variables by which drivers and burn are told to keep nothing.
const KEEP_NOTHING: [(&str, &str); 4] = [
    ("MESA_SHADER_CACHE_DISABLE", "true"),
    ("__GL_SHADER_DISK_CACHE", "0"),
    ("CUBECL_AUTOTUNE_CACHE", "false"),
    ("CUBECL_THROUGHPUT_CACHE", "false"),
];

/// The variables that say where caches are.
const CACHES: [&str; 3] = ["MESA_SHADER_CACHE_DIR", "__GL_SHADER_DISK_CACHE_PATH", "XDG_CACHE_HOME"];

/// Small sizes: kernels take less than their compilation.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
}

/// One case of one library, once.
#[derive(clap::Args)]
pub struct First {
    /// The name of the case.
    case: String,
    /// wattn's adapter.
    #[arg(long, default_value = "auto")]
    device: String,
    /// burn's adapter; with it, the library is burn.
    #[arg(long)]
    place: Option<Place>,
}

fn cases() -> [Case; 4] {
    let attention = |backward| attention::case(256, With::Nothing, backward, Path::Auto);
    let lstm = recurrent::case::<Lstm>([16, 4, 64, 64], false);
    let named = [("matmul", matmul::case(256)), ("attention", attention(false)), ("attention_both", attention(true)), ("lstm", lstm)];
    named.map(|(name, case)| Case { name: name.to_string(), ..case })
}

/// Runs the case once and prints the results.
pub fn first(args: &First) -> Result<()> {
    let case = cases().into_iter().find(|case| case.name == args.case).ok_or_else(|| format!("no case is '{}'", args.case))?;
    let request = case.request()?;
    let mut side = match &args.place {
        None => case.ours(&open(&args.device)?, &request)?,
        Some(place) => (case.theirs)(&place.open()?.0, &request)?.swap_remove(0),
    };
    let values = (side.run)()?()?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{DONE}")?;
    for (name, values) in values {
        let texts: Vec<String> = values.iter().map(f32::to_string).collect();
        writeln!(out, "{name} {}", texts.join(" "))?;
    }
    Ok(())
}

/// An empty folder, until it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("wattn-peers-{}", id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files harms nothing.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One sample: the seconds until the results were on the host, and the results.
fn sample(case: &Case, arguments: [&str; 2]) -> Result<(f64, Values)> {
    let folder = Folder::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(FIRST).arg(&case.name).args(arguments).stdout(Stdio::piped()).envs(KEEP_NOTHING);
    command.envs(CACHES.map(|name| (name, &folder.0)));
    let start = Instant::now();
    let mut child = command.spawn()?;
    let mut out = BufReader::new(child.stdout.take().ok_or("a process without an output")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    let seconds = start.elapsed().as_secs_f64();
    let mut text = String::new();
    out.read_to_string(&mut text)?;
    let status = child.wait()?;
    if line.trim_end() != DONE || !status.success() {
        return Err(format!("the process of {} {} ended with {status}", case.name, arguments.join(" ")).into());
    }
    let values = |line: &str| -> Result<(String, Vec<f32>)> {
        let (name, values) = line.split_once(' ').ok_or("a result without values")?;
        Ok((name.to_string(), values.split(' ').map(str::parse).collect::<std::result::Result<_, _>>()?))
    };
    Ok((seconds, text.lines().map(values).collect::<Result<_>>()?))
}

fn measure(options: &Options, place: &str, case: &Case) -> Result<Vec<Row>> {
    let request = case.request()?;
    let expected = case.expected(&request)?;
    let libraries = [("wattn", ["--device", &options.device]), ("burn", ["--place", place])];
    let names = libraries.map(|(name, _)| name);
    let (mut samples, mut worst) = ([vec![], vec![]], [0.0, 0.0]);
    for round in 0..options.rounds {
        eprintln!("{}: round {}", case.name, round + 1);
        let mut values = vec![];
        for ((_, arguments), samples) in libraries.iter().zip(&mut samples) {
            let (seconds, results) = sample(case, *arguments)?;
            samples.push(seconds);
            values.push(results);
        }
        for (worst, difference) in worst.iter_mut().zip(verify(&names, &values, expected.as_ref(), TOLERANCE)?) {
            *worst = f64::max(*worst, difference);
        }
    }
    let what = What { case: case.name.clone(), shape: case.shape.clone(), flops: case.flops(&request)? };
    let times = samples.map(|seconds| Times { first: seconds[0], seconds });
    Ok(names.into_iter().zip(times).zip(worst).map(|((name, times), worst)| Row::new(name, &what, times, worst)).collect())
}

/// Compares, prints and records.
pub fn run(args: &Args) -> Result<()> {
    let gpu = args.options.open()?;
    let (_, place) = device::open(gpu.info())?;
    let place = place.to_string();
    let report = Report::new(gpu.info(), &args.options, "cold", ", each call in a process of its own");
    let (options, place) = (&args.options, &place);
    report.run(cases().map(|case| (case.name.clone(), move || measure(options, place, &case))))
}
