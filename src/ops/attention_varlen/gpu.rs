//! The kernels' host side.

use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::ops::{Prepared, Request};
use crate::{Error, Result};

/// Every kernel variant.
pub(super) fn kernels(_caps: &Caps) -> Vec<AnyVariant> {
    Vec::new()
}

/// Runs the request on a device.
pub(super) fn prepare(_gpu: &Gpu, request: &Request) -> Result<Prepared> {
    super::Problem::of(request)?;
    Err(Error::Device { message: "attention_varlen has no kernels yet".into() })
}
