// The sum of a loss: terms and their weights, a slice to a workgroup; where there is one slice left, the loss.
//
//     sums[s,j] = sum_i parts[i,j]                 over the parts i of slice s; j = 0 the terms, 1 their weights
//     loss      = sums[0,0]                        or, as a mean, sums[0,0] / sums[0,1]
//
// Shapes    parts: [count, 2]   sums: [slices, 2]   loss: one number
// Grid      one workgroup per LANES parts, spread over x and y
// Numerics  f32; parts are added pairwise; the mean of no weight is NaN
// Memory    reads parts once, writes sums once
// Twin      src/ops/loss/cpu.rs

#import index
#import math
#import reduce

struct Params {
    count: u32,
    slices: u32,
    last: u32,
    mean: u32,
    parts_base: u32,
    sums_base: u32,
    loss_base: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>; // [count, 2]
@group(0) @binding(2) var<storage, read_write> sums: array<f32>; // [slices, 2]
@group(0) @binding(3) var<storage, read_write> loss: array<u32>; // the bits of f32: NaN is never computed with

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let slice = spread(group, groups);
    if slice >= params.slices {
        return;
    }
    let i = slice * LANES + lane.local;
    var term = 0.0;
    var weight = 0.0;
    if i < params.count {
        term = parts[params.parts_base + 2u * i];
        weight = parts[params.parts_base + 2u * i + 1u];
    }
    let terms = reduce_sum(lane, term);
    let weights = reduce_sum(lane, weight);
    if lane.local == 0u {
        sums[params.sums_base + 2u * slice] = terms;
        sums[params.sums_base + 2u * slice + 1u] = weights;
        if params.last == 1u {
            let mean = select(bitcast<u32>(terms / weights), NOT_A_NUMBER, weights == 0.0);
            loss[params.loss_base] = select(bitcast<u32>(terms), mean, params.mean == 1u);
        }
    }
}
