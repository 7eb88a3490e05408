// The scores of a chain as its walks read them: those that forbid are marked, moves are those into or out of a tag.
//
//     table[i,j] = transitions[i,j]       or transitions[j,i]
//     table[K,j] = start[j]      table[K+1,j] = end[j]      K = columns
//
// Shapes    transitions: [columns, columns]   start, end: [columns]   table: [columns + 2, columns]
// Grid      one invocation per element of table, workgroups spread over x and y
// Memory    reads everything once, writes table once
// Twin      src/ops/crf/cpu.rs

#import chain

const LANES: u32 = 256u;

@group(0) @binding(1) var<storage, read> transitions: array<f32>; // [columns, columns]
@group(0) @binding(2) var<storage, read> start: array<f32>; // [columns]
@group(0) @binding(3) var<storage, read> end: array<f32>; // [columns]
@group(0) @binding(4) var<storage, read_write> table: array<f32>; // [columns + 2, columns]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let at = spread(group, groups) * LANES + local;
    let row = at / params.columns;
    let col = at % params.columns;
    if row >= params.columns + 2u {
        return;
    }
    var score: f32;
    if row == params.columns {
        score = start[params.start_base + col];
    } else if row > params.columns {
        score = end[params.end_base + col];
    } else {
        score = transitions[params.transitions_base + select(at, col * params.columns + row, params.transposed == 1u)];
    }
    table[at] = allowed(score);
}
