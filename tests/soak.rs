//! A long time on one device leaves no memory behind. Alone in its process, whose memory it looks at.
#![cfg(target_os = "linux")]

mod common;
#[path = "drivers/faults.rs"]
mod faults;
#[path = "threads/jobs.rs"]
mod jobs;
#[path = "common/process.rs"]
mod process;

use faults::{KNOWN, expected, judge};
use jobs::jobs;
use wattn::{Gpu, GpuOptions};

/// The names of what the device gave for something else than the pool's buffers, where the backend keeps count. Their sizes say less: one
/// holds the padding of the place that it was given.
fn beyond_the_pool(gpu: &Gpu) -> Option<Vec<String>> {
    let report = gpu.device().generate_allocator_report()?;
    let mut names: Vec<String> = report.allocations.into_iter().map(|allocation| allocation.name).collect();
    names.retain(|name| name != "wattn pool");
    names.sort();
    Some(names)
}

#[test]
fn twenty_thousand_operations_leave_nothing_behind() {
    const OPERATIONS: usize = 20_000;
    const WARM: usize = 200;
    /// Less than a kilobyte for each operation; a bind group that stayed would be more.
    const ALLOWED: u64 = 16 << 20;
    let gpu = common::open(GpuOptions::default());
    let jobs = jobs(&gpu);
    assert!(jobs.len() <= WARM / 2, "{} jobs are not warm after {WARM} operations", jobs.len());
    let run = |i: usize| {
        let outputs = jobs[i % jobs.len()].record(&gpu);
        // A read now and then: between them the recorder decides what is submitted when.
        if i.is_multiple_of(7) {
            outputs[0].1.array().unwrap();
        }
    };
    (0..WARM).for_each(run);
    gpu.finish().unwrap();
    let (memory, others, before) = (gpu.memory(), beyond_the_pool(&gpu), process::memory("VmRSS"));
    (WARM..OPERATIONS).for_each(run);
    gpu.finish().unwrap();
    let (now, after) = (gpu.memory(), process::memory("VmRSS"));
    println!("{memory:?} after {WARM} operations, {now:?} after {OPERATIONS}; {before} bytes resident then, {after} at the end");
    assert_eq!(now.in_use, memory.in_use);
    assert!(now.pooled <= memory.pooled + memory.pooled / 4, "the pool grew from {} to {} bytes", memory.pooled, now.pooled);
    assert_eq!(beyond_the_pool(&gpu), others);
    let grown = after.saturating_sub(before);
    let result = if grown < ALLOWED { Ok(()) } else { Err(format!("the process grew by {grown} bytes")) };
    judge(expected(KNOWN, gpu.info(), "soak", "process", ""), result).unwrap();
}
