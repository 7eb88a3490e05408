// The rival of the tiled product: one invocation for each output, which walks along k.
//
//     y[i,j] = sum_k a[i,k] b[k,j]
//
// Shapes    a: [m, k]   b: [k, n]   y: [m, n]
// Grid      workgroups of SIDE x SIDE; neighbours in x work on neighbouring columns, so that they read neighbours of b
// Numerics  f32, one sum
// Memory    reads a n times and b m times, writes y once

const SIDE: u32 = 16u;

struct Params {
    m: u32,
    n: u32,
    k: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // [m, k]
@group(0) @binding(2) var<storage, read> b: array<f32>; // [k, n]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [m, n]

@compute @workgroup_size(SIDE, SIDE)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.y;
    let j = id.x;
    if i >= params.m || j >= params.n {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < params.k; k++) {
        sum += a[i * params.k + k] * b[k * params.n + j];
    }
    y[i * params.n + j] = sum;
}
