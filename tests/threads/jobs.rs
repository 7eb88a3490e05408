//! Quick cases of all operations, as work that tests/threads.rs and tests/soak.rs hand out.

use wattn::ops::{Case, Operation, REGISTRY, Request};
use wattn::{Gpu, Tensor};

/// A case of an operation with its tensors.
pub struct Job {
    pub op: &'static dyn Operation,
    pub case: Case,
    pub request: Request,
}

/// The quick cases that this device can run.
pub fn jobs(gpu: &Gpu) -> Vec<Job> {
    let of = |op: &'static dyn Operation| {
        op.cases().into_iter().filter(|case| case.quick).map(move |case| Job { op, request: case.request(op, 3).unwrap(), case })
    };
    let storable = |job: &Job| gpu.caps().f16 || job.request.settings.text("dtype") != Some("f16");
    REGISTRY.iter().flat_map(|&op| of(op)).filter(storable).collect()
}

impl Job {
    /// Uploads the tensors and records the operation.
    pub fn record(&self, gpu: &Gpu) -> Vec<(String, Tensor)> {
        let outputs = self.op.prepare(gpu, &self.request).and_then(|mut run| run());
        outputs.unwrap_or_else(|e| panic!("{} {}: {e}", self.op.spec().name, self.case.name))
    }
}
