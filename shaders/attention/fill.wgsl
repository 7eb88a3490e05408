// Writes one value everywhere: the results of sequences without queries or without keys.
//
// Shapes    y: [count] words
// Grid      one invocation per word, workgroups spread over x and y
// Memory    writes y once
// Twin      src/ops/attention_varlen/cpu.rs

#import index

const LANES: u32 = 256u;

struct Params {
    count: u32,
    y_base: u32,
    bits: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>; // [count]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = spread(group, groups) * LANES + local;
    if i < params.count {
        y[params.y_base + i] = params.bits;
    }
}
