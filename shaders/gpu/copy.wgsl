// A copy from one buffer to another: as fast as memory gets.
//
//     y[i] = x[i] + i
//
// Shapes    x, y: [count, 4]
// Grid      one workgroup for LANES * ITEMS vectors; an invocation takes every LANES-th of them
// Memory    reads x once, writes y once; the sum tells a vector that was copied from one that was not
// Twin      src/gpu/ceilings/measure.rs

const LANES: u32 = 256u;
const ITEMS: u32 = 8u;

struct Params {
    count: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = workgroup.x * LANES * ITEMS + lane;
    for (var item = 0u; item < ITEMS; item++) {
        let i = first + item * LANES;
        if (i < params.count) {
            y[i] = x[i] + vec4<u32>(i);
        }
    }
}
