// Rows of a matrix by their ids.
//
//     y[i,c] = weight[ids[i],c]
//
// An id that is no row raises the flag, and its y is 0.
//
// Shapes    ids: [count]   weight: [held, cols], the rows from low on   y: [count, cols]
// Grid      one workgroup per LANES EACH elements of y, spread over x and y
// Memory    reads what it writes, once
// Twin      src/ops/embedding/cpu.rs

#import flag
#import ids
#import index

const LANES: u32 = 256u; // invocations
const EACH: u32 = 16u; // elements of an invocation

@group(0) @binding(1) var<storage, read> ids: array<i32>; // [count]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [held, cols]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [count, cols]
@group(0) @binding(4) var<storage, read_write> flag: array<atomic<u32>>; // one word

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
    let end = min(begin + LANES * EACH, params.count * params.cols);
    for (var at = begin + local; at < end; at += LANES) {
        let id = id_of(at / params.cols);
        let col = at % params.cols;
        // Wraps around for an id below the rows that are bound.
        let row = id - params.low;
        if row < params.held {
            y[params.y_base + at] = weight[params.weight_base + row * params.cols + col];
        } else if id >= params.vocabulary && params.last == 1u {
            y[params.y_base + at] = 0.0;
            if col == 0u {
                raise(params.flag);
            }
        }
    }
}
