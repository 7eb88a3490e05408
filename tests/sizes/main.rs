//! Sizes: more workgroups than one dimension of a dispatch holds, tensors larger than a binding, and index arithmetic at the ends of 32
//! bits. What needs gigabytes is in big.rs, which scripts/test-sizes.sh runs.
//!
//! Without an adapter the tests fail. `WATTN_DEVICE` chooses one, as `--device` does.

mod bindings;
#[path = "../common/mod.rs"]
mod common;
mod fill;
mod indices;
mod workgroups;

use std::sync::OnceLock;

use common::open;
use wattn::{Gpu, GpuOptions};

/// The default device.
fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(GpuOptions::default()))
}
