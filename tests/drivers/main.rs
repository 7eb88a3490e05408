//! Faults of drivers, each shown by the smallest kernel: on a driver that has it on record it must be there, and on any other it must not.
//!
//! `faults.rs` is the record, which tests/ops and tests/golden read too. scripts/test-drivers.sh runs all three on many drivers.

#[cfg(target_os = "linux")]
mod barriers;
#[path = "../common/mod.rs"]
mod common;
mod faults;
use faults::{Failure, Fault, KNOWN, expected, judge};
use wattn::gpu::{Bind, Binding, Kernel, Knobs, Params, Variant, Work};
use wattn::ops::find;
use wattn::{DType, Gpu, GpuOptions, wgpu};

/// Runs a kernel; an error is the fault.
type Show = fn(&Gpu) -> Result<(), String>;

/// The kernels, by the name that the record has for them.
const KERNELS: &[(&str, Show)] = &[
    ("long_loop", long_loop),
    #[cfg(target_os = "linux")]
    ("barriers", barriers::memory_stays),
];

wattn::params! {
    struct LongLoopParams { rounds: u32 }
}

/// Counts the rounds of a loop whose length only the device knows.
static LONG_LOOP: Kernel = Kernel {
    name: "test/long_loop",
    source: "
        struct Params { rounds: u32 }
        @group(0) @binding(0) var<uniform> params: Params;
        @group(0) @binding(1) var<storage, read_write> y: array<u32>;
        @compute @workgroup_size(1)
        fn main() {
            var ran = 0u;
            for (var i = 0u; i < params.rounds; i++) { ran += 1u; }
            y[0] = ran;
        }",
    params: LongLoopParams::FIELDS,
    bindings: &[Binding::write("y")],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LongLoop;

impl Variant for LongLoop {
    fn kernel(&self) -> &'static Kernel {
        &LONG_LOOP
    }

    fn knobs(&self) -> Knobs {
        Knobs::new()
    }
}

fn long_loop(gpu: &Gpu) -> Result<(), String> {
    const ROUNDS: u32 = 70_000;
    let run = || {
        let y = gpu.empty(DType::I32, &[1])?;
        gpu.dispatch(LongLoop, &LongLoopParams { rounds: ROUNDS }, &[Bind::Write(y.view())], [1; 3], Work::default())?;
        y.read_blocking::<i32>()
    };
    let ran = run().map_err(|e: wattn::Error| e.to_string())?[0];
    if ran == ROUNDS as i32 { Ok(()) } else { Err(format!("{ran} rounds instead of {ROUNDS}")) }
}

#[test]
fn faults_are_where_they_are_on_record() {
    let gpu = common::open(GpuOptions::default());
    let info = gpu.info();
    let mut wrong = vec![];
    for (name, run) in KERNELS {
        match judge(expected(KNOWN, info, "kernel", name, ""), run(&gpu)) {
            Ok(Some(())) => println!("{name}: ok"),
            Ok(None) => println!("{name}: a known fault of the driver"),
            Err(message) => wrong.push(format!("{name}: {message}")),
        }
    }
    assert!(wrong.is_empty(), "{} {}: {}", info.driver, info.driver_info, wrong.join("; "));
}

/// A record that matches nothing would never be missed: each has a kernel, and names cases that there are.
#[test]
fn records_name_what_there_is() {
    for fault in KNOWN {
        assert!(
            fault.failures.iter().any(|failure| failure.op == "kernel"),
            "no kernel shows the fault of {} {:?}",
            fault.driver,
            fault.versions
        );
        for Failure { op, case, message, .. } in fault.failures {
            let there = match *op {
                "kernel" => KERNELS.iter().any(|(name, _)| name == case),
                "soak" => *case == "process",
                "golden" => std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/data/{case}.json")).exists(),
                _ => find(op).is_some_and(|op| op.cases().iter().any(|known| known.name == *case)),
            };
            assert!(there && !message.is_empty(), "{op} {case}: '{message}'");
        }
    }
}

const FAULT: Fault = Fault {
    backend: wgpu::Backend::Vulkan,
    driver: "driver",
    versions: &["Driver 1.", "Driver 2.0"],
    failures: &[Failure { op: "sum", case: "long", tuning: "LANES=64", message: "over the budget" }],
};

#[test]
fn a_record_is_of_one_case_on_one_driver() {
    let known = |backend, driver: &str, version: &str, [op, case, tuning]: [&str; 3]| {
        let mut info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, backend);
        (info.driver, info.driver_info) = (driver.into(), version.into());
        expected(&[FAULT], &info, op, case, tuning)
    };
    let (vulkan, case) = (wgpu::Backend::Vulkan, ["sum", "long", "LANES=64"]);
    for version in ["Driver 1.5", "Driver 2.0.1"] {
        assert_eq!(known(vulkan, "driver", version, case), Some("over the budget"));
    }
    for (backend, driver, version) in
        [(wgpu::Backend::Metal, "driver", "Driver 1.5"), (vulkan, "other", "Driver 1.5"), (vulkan, "driver", "Driver 2.1")]
    {
        assert_eq!(known(backend, driver, version, case), None, "{backend} {driver} {version}");
    }
    for case in [["matmul", "long", "LANES=64"], ["sum", "short", "LANES=64"], ["sum", "long", "LANES=32"]] {
        assert_eq!(known(vulkan, "driver", "Driver 1.5", case), None, "{case:?}");
    }
}

#[test]
fn what_is_on_record_must_fail_as_recorded() {
    let failed = |message: &str| Err::<i32, _>(message.to_string());
    assert_eq!(judge(None, Ok(7)), Ok(Some(7)));
    assert_eq!(judge(None, failed("y is over the budget")), failed("y is over the budget").map(Some));
    assert_eq!(judge(Some("over the budget"), failed("y is over the budget")), Ok(None));
    assert!(judge(Some("over the budget"), failed("the device is lost")).unwrap_err().starts_with("the device is lost"));
    assert!(judge(Some("over the budget"), Ok(7)).unwrap_err().starts_with("does not fail"));
}
