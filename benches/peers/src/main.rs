//! wattn's attention beside burn's, on one adapter, alternately in one run: forward, and forward with backward, without a mask and causal.
//!
//! ```sh
//! cd benches/peers
//! cargo run --release                                   # 1 batch, 8 heads of 64, 1024 queries and keys
//! cargo run --release -- 1024_forward                   # one case, or those with a part of their name in common
//! cargo run --release -- --seq 512 --rounds 20 --path composed --csv times.csv
//! ```
//!
//! `WATTN_DEVICE` or `--device` chooses the adapter, as for the other benches.
//!
//! This is a crate of its own, with a workspace and a lock of its own, because burn brings some 200 crates: the first build takes about 15
//! minutes on 2 cores. Nobody who builds or tests wattn should wait for that.
//!
//! # What is compared
//!
//! Each library opens its own device on the same adapter, as its users would, and gets the same f32 inputs. Time is on the wall, from the
//! call until the device is idle; outputs are alive until then, so that neither may leave out what nobody reads. The libraries take turns:
//! what slows the machine down slows both.
//!
//! - `wattn`: `ops::attention::forward`, and `backward` of an upstream gradient that is drawn like the inputs.
//! - `burn`: `tensor::module::attention`. For inference it chooses a fused kernel; under autodiff it is a product, a softmax and a product,
//!   which autodiff differentiates one by one. The upstream gradient comes in by multiplying o with it, which is one pass over o more than
//!   wattn does.
//! - `burn composed`: `tensor::module::attention_fallback`, without autodiff: the forward that training uses.
//!
//! Results are compared before anything is timed, and again with what was timed last, since burn may change its kernels as it tunes.
//! The first call of each case is reported apart: it holds the compilation of kernels and burn's tuning. What an earlier case has compiled
//! or tuned, a later one has for nothing. Drivers keep compiled shaders on disk as well: with Mesa, `MESA_SHADER_CACHE_DISABLE=true` makes
//! a first call a first one, which for burn on lavapipe 25 takes minutes.
//!
//! burn compiles through WGSL; with `--features vulkan` through SPIR-V.
//!
//! GFLOP/s count the useful operations, as everywhere: 4 · pairs · D forward, 12 · pairs · D with the backward, over the visible pairs.

mod ours;
mod report;
mod theirs;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use wattn::ops::attention::{AttentionOptions, Path};
use wattn::ops::philox::Rng;
use wattn::{Gpu, GpuOptions};

use report::Row;

const BATCH: usize = 1;
const HEADS: usize = 8;
const DIM: usize = 64;

/// The largest difference between two libraries, as a part of the largest value. Two evaluations in f32 differ by 1e-6 or so, one whose
/// products take f16 by 1e-3, a wrong mask or scale by 1.
const TOLERANCE: f64 = 1e-4;

/// The seed of every drawn tensor.
const SEED: u64 = 0;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Times wattn's attention and burn's alternately.
#[derive(Parser)]
struct Args {
    /// A part of the names of the cases to run, such as `causal` or `1024_forward`.
    filter: Option<String>,
    /// Queries and keys.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65536))]
    seq: u32,
    /// Times each library is timed in each case.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Calls of each library between its first one and those that are timed.
    #[arg(long, default_value_t = 2)]
    warmup: u32,
    /// wattn's kernels: auto, fused or composed.
    #[arg(long, default_value = "auto", value_parser = path)]
    path: Path,
    /// The adapter: auto, or a number or a part of a name as `wattn devices` lists them.
    #[arg(long, env = "WATTN_DEVICE", default_value = "auto")]
    device: String,
    /// A file that the rows are appended to, as CSV.
    #[arg(long)]
    csv: Option<PathBuf>,
}

fn path(text: &str) -> std::result::Result<Path, String> {
    text.parse().map_err(|()| "expected auto, fused or composed".to_string())
}

/// What both libraries are asked for.
#[derive(Clone, Copy)]
struct Case {
    causal: bool,
    backward: bool,
}

impl Case {
    /// The name that benches/ops/attention.rs gives it.
    fn name(self, seq: usize) -> String {
        let (causal, what) = (if self.causal { "causal_" } else { "" }, if self.backward { "both" } else { "forward" });
        format!("{seq}_{causal}{what}")
    }

    fn flops(self, seq: usize) -> f64 {
        let options = AttentionOptions { causal: self.causal, ..Default::default() };
        let pairs = (BATCH * HEADS) as f64 * options.pairs(seq, 0, seq) as f64;
        (if self.backward { 12.0 } else { 4.0 }) * pairs * DIM as f64
    }
}

/// What goes in, of shape `[BATCH, HEADS, seq, DIM]`.
struct Drawn {
    seq: usize,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    d_o: Vec<f32>,
}

impl Drawn {
    fn new(seq: usize) -> Self {
        let mut rng = Rng::new(SEED);
        let mut draw = || rng.normals(BATCH * HEADS * seq * DIM);
        Drawn { seq, q: draw(), k: draw(), v: draw(), d_o: draw() }
    }

    fn shape(&self) -> [usize; 4] {
        [BATCH, HEADS, self.seq, DIM]
    }
}

/// The values of each output.
type Values = Vec<(&'static str, Vec<f32>)>;

/// The outputs of a call, alive on the device until this is called or dropped.
type Outputs = Box<dyn FnOnce() -> Result<Values>>;

/// One library, ready to run one case.
struct Side<'a> {
    name: &'static str,
    /// Runs once and waits for the device.
    run: Box<dyn Fn() -> Result<Outputs> + 'a>,
}

impl Side<'_> {
    /// Runs once: the seconds until the device was idle, and the outputs.
    fn time(&self) -> Result<(f64, Outputs)> {
        let start = Instant::now();
        let outputs = (self.run)()?;
        Ok((start.elapsed().as_secs_f64(), outputs))
    }
}

/// The largest difference between two libraries' outputs, as a part of the largest value. Stops the bench when it is beyond the tolerance.
fn compare(name: &str, ours: &Values, theirs: &Values) -> f64 {
    assert_eq!(ours.len(), theirs.len(), "{name} returns as many outputs as wattn");
    let mut worst = 0.0;
    for ((tensor, a), (_, b)) in ours.iter().zip(theirs) {
        assert_eq!(a.len(), b.len(), "{name}'s {tensor} has as many elements as wattn's");
        let largest = a.iter().fold(0.0, |max, &x| f64::max(max, f64::from(x).abs()));
        let differences = a.iter().zip(b).map(|(&a, &b)| ((f64::from(a) - f64::from(b)) / largest).abs());
        // In this order NaN is the largest.
        let difference = differences.max_by(f64::total_cmp).unwrap_or(0.0);
        assert!(
            difference <= TOLERANCE,
            "{name}'s {tensor} differs from wattn's by {difference:.2e} of its largest value, so nothing is timed"
        );
        worst = f64::max(worst, difference);
    }
    worst
}

/// Compares every library with the first, wattn.
fn verify(sides: &[Side], outputs: Vec<Outputs>) -> Result<Vec<f64>> {
    let values = outputs.into_iter().map(|read| read()).collect::<Result<Vec<Values>>>()?;
    Ok(sides.iter().zip(&values).map(|(side, theirs)| compare(side.name, &values[0], theirs)).collect())
}

/// Verifies and times one case.
fn measure(args: &Args, case: Case, sides: &[Side]) -> Result<Vec<Row>> {
    let seq = args.seq as usize;
    eprintln!("{}: first calls", case.name(seq));
    let (first, outputs): (Vec<f64>, Vec<Outputs>) = sides.iter().map(Side::time).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    verify(sides, outputs)?;
    for _ in 0..args.warmup {
        sides.iter().try_for_each(|side| (side.run)().map(drop))?;
    }
    let mut samples = vec![vec![]; sides.len()];
    let mut last = vec![];
    for _ in 0..args.rounds {
        // Dropped before the round, not within it: taking memory back is no part of the next call.
        last.clear();
        for (side, samples) in sides.iter().zip(&mut samples) {
            let (seconds, outputs) = side.time()?;
            samples.push(seconds);
            last.push(outputs);
        }
    }
    let differences = verify(sides, last)?;
    let row = |((side, first), (seconds, difference)): ((&Side, f64), (Vec<f64>, f64))| {
        Row::new(side.name, case.name(seq), case.flops(seq), first, seconds, difference)
    };
    Ok(sides.iter().zip(first).zip(samples.into_iter().zip(differences)).map(row).collect())
}

fn run(args: &Args) -> Result<()> {
    let gpu = Gpu::new(&GpuOptions { device: args.device.clone(), ..Default::default() })?;
    let drawn = Drawn::new(args.seq as usize);
    let theirs = theirs::Burn::new(gpu.info(), &drawn)?;
    let ours = ours::Wattn::new(gpu.clone(), &drawn, args.path)?;
    let mut rows = vec![];
    for backward in [false, true] {
        for causal in [false, true] {
            let case = Case { causal, backward };
            if args.filter.as_ref().is_some_and(|filter| !case.name(drawn.seq).contains(filter)) {
                continue;
            }
            let mut sides = vec![ours.side(case), theirs.side(case)];
            if !backward {
                sides.push(theirs.composed(case));
            }
            rows.push(measure(args, case, &sides)?);
        }
    }
    if rows.is_empty() {
        return Err(format!("no case's name holds '{}'", args.filter.as_deref().unwrap_or_default()).into());
    }
    report::print(gpu.info(), args, &drawn.shape(), &rows);
    args.csv.as_ref().map_or(Ok(()), |file| report::append(file, gpu.info(), &drawn.shape(), &rows))
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
