// A sort by digits, second step: how many ids of earlier blocks have the same digit.
//
//     table[d,b] = sum_(i < b) table[d,i]        totals[d] = sum_i table[d,i]
//
// Shapes    table: [LANES, blocks]   totals: [LANES]
// Grid      one workgroup per value of the digit; each invocation adds up neighbouring blocks
// Memory    reads table twice, writes it once
// Source    count.wgsl
// Twin      src/ops/embedding/cpu.rs

#import index

const LANES: u32 = 256u; // invocations, and values of a digit

struct Params {
    first: u32,
    end: u32,
    blocks: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> table: array<u32>; // [LANES, blocks]
@group(0) @binding(2) var<storage, read_write> totals: array<u32>; // [LANES]

var<workgroup> sums: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let digit = params.first + spread(group, groups);
    if digit >= params.end {
        return;
    }
    let each = (params.blocks + LANES - 1u) / LANES;
    let begin = min(local * each, params.blocks);
    let end = min(begin + each, params.blocks);
    var sum = 0u;
    for (var block = begin; block < end; block++) {
        sum += table[digit * params.blocks + block];
    }
    sums[local] = sum;
    workgroupBarrier();
    var before = 0u;
    // No more invocations than blocks have any.
    for (var i = 0u; i < min(local, params.blocks); i++) {
        before += sums[i];
    }
    for (var block = begin; block < end; block++) {
        let at = digit * params.blocks + block;
        let here = table[at];
        table[at] = before;
        before += here;
    }
    if local == LANES - 1u {
        totals[digit] = before;
    }
}
