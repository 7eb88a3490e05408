// A sort by digits, first step: how often each value of a digit occurs in each block of ids.
//
//     table[d,b] = how many ids of block b have the digit d
//
// Shapes    ids, order: [count]   table: [LANES, blocks]
// Grid      one workgroup per block of LANES ids; each invocation counts one value
// Memory    reads ids and order once, writes table once
// Source    Satish, Harris, Garland 2009, "Designing efficient sorting algorithms for manycore GPUs": count, add up, put in place
// Twin      src/ops/embedding/cpu.rs

#import digits
#import index

@group(0) @binding(1) var<storage, read> ids: array<i32>; // [count]
@group(0) @binding(2) var<storage, read> order: array<u32>; // [count]
@group(0) @binding(3) var<storage, read_write> table: array<u32>; // [LANES, blocks]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = params.first + spread(group, groups);
    if block >= params.end {
        return;
    }
    show_digits(block, local);
    var found = 0u;
    for (var i = 0u; i < LANES; i++) {
        found += select(0u, 1u, digits[i] == local);
    }
    table[local * params.blocks + block] = found;
}
