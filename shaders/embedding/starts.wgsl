// Where the ids of each row begin among the sorted ones.
//
//     starts[r] = the first k with key(order[k]) >= low + r
//
// Shapes    ids, order: [count]   starts: [held + 1]
// Grid      one invocation per row
// Memory    log2 count places of order for each row
// Twin      src/ops/embedding/cpu.rs

#import ids
#import index

const LANES: u32 = 256u; // invocations

@group(0) @binding(1) var<storage, read> ids: array<i32>; // [count]
@group(0) @binding(2) var<storage, read> order: array<u32>; // [count]
@group(0) @binding(3) var<storage, read_write> starts: array<u32>; // [held + 1]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = params.first + spread(group, groups);
    let row = workgroup * LANES + local;
    if workgroup >= params.end || row > params.held {
        return;
    }
    var low = 0u;
    var high = params.count;
    while low < high {
        let middle = (low + high) / 2u;
        if key_of(order[middle]) < params.low + row {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    starts[row] = low;
}
