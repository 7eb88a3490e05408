//! The kernels' host side. Replaced when the kernels land; until then running on a device is an error.

use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::ops::{Prepared, Request};
use crate::{Error, Result};

/// No kernels yet.
pub(super) fn kernels(_caps: &Caps) -> Vec<AnyVariant> {
    Vec::new()
}

/// Checks the request, and says that there are no kernels yet.
pub(super) fn prepare(_gpu: &Gpu, request: &Request) -> Result<Prepared> {
    super::Problem::of(request)?;
    Err(Error::Device { message: "attention_varlen has no kernels yet".into() })
}
