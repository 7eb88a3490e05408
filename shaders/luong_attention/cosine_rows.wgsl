// Cosine scores, backward: the part of a gradient that comes through the length of a row.
//
//     d_x[r,c] -= sums[r] / |x[r]|^2 x[r,c]
//
// A row whose sum is 0 is left as it is: a length of 0 has no part in any score, and what a masked row holds is not used.
//
// Shapes    x, d_x: [rows, cols]   sums, norms: [rows]
// Grid      one invocation per element, workgroups spread over x and y
// Numerics  f32
// Memory    reads x, reads and writes d_x once
// Source    the derivative of cosine_forward.wgsl
// Twin      src/ops/luong_attention/cpu.rs

#import index

const LANES: u32 = 256u;

struct Params {
    count: u32,
    cols: u32,
    x_base: u32,
    sums_base: u32,
    norms_base: u32,
    d_x_base: u32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read> sums: array<f32>; // [rows]
@group(0) @binding(3) var<storage, read> norms: array<f32>; // [rows]
@group(0) @binding(4) var<storage, read_write> d_x: array<f32>; // [rows, cols]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let at = spread(group, groups) * LANES + local;
    if at >= params.count {
        return;
    }
    let row = at / params.cols;
    let sum = sums[params.sums_base + row];
    if sum != 0.0 {
        let norm = norms[params.norms_base + row];
        d_x[params.d_x_base + at] -= sum / norm * (x[params.x_base + at] / norm);
    }
}
