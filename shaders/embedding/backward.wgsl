// The gradient of an embedding's weight, from the sorted ids.
//
//     d_weight[r,c] = sum_k d_y[order[k],c]        starts[r] <= k < starts[r+1]
//
// The places of a row are some before its first whole slice, whole slices, and some after the last. Of a slice partials have the sum.
//
// Shapes    order: [count]   starts: [held + 1]   d_y: [count, cols]   partials: [slices, cols]   d_weight: [held, cols]
// Grid      one workgroup per LANES EACH elements of d_weight, spread over x and y
// Numerics  f32; in order of the ids
// Memory    reads d_y once, except what is in partials; writes d_weight once
// Twin      src/ops/embedding/cpu.rs

#import index

const LANES: u32 = 256u; // invocations
const EACH: u32 = 16u; // elements of an invocation

struct Params {
    first: u32,
    end: u32,
    cols: u32,
    // Rows of this dispatch.
    held: u32,
    slice: u32,
    accumulate: u32,
    d_y_base: u32,
    d_weight_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> order: array<u32>; // [count]
@group(0) @binding(2) var<storage, read> starts: array<u32>; // [held + 1]
@group(0) @binding(3) var<storage, read> d_y: array<f32>; // [count, cols]
@group(0) @binding(4) var<storage, read> partials: array<f32>; // [slices, cols]
@group(0) @binding(5) var<storage, read_write> d_weight: array<f32>; // [held, cols]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = params.first + spread(group, groups);
    if workgroup >= params.end {
        return;
    }
    let begin = workgroup * LANES * EACH;
    let end = min(begin + LANES * EACH, params.held * params.cols);
    for (var at = begin + local; at < end; at += LANES) {
        let row = at / params.cols;
        let col = at % params.cols;
        let open = starts[row];
        let stop = starts[row + 1u];
        let whole = (open + params.slice - 1u) / params.slice;
        let past = stop / params.slice;
        let sliced = whole < past;
        var sum = 0.0;
        if params.accumulate == 1u {
            sum = d_weight[params.d_weight_base + at];
        }
        let head = select(stop, whole * params.slice, sliced);
        for (var k = open; k < head; k++) {
            sum += d_y[params.d_y_base + order[k] * params.cols + col];
        }
        if sliced {
            for (var slice = whole; slice < past; slice++) {
                sum += partials[slice * params.cols + col];
            }
            for (var k = past * params.slice; k < stop; k++) {
                sum += d_y[params.d_y_base + order[k] * params.cols + col];
            }
        }
        d_weight[params.d_weight_base + at] = sum;
    }
}
