// The lengths of rows.
//
//     norms[r] = sqrt(sum_c x[r,c]^2)
//
// Shapes    x: [rows, cols]   norms: [rows]
// Grid      one workgroup per row, spread over x and y; its invocations stride over columns
// Numerics  f32; the partial sums of the invocations are added in a tree
// Memory    reads x once, writes norms once
// Twin      src/ops/luong_attention/cpu.rs

#import index
#import reduce

struct Params {
    rows: u32,
    cols: u32,
    x_base: u32,
    norms_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read_write> norms: array<f32>; // [rows]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let row = spread(group, groups);
    if row >= params.rows {
        return;
    }
    let start = params.x_base + row * params.cols;
    var sum = 0.0;
    for (var col = lane.local; col < params.cols; col += LANES) {
        let value = x[start + col];
        sum += value * value;
    }
    let total = reduce_sum(lane, sum);
    if lane.local == 0u {
        norms[params.norms_base + row] = sqrt(total);
    }
}
