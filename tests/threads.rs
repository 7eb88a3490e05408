//! One device, many threads, for a long time: the same bits as alone, and no memory that stays behind.

use std::sync::Barrier;

use wattn::ops::{Case, Operation, REGISTRY, Request};
use wattn::{Gpu, GpuOptions, Tensor};

fn open() -> Gpu {
    let device = std::env::var("WATTN_DEVICE").unwrap_or_else(|_| "auto".into());
    Gpu::new(&GpuOptions { device, ..Default::default() }).unwrap_or_else(|e| panic!("these tests need an adapter: {e}"))
}

/// A case of an operation with its tensors.
struct Job {
    op: &'static dyn Operation,
    case: Case,
    request: Request,
}

/// The quick cases that this device can run.
fn jobs(gpu: &Gpu) -> Vec<Job> {
    let of = |op: &'static dyn Operation| {
        op.cases().into_iter().filter(|case| case.quick).map(move |case| Job { op, request: case.request(op, 3).unwrap(), case })
    };
    let storable = |job: &Job| gpu.caps().f16 || job.request.settings.text("dtype") != Some("f16");
    REGISTRY.iter().flat_map(|&op| of(op)).filter(storable).collect()
}

impl Job {
    /// Uploads the tensors, runs the operation and returns the bits of what it makes.
    fn run(&self, gpu: &Gpu) -> Vec<(String, Vec<u8>)> {
        let outputs = self.record(gpu);
        outputs.into_iter().map(|(name, tensor)| (name, tensor.array().unwrap().bytes().to_vec())).collect()
    }

    fn record(&self, gpu: &Gpu) -> Vec<(String, Tensor)> {
        let named = |e| -> ! { panic!("{} {}: {e}", self.op.spec().name, self.case.name) };
        self.op.prepare(gpu, &self.request).and_then(|mut run| run()).unwrap_or_else(|e| named(e))
    }
}

#[test]
fn handles_and_tensors_go_anywhere() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Gpu>();
    anywhere::<Tensor>();
    anywhere::<wattn::Error>();
    anywhere::<wattn::ops::attention::KvCache>();
}

/// Each thread begins with another operation and does all of them.
#[test]
fn eight_threads_get_the_bits_that_one_gets() {
    const THREADS: usize = 8;
    let gpu = open();
    let jobs = jobs(&gpu);
    let alone: Vec<_> = jobs.iter().map(|job| job.run(&gpu)).collect();
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (gpu, jobs, alone, start) = (gpu.clone(), &jobs, &alone, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..3 * jobs.len() {
                    let job = (thread * jobs.len() / THREADS + round) % jobs.len();
                    let Job { op, case, .. } = &jobs[job];
                    assert!(jobs[job].run(&gpu) == alone[job], "{} {} in thread {thread}, round {round}", op.spec().name, case.name);
                }
            });
        }
    });
}

/// Uploads in one thread come between what another records and submits: memory that recorded work still reads must not be given to them,
/// and a read in a third thread does not make that work submitted.
#[test]
fn uploads_do_not_overtake_the_work_of_other_threads() {
    let gpu = open();
    let sum = |gpu: &Gpu, x: &Tensor| wattn::ops::sum::forward(gpu, x, &Default::default());
    let upload = |gpu: &Gpu, value: f32| gpu.tensor(&[value; 1000], &[1000]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let gpu = gpu.clone();
            scope.spawn(move || {
                for round in 0..300 {
                    let value = (thread * 300 + round) as f32;
                    // Dropped as soon as it is recorded, so that its memory is free for others.
                    let y = { sum(&gpu, &upload(&gpu, value)).unwrap() };
                    assert_eq!(y.read_blocking::<f32>().unwrap(), [1000.0 * value], "thread {thread}, round {round}");
                }
            });
        }
    });
}

/// Bytes of this process that are in memory.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

#[test]
#[cfg(target_os = "linux")]
fn a_long_time() {
    const OPERATIONS: usize = 20_000;
    const WARM: usize = 200;
    /// Less than a kilobyte for each operation; a bind group that stayed would be more.
    const ALLOWED: u64 = 16 << 20;
    let gpu = open();
    let jobs = jobs(&gpu);
    assert!(jobs.len() <= WARM / 2, "{} jobs are not warm after {WARM} operations", jobs.len());
    let run = |i: usize| {
        let outputs = jobs[i % jobs.len()].record(&gpu);
        // A read now and then: between them the recorder decides what is submitted when.
        if i % 7 == 0 {
            outputs[0].1.array().unwrap();
        }
    };
    (0..WARM).for_each(run);
    gpu.finish().unwrap();
    let (memory, before) = (gpu.memory(), resident());
    (WARM..OPERATIONS).for_each(run);
    gpu.finish().unwrap();
    assert_eq!(gpu.memory().in_use, memory.in_use);
    let (now, after) = (gpu.memory(), resident());
    println!("{memory:?} and {before} bytes resident after {WARM} operations; {now:?} and {after} after {OPERATIONS}");
    assert!(now.pooled <= memory.pooled + memory.pooled / 4, "the pool grew from {} to {} bytes", memory.pooled, now.pooled);
    assert!(after < before + ALLOWED, "from {before} to {after} bytes resident");
}
