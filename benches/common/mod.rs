//! What every bench does: draw a case, prepare it once, verify what the device returns, and only then time it.
//!
//! Time is GPU time: the sum of the timestamps around an iteration's dispatches. A device without timestamps is timed by the clock on
//! the wall, from the first recording until the device is idle, so that the recording alone is never what is measured.
//! Criterion's "elem" is a floating-point operation.
//!
//! The quick cases are for test mode (`cargo test --benches`, `cargo bench -- --test`), where they run once each; the others are timed.

#![allow(dead_code, reason = "no bench needs all of it")]

use std::io::Write;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use wattn::gpu::Span;
use wattn::ops::check::{self, Expected};
use wattn::ops::philox::Rng;
use wattn::ops::{Arrays, Case, Cost, Operation, Request};
use wattn::{Array, Data, Gpu, GpuOptions, Result, Tensor};

/// The seed of every drawn tensor.
const SEED: u64 = 0;

/// The file that times are appended to, for scripts/bench-record.
const RECORD: &str = "WATTN_BENCH_RECORD";

/// The same part of the tensors that go in and of those that come out. It must be the formula's own part: what the
/// reference makes of the inputs' part is the part of what it makes of the whole.
pub type Part = fn(&Arrays) -> Arrays;

/// An edit of a case: no upstream gradients, so that the forward runs alone.
pub fn forward(tensors: &mut Arrays, _: &mut Rng) {
    tensors.retain(|name, _| !name.starts_with("d_"));
}

/// The parts of `array` at these indices of its dimension `axis`.
pub fn take(array: &Array, axis: usize, indices: &[usize]) -> Array {
    let Data::F32(values) = array.data() else { panic!("parts are taken of f32 tensors") };
    let mut shape = array.shape().to_vec();
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let blocks = values.chunks(size * inner);
    let taken = blocks.flat_map(|block| indices.iter().flat_map(move |&i| block[i * inner..][..inner].iter().copied())).collect();
    shape[axis] = indices.len();
    Array::f32(&shape, taken)
}

/// Runs once, or stops the bench with the error.
fn must<T>(what: &str, result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Times what it is given, with Criterion, on one device, and records it under one name.
pub struct Timer {
    pub gpu: Gpu,
    criterion: Criterion,
    /// The operation, or what else is timed.
    name: &'static str,
    clock: &'static str,
    testing: bool,
}

impl Timer {
    /// Opens the device that `WATTN_DEVICE` names, or the best one.
    pub fn new(name: &'static str) -> Self {
        let device = std::env::var("WATTN_DEVICE").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "auto".into());
        let gpu = must("opening the device", Gpu::new(&GpuOptions { device, tuned: false, ..Default::default() }));
        let criterion =
            Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        // Criterion tests unless cargo bench says otherwise.
        let has = |flag: &str| std::env::args().any(|arg| arg == flag);
        let testing = has("--test") || !has("--bench");
        let clock = if gpu.caps().timestamps { "gpu" } else { "wall" };
        Timer { gpu, criterion: criterion.configure_from_args(), name, clock, testing }
    }

    /// For times that are the host's on every device.
    pub fn by_the_wall(self) -> Self {
        Timer { clock: "wall", ..self }
    }

    /// Whether everything runs once only, at its smallest.
    pub fn testing(&self) -> bool {
        self.testing
    }

    /// Hands Criterion what `prepare` returns: verified, and giving the seconds of each of some iterations. Nothing is prepared that
    /// the command line filters out. Returns every iteration's seconds.
    pub fn time<R: FnMut(u64) -> Result<Vec<f64>>>(
        &mut self,
        name: &str,
        shape: &str,
        cost: Cost,
        prepare: impl FnOnce() -> R,
    ) -> Vec<f64> {
        let mut samples = vec![];
        let (mut prepare, mut run) = (Some(prepare), None);
        let mut group = self.criterion.benchmark_group(self.name);
        group.throughput(Throughput::ElementsAndBytes { elements: cost.flops as u64, bytes: cost.bytes as u64 });
        group.bench_function(name, |bencher| {
            if let Some(prepare) = prepare.take() {
                run = Some(prepare());
            }
            let Some(run) = &mut run else { unreachable!("prepared at the first call") };
            bencher.iter_custom(|iterations| {
                let seconds = must(name, run(iterations));
                samples.extend_from_slice(&seconds);
                Duration::from_secs_f64(seconds.iter().sum())
            });
        });
        group.finish();
        self.record(name, shape, cost, &mut samples);
        samples
    }

    /// Appends the fastest run and the median to the record, when one is kept.
    pub fn record(&self, name: &str, shape: &str, cost: Cost, samples: &mut [f64]) {
        let Some(path) = std::env::var_os(RECORD).filter(|_| !self.testing && !samples.is_empty()) else { return };
        let seconds = median(samples);
        let info = self.gpu.info();
        // On a software driver the processor is the device: what else runs on it shows.
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default();
        let row = format!(
            "\"{}\",\"{} {}\",{},{name},\"{shape}\",{},{:.4},{:.4},{:.3},{:.3},{},{load}\n",
            info.name,
            info.driver,
            info.driver_info,
            self.name,
            samples.len(),
            samples[0] * 1e3,
            seconds * 1e3,
            cost.flops / seconds / 1e9,
            cost.bytes / seconds / 1e9,
            self.clock,
        );
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        if let Err(error) = file.and_then(|mut file| file.write_all(row.as_bytes())) {
            panic!("{}: {error}", path.display());
        }
    }

    /// Writes Criterion's summary.
    pub fn finish(self) {
        self.criterion.final_summary();
    }
}

/// The benches of one operation.
pub struct Bench {
    pub timer: Timer,
    op: &'static dyn Operation,
}

impl Bench {
    /// As [`Timer::new`].
    pub fn new(op: &'static dyn Operation) -> Self {
        Bench { timer: Timer::new(op.spec().name), op }
    }

    /// Times cases that the reference computes in seconds.
    pub fn cases(&mut self, cases: &[Case]) {
        self.chosen(cases, None);
    }

    /// Times cases whose reference would take minutes: a part of each is verified.
    pub fn parts(&mut self, cases: &[Case], part: Part) {
        self.chosen(cases, Some(part));
    }

    /// Times cases for hardware, whose reference would take minutes: a part of each is verified.
    pub fn large(&mut self, cases: &[Case], part: Part) {
        let software = self.timer.gpu.caps().software;
        let cases: Vec<Case> = cases.iter().filter(|case| case.quick || !software).cloned().collect();
        self.chosen(&cases, Some(part));
    }

    fn chosen(&mut self, cases: &[Case], part: Option<Part>) {
        let testing = self.timer.testing();
        for case in cases.iter().filter(|case| case.quick == testing) {
            if !self.timer.gpu.caps().f16 && case.settings.contains(&("dtype", "f16")) {
                eprintln!("{}/{}: skipped, the device cannot store f16", self.op.spec().name, case.name);
                continue;
            }
            let request = self.request(case);
            let cost = must(case.name, self.op.cost(&request));
            let (gpu, op) = (self.timer.gpu.clone(), self.op);
            self.timer.time(case.name, case.shape, cost, || {
                let mut run = must(case.name, op.prepare(&gpu, &request));
                let outputs = must(case.name, run());
                verify(op, &request, outputs, part);
                move |iterations| seconds(&gpu, iterations, || run().map(drop))
            });
        }
    }

    /// The tensors of a case.
    pub fn request(&self, case: &Case) -> Request {
        must(case.name, case.request(self.op, SEED))
    }
}

/// Compares what the device returned with the reference, and stops the bench when it is wrong.
pub fn verify(op: &dyn Operation, request: &Request, outputs: Vec<(String, Tensor)>, part: Option<Part>) {
    let name = op.spec().name;
    let mut got: Arrays = outputs.into_iter().map(|(key, tensor)| (key, must(name, tensor.array()))).collect();
    let mut request = request.clone();
    if let Some(part) = part {
        got = part(&got);
        request.tensors = part(&request.tensors);
    }
    let checks = must(name, Expected::new(op, &request)).compare(op, &got);
    if let Some(faults) = check::wrong(&checks) {
        panic!("{name} is wrong, so it is not timed: {faults}");
    }
}

/// The seconds of each of some iterations.
pub fn seconds(gpu: &Gpu, iterations: u64, mut run: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    if gpu.caps().timestamps {
        let (_, spans) = gpu.profile(|| (0..iterations).try_for_each(|_| run()))?;
        let each = spans.len() / iterations as usize;
        return Ok(spans.chunks(each).map(Span::total).collect());
    }
    gpu.finish()?;
    let start = Instant::now();
    (0..iterations).try_for_each(|_| run())?;
    gpu.finish()?;
    Ok(vec![start.elapsed().as_secs_f64() / iterations as f64; iterations as usize])
}

/// The one in the middle, of samples that are then in order.
pub fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
