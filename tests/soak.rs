//! A long time on one device leaves no memory behind. Alone in its process, whose memory it looks at.
#![cfg(target_os = "linux")]

mod common;
#[path = "threads/jobs.rs"]
mod jobs;

use jobs::jobs;
use wattn::GpuOptions;

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

#[test]
fn twenty_thousand_operations_leave_nothing_behind() {
    const OPERATIONS: usize = 20_000;
    const WARM: usize = 200;
    /// The process itself takes longer: SwiftShader's own stacks and caches grow for the first thousand.
    const SETTLED: usize = 2_000;
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
    let memory = gpu.memory();
    (WARM..SETTLED).for_each(run);
    gpu.finish().unwrap();
    let before = resident();
    (SETTLED..OPERATIONS).for_each(run);
    gpu.finish().unwrap();
    assert_eq!(gpu.memory().in_use, memory.in_use);
    let (now, after) = (gpu.memory(), resident());
    println!("{memory:?} after {WARM} operations, {now:?} after {OPERATIONS}; {before} bytes resident after {SETTLED}, {after} at the end");
    assert!(now.pooled <= memory.pooled + memory.pooled / 4, "the pool grew from {} to {} bytes", memory.pooled, now.pooled);
    assert!(after < before + ALLOWED, "from {before} to {after} bytes resident");
}
