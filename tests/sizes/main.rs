//! Sizes: more workgroups than one dimension of a dispatch holds, tensors larger than a binding, and index arithmetic at the ends of 32
//! bits. What needs gigabytes is in big.rs, which scripts/test-sizes.sh runs.
//!
//! Without an adapter the tests fail. `WATTN_DEVICE` chooses one, as `--device` does.

mod bindings;
mod fill;
mod indices;
mod workgroups;

use std::sync::OnceLock;

use wattn::{Gpu, GpuOptions};

fn open(options: GpuOptions) -> Gpu {
    let device = std::env::var("WATTN_DEVICE").unwrap_or_else(|_| "auto".into());
    Gpu::new(&GpuOptions { device, ..options }).unwrap_or_else(|e| panic!("these tests need an adapter: {e}"))
}

/// The default device.
fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(GpuOptions::default()))
}
