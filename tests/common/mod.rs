//! The device of the tests. Without an adapter they fail; `WATTN_DEVICE` chooses one, as `--device` does.

use wattn::{Gpu, GpuOptions};

/// A device of the caller's own, which does not go by what somebody tuned on this machine.
pub fn open(options: GpuOptions) -> Gpu {
    let device = std::env::var("WATTN_DEVICE").unwrap_or_else(|_| "auto".into());
    Gpu::new(&GpuOptions { device, tuned: false, ..options }).unwrap_or_else(|e| panic!("these tests need an adapter: {e}"))
}
