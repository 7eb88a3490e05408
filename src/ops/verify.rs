//! Runs a case on a device and compares it with the reference. Native only: it waits for the device.

use super::check::{Expected, TensorCheck};
use super::{Arrays, Case, Operation, Request, Tuning};
use crate::gpu::Gpu;
use crate::{Error, Result};

/// What became of one case on one device.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It ran; each tensor says whether it is right.
    Checked(Vec<TensorCheck>),
    /// The case stores f16 and the device cannot.
    Skipped(String),
}

/// Draws a case, runs it on the device under a tuning, reads the results and compares them.
///
/// # Errors
/// Those of the operation, f16 on a device without it excepted.
pub fn verify(gpu: &Gpu, op: &dyn Operation, case: &Case, tuning: &Tuning, seed: u64) -> Result<Outcome> {
    let request = case.request(op, seed)?;
    Expected::new(op, &request)?.verify(gpu, op, &request, tuning)
}

impl Expected {
    /// Runs the request on the device under a tuning and compares what comes back.
    ///
    /// # Errors
    /// As [`verify`].
    pub fn verify(&self, gpu: &Gpu, op: &dyn Operation, request: &Request, tuning: &Tuning) -> Result<Outcome> {
        let pinned = (tuning.pin)(gpu);
        let wants_f16 = request.settings.text("dtype") == Some("f16");
        let outputs = match op.prepare(&pinned, request).and_then(|mut run| run()) {
            Err(Error::Dtype { .. }) if wants_f16 && !gpu.caps().f16 => return Ok(Outcome::Skipped("the device cannot store f16".into())),
            other => other?,
        };
        let got: Arrays = outputs.into_iter().map(|(name, tensor)| Ok((name, tensor.array()?))).collect::<Result<_>>()?;
        Ok(Outcome::Checked(self.compare(op, &got)))
    }
}
