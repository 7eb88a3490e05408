//! A STAND-IN without kernels: it evaluates the reference and uploads what comes out, so that the tests around it can run.

use super::Lstm;
use crate::Result;
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::ops::{Prepared, Request, run_reference};

/// None yet.
pub(super) fn kernels(_caps: &Caps) -> Vec<AnyVariant> {
    Vec::new()
}

/// The reference's results.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    let results = run_reference(&Lstm, request)?;
    let tensors = results.iter().map(|(name, array)| Ok((name.clone(), gpu.upload(array)?))).collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move || Ok(tensors.clone())))
}
