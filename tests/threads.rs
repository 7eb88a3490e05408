//! One device and many threads: the same bits as alone.

mod common;
#[path = "threads/jobs.rs"]
mod jobs;

use std::sync::Barrier;

use jobs::{Job, jobs};
use wattn::{Gpu, GpuOptions, Tensor};

#[test]
fn handles_and_tensors_go_anywhere() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Gpu>();
    anywhere::<Tensor>();
    anywhere::<wattn::Error>();
    anywhere::<wattn::ops::attention::KvCache>();
}

/// The bits of what a job makes.
fn run(job: &Job, gpu: &Gpu) -> Vec<(String, Vec<u8>)> {
    job.record(gpu).into_iter().map(|(name, tensor)| (name, tensor.array().unwrap().bytes().to_vec())).collect()
}

/// Each thread begins with another operation and does all of them.
#[test]
fn eight_threads_get_the_bits_that_one_gets() {
    const THREADS: usize = 8;
    let gpu = common::open(GpuOptions::default());
    let jobs = jobs(&gpu);
    let alone: Vec<_> = jobs.iter().map(|job| run(job, &gpu)).collect();
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (gpu, jobs, alone, start) = (gpu.clone(), &jobs, &alone, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..3 * jobs.len() {
                    let job = (thread * jobs.len() / THREADS + round) % jobs.len();
                    let Job { op, case, .. } = &jobs[job];
                    assert!(run(&jobs[job], &gpu) == alone[job], "{} {} in thread {thread}, round {round}", op.spec().name, case.name);
                }
            });
        }
    });
}

/// Uploads in one thread come between what another records and submits: memory that recorded work still reads must not be given to them,
/// and a read in a third thread does not make that work submitted.
#[test]
fn uploads_do_not_overtake_the_work_of_other_threads() {
    let gpu = common::open(GpuOptions::default());
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
