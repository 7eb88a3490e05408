//! Memory that stays with a driver for every subgroup that waited at a barrier.

#[path = "../common/process.rs"]
mod process;

use wattn::gpu::{Bind, Binding, Kernel, Knobs, Params, Variant, Work};
use wattn::{DType, Gpu};

wattn::params! {
    struct BarriersParams { rounds: u32 }
}

/// Invocations wait for each other and pass values on.
static BARRIERS: Kernel = Kernel {
    name: "test/barriers",
    source: "
const LANES: u32 = 256u;

struct Params { rounds: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
var<workgroup> passed: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) workgroup: vec3<u32>) {
    passed[lane] = lane;
    for (var i = 0u; i < params.rounds; i++) {
        workgroupBarrier();
        let value = passed[(lane + 1u) % LANES];
        workgroupBarrier();
        passed[lane] = value;
    }
    y[workgroup.x * LANES + lane] = passed[lane];
}
",
    params: BarriersParams::FIELDS,
    bindings: &[Binding::write("y")],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Barriers {
    lanes: u32,
}

impl Variant for Barriers {
    fn kernel(&self) -> &'static Kernel {
        &BARRIERS
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", self.lanes)
    }
}

/// What the process has asked for and keeps, after a hundred dispatches alike that have ended.
pub fn memory_stays(gpu: &Gpu) -> Result<(), String> {
    const WORKGROUPS: u32 = 64;
    /// More than the threads of a driver take for their own.
    const ALLOWED: u64 = 64 << 20;
    let run = |lanes: u32| {
        let y = gpu.empty(DType::I32, &[(WORKGROUPS * lanes) as usize])?;
        let binds = [Bind::Write(y.view())];
        gpu.dispatch(Barriers { lanes }, &BarriersParams { rounds: 3 }, &binds, [WORKGROUPS, 1, 1], Work::default())?;
        gpu.finish()
    };
    let kept = || {
        // One invocation waits for nobody; after these the driver has its threads.
        (0..100).try_for_each(|_| run(1))?;
        let before = process::memory("VmData");
        (0..100).try_for_each(|_| run(256))?;
        Ok(process::memory("VmData").saturating_sub(before))
    };
    let kept = kept().map_err(|e: wattn::Error| e.to_string())?;
    if kept < ALLOWED { Ok(()) } else { Err(format!("{} MiB kept after dispatches that need 0", kept >> 20)) }
}
