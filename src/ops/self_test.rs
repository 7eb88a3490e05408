//! The self-test: whether this driver computes what the kernels say, and if not, what to leave out. Native only: it waits for the device.

use std::collections::BTreeSet;

use super::check::{Expected, Outcome, wrong};
use super::{REGISTRY, Tuning};
use crate::gpu::{Gpu, Optional};
use crate::{Error, Result};

/// A case that a device gets wrong, or cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The operation.
    pub op: &'static str,
    /// The case, as `wattn verify --case` takes it.
    pub case: &'static str,
    /// The kernels that ran for it, each with its variant.
    pub variants: Vec<String>,
    /// What is wrong: tensors, errors and budgets, or what the driver said.
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {} [{}]", self.op, self.case, self.message, self.variants.join("; "))
    }
}

/// What a self-test found.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// Cases that ran on the handle that was tested.
    pub ran: usize,
    /// Those of them that are wrong.
    pub faults: Vec<Fault>,
    /// The optional features without which everything is right; empty when nothing is wrong.
    pub without: Vec<Optional>,
    /// A handle on which everything is right: the tested one, or one [without](Gpu::without) some feature. `None` when not even the plain
    /// kernels are.
    pub safe: Option<Gpu>,
}

impl SelfTest {
    /// The handle to work with.
    ///
    /// # Errors
    /// [`Error::Wrong`] when there is none on which everything is right.
    pub fn into_safe(self) -> Result<Gpu> {
        let faults = self.faults;
        self.safe.ok_or_else(|| Error::Wrong { faults: faults.iter().map(Fault::to_string).collect::<Vec<_>>().join(", ") })
    }
}

impl Gpu {
    /// Runs the quick cases of every operation, forward and backward, in the variants that this device would use, and compares them with
    /// the f64 reference: a driver that miscompiles a kernel returns numbers without an error. Where something is wrong, it tries to
    /// do without matrix units, subgroups and f16, each alone and then all of them. Every kernel is compiled once, which a software driver
    /// without a cache takes a minute for; otherwise it takes seconds, and is worth doing at an installation or with a new driver.
    ///
    /// ```no_run
    /// # use wattn::{Gpu, GpuOptions};
    /// let gpu = Gpu::new(&GpuOptions::default())?.self_test()?.into_safe()?;
    /// # Ok::<(), wattn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; [`Error::Argument`] on a handle to a user's own encoder. What is wrong is no error but a [`Fault`].
    pub fn self_test(&self) -> Result<SelfTest> {
        let (ran, faults) = run(self, |_| true)?;
        if faults.is_empty() {
            return Ok(SelfTest { ran, faults, without: vec![], safe: Some(self.clone()) });
        }
        let optional: Vec<Optional> = Optional::ALL.into_iter().filter(|feature| self.caps().has(*feature)).collect();
        let mut choices: Vec<Vec<Optional>> = optional.iter().map(|feature| vec![*feature]).collect();
        if optional.len() > 1 {
            choices.push(optional);
        }
        let was_wrong = |op: &str| faults.iter().any(|fault| fault.op == op);
        for without in choices {
            let gpu = self.without(&without);
            // What was wrong comes first: where it still is, the rest need not be compiled.
            if run(&gpu, was_wrong)?.1.is_empty() && run(&gpu, |op| !was_wrong(op))?.1.is_empty() {
                return Ok(SelfTest { ran, faults, without, safe: Some(gpu) });
            }
        }
        Ok(SelfTest { ran, faults, without: vec![], safe: None })
    }
}

/// The number of cases that ran of the chosen operations, and those that are wrong.
fn run(gpu: &Gpu, chosen: impl Fn(&str) -> bool) -> Result<(usize, Vec<Fault>)> {
    let (mut ran, mut faults) = (0, vec![]);
    for &op in REGISTRY.iter().filter(|op| chosen(op.spec().name)) {
        for case in op.cases().into_iter().filter(|case| case.quick) {
            let request = case.request(op, 0)?;
            let expected = Expected::new(op, &request)?;
            let verify = || expected.verify(gpu, op, &request, &Tuning::default());
            let message = match verify() {
                Ok(Outcome::Skipped(_)) => continue,
                Ok(Outcome::Checked(checks)) => wrong(&checks),
                Err(gone @ Error::DeviceLost { .. }) => return Err(gone),
                Err(error) => Some(error.to_string()),
            };
            ran += 1;
            if let Some(message) = message {
                let (_, spans) = gpu.profile(|| Ok(verify()))?;
                let variants: BTreeSet<String> = spans.iter().map(|span| format!("{} {}", span.kernel, span.variant)).collect();
                faults.push(Fault { op: op.spec().name, case: case.name, variants: variants.into_iter().collect(), message });
            }
        }
    }
    Ok((ran, faults))
}
