//! A kernel of one's own in a chain: ReLU written here, between two products of wattn.
//!
//!     cargo run --release --example own_kernel
//!
//! A kernel is a WGSL text, its params and bindings declared once, and a type whose values are its variants. It may import
//! wattn's library (shaders/lib), and its dispatches join the open submission: y = relu(x w1) w2 runs without a return to the host.

use wattn::gpu::{Bind, Binding, Kernel, Knobs, Params, Variant, Work, spread};
use wattn::ops::matmul;
use wattn::{DType, Gpu, GpuOptions, Result, Tensor};

// The uniform at binding 0, the same fields as in the shader.
wattn::params! {
    struct ReluParams { count: u32, slope: f32 }
}

static RELU: Kernel = Kernel {
    name: "own/relu",
    source: "
#import index

const LANES: u32 = 64u;

struct Params {
    count: u32,
    // What negative numbers are multiplied by.
    slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = spread(group, groups) * LANES + local;
    if i < params.count {
        y[i] = select(params.slope * x[i], x[i], x[i] > 0.0);
    }
}",
    params: ReluParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

/// The variants: here the size of a workgroup. Each value is compiled once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Relu {
    lanes: u32,
}

impl Variant for Relu {
    fn kernel(&self) -> &'static Kernel {
        &RELU
    }

    fn knobs(&self) -> Knobs {
        // Replaces the value of `const LANES` in the shader.
        Knobs::new().u32("LANES", self.lanes)
    }
}

fn relu(gpu: &Gpu, x: &Tensor, slope: f32) -> Result<Tensor> {
    let y = gpu.empty(DType::F32, x.shape())?;
    let variant = Relu { lanes: 128 };
    let params = ReluParams { count: x.len() as u32, slope };
    let groups = spread(x.len().div_ceil(variant.lanes as usize), gpu.caps());
    // What it costs: `gpu.profile` divides it by the time.
    let work = Work { flops: x.len() as f64, bytes: 2.0 * x.bytes() as f64 };
    gpu.dispatch(variant, &params, &[Bind::Read(x.view()), Bind::Write(y.view())], groups, work)?;
    Ok(y)
}

fn main() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::default())?;
    let x = gpu.tensor(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    let w1 = gpu.tensor(&[1.0f32, -1.0, 1.0, -1.0, 1.0, -1.0], &[3, 2])?;
    let w2 = gpu.tensor(&[2.0f32, 100.0], &[2, 1])?;

    let hidden = matmul::forward(&gpu, &x, &w1, None, &Default::default())?;
    let hidden = relu(&gpu, &hidden, 0.5)?;
    let y = matmul::forward(&gpu, &hidden, &w2, None, &Default::default())?;

    // x w1 = [[6, -6], [15, -15]], whose negative numbers are halved.
    let y = y.read_blocking::<f32>()?;
    assert_eq!(y, [2.0 * 6.0 - 100.0 * 3.0, 2.0 * 15.0 - 100.0 * 7.5]);
    println!("{y:?} after {} dispatches in {} submissions", gpu.counters().dispatches, gpu.counters().submissions);
    Ok(())
}
