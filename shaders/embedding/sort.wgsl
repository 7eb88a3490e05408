// A sort by digits, last step: each id to its place.
//
//     place(k) = ids of a lower digit + ids of the same digit in earlier blocks, and earlier in its own
//
// Ids of the same digit stay in their order, so sorting by all digits, the lowest first, sorts by the key, and equal keys by position.
//
// Shapes    ids, order, sorted: [count]   table: [LANES, blocks]   totals: [LANES]
// Grid      one workgroup per block of LANES ids, one invocation per id
// Memory    reads and writes the order once; the table at one place for each id
// Source    count.wgsl
// Twin      src/ops/embedding/cpu.rs

#import digits
#import index

@group(0) @binding(1) var<storage, read> ids: array<i32>; // [count]
@group(0) @binding(2) var<storage, read> order: array<u32>; // [count]
@group(0) @binding(3) var<storage, read> table: array<u32>; // [LANES, blocks]
@group(0) @binding(4) var<storage, read> totals: array<u32>; // [LANES]
@group(0) @binding(5) var<storage, read_write> sorted: array<u32>; // [count]

var<workgroup> held: array<u32, LANES>;

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
    held[local] = totals[local];
    let mine = show_digits(block, local);
    if mine == LANES {
        return;
    }
    var place = table[mine * params.blocks + block];
    for (var i = 0u; i < LANES; i++) {
        place += select(0u, held[i], i < mine);
        place += select(0u, 1u, i < local && digits[i] == mine);
    }
    sorted[place] = in_place(block * LANES + local);
}
