//! Faults of drivers that are known, as data: which driver, what fails on it, and with which message.
//!
//! A failure on record is no failure of wattn. What is on record and does not fail is one: then the driver is right again, and the record,
//! and what was built around the fault, can go.

use wattn::wgpu;

/// One fault of one driver.
pub struct Fault {
    /// The backend.
    pub backend: wgpu::Backend,
    /// The driver, as its adapter names it.
    pub driver: &'static str,
    /// How the descriptions of the faulty versions begin.
    pub versions: &'static [&'static str],
    /// What fails: the kernel of `main.rs` that shows the fault alone, and the cases that nothing works around it for.
    pub failures: &'static [Failure],
}

/// One case that fails.
pub struct Failure {
    /// The operation; `golden` for the cases of tests/golden, `soak` for what tests/soak.rs looks at, `kernel` for a kernel of `main.rs`.
    pub op: &'static str,
    /// The case, or the kernel.
    pub case: &'static str,
    /// The label of the tuning; empty where there is none.
    pub tuning: &'static str,
    /// A part of the message.
    pub message: &'static str,
}

/// All that is known.
pub const KNOWN: &[Fault] = &[
    // Invocations leave their loops after 65,535 rounds, silently. Found in 22.3.6 and 24.0.5, gone in 25.0.7. `Caps::max_rounds` works
    // around it.
    Fault {
        backend: wgpu::Backend::Vulkan,
        driver: "llvmpipe",
        versions: &["Mesa 22.", "Mesa 23.", "Mesa 24."],
        failures: &[Failure { op: "kernel", case: "long_loop", tuning: "", message: "65535 rounds instead of 70000" }],
    },
    // Every subgroup that waits at a barrier gets a stack of a megabyte. Stacks are used again but never given back, nor by one thread of
    // the driver to another, so their number grows with every dispatch that happens to need more of them in one place than any before.
    #[cfg(target_os = "linux")]
    Fault {
        backend: wgpu::Backend::Vulkan,
        driver: "SwiftShader driver",
        versions: &[""],
        failures: &[
            Failure { op: "kernel", case: "barriers", tuning: "", message: "MiB kept after dispatches that need 0" },
            Failure { op: "soak", case: "process", tuning: "", message: "the process grew by" },
        ],
    },
];

/// The message with which this case is known to fail on this driver.
pub fn expected(faults: &[Fault], info: &wgpu::AdapterInfo, op: &str, case: &str, tuning: &str) -> Option<&'static str> {
    let has = |fault: &&Fault| {
        let version = fault.versions.iter().any(|start| info.driver_info.starts_with(start));
        fault.backend == info.backend && fault.driver == info.driver && version
    };
    let mut failures = faults.iter().filter(has).flat_map(|fault| fault.failures);
    failures.find(|known| (known.op, known.case, known.tuning) == (op, case, tuning)).map(|known| known.message)
}

/// A result, seen with what is expected: `None` for the failure on record, an error for what a test should report.
pub fn judge<T>(expected: Option<&str>, result: Result<T, String>) -> Result<Option<T>, String> {
    match (expected, result) {
        (None, result) => result.map(Some),
        (Some(expected), Err(message)) if message.contains(expected) => Ok(None),
        (Some(expected), Err(message)) => Err(format!("{message}; on record for this driver is '{expected}'")),
        (Some(expected), Ok(_)) => Err(format!("does not fail; tests/drivers/faults.rs has '{expected}' on record for this driver")),
    }
}
