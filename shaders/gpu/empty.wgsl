// Nothing: what is left is the cost of a launch.
//
// Shapes    y: [1]
// Grid      one workgroup of one invocation
// Memory    y is written only when the host says so, which it never does; but it is bound, so one launch waits for the one before it as
//           the kernels of a chain do
// Twin      src/gpu/ceilings/measure.rs

struct Params {
    write: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(1)
fn main() {
    if (params.write != 0u) {
        y[0] = params.write;
    }
}
