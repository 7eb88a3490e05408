// The gradients of the sorted ids, added up slice by slice, of those slices whose ids are all the same.
//
//     partials[s,c] = sum_k d_y[order[k],c]        over the places k of slice s
//
// A row that most ids name is thus worked on by many. Of other slices partials hold anything, and nothing reads them.
//
// Shapes    ids, order: [count]   d_y: [count, cols]   partials: [slices, cols]
// Grid      one invocation per element of partials
// Numerics  f32; in order of the ids
// Memory    reads d_y once
// Twin      src/ops/embedding/cpu.rs

#import ids
#import index

const LANES: u32 = 256u; // invocations

@group(0) @binding(1) var<storage, read> ids: array<i32>; // [count]
@group(0) @binding(2) var<storage, read> order: array<u32>; // [count]
@group(0) @binding(3) var<storage, read> d_y: array<f32>; // [count, cols]
@group(0) @binding(4) var<storage, read_write> partials: array<f32>; // [slices, cols]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = params.first + spread(group, groups);
    let at = workgroup * LANES + local;
    let slice = at / params.cols;
    let col = at % params.cols;
    if workgroup >= params.end || slice >= params.count / params.slice {
        return;
    }
    let begin = slice * params.slice;
    let end = begin + params.slice;
    let key = key_of(order[begin]);
    if key == params.vocabulary || key != key_of(order[end - 1u]) {
        return;
    }
    var sum = 0.0;
    for (var k = begin; k < end; k++) {
        sum += d_y[params.d_y_base + order[k] * params.cols + col];
    }
    partials[at] = sum;
}
