//! The kernels' host side. Replaced when the kernels land; until then running on a device is an error.

use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::ops::{Prepared, Request};
use crate::{Error, Result};

/// No kernels yet.
pub(super) fn kernels(_caps: &Caps) -> Vec<AnyVariant> {
    Vec::new()
}

/// Says that there are no kernels yet.
pub(super) fn prepare(_gpu: &Gpu, _request: &Request) -> Result<Prepared> {
    Err(Error::Device { message: "matmul has no kernels yet".into() })
}
