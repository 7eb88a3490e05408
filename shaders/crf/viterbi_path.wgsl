// The best path of a linear-chain CRF, from its last tag back along the pointers.
//
//     path[length-1] = last         path[t-1] = pointer[t,path[t]]         -1 past the length, and where no path is possible
//
// Shapes    pointers: [batch, time, columns]   lengths, last: [batch]   path: [batch, time]
// Grid      one invocation per sequence, workgroups spread over x and y
// Memory    reads one pointer a step, writes path once
// Source    Viterbi 1967
// Twin      src/ops/crf/cpu.rs

#import chain

const LANES: u32 = 64u;

@group(0) @binding(1) var<storage, read> pointers: array<u32>; // [batch, time, columns]
@group(0) @binding(2) var<storage, read> lengths: array<i32>; // [batch]
@group(0) @binding(3) var<storage, read> last: array<i32>; // [batch]
@group(0) @binding(4) var<storage, read_write> path: array<i32>; // [batch, time]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let sequence = spread(group, groups) * LANES + local;
    if sequence >= params.batch {
        return;
    }
    let length = u32(lengths[params.lengths_base + sequence]);
    let begin = params.path_base + row_of(sequence, 0u);
    // A later part of the sequence, which came before this dispatch, has left the tag of this part's last step.
    let past = params.first + params.steps;
    var tag = path[begin + past - 1u];
    for (var left = params.steps; left > 0u; left--) {
        let t = params.first + left - 1u;
        if t >= length {
            tag = -1;
        } else if t + 1u == length {
            tag = last[params.last_base + sequence];
        }
        path[begin + t] = tag;
        if t > 0u && tag >= 0 {
            tag = i32(pointers[params.pointers_base + row_of(sequence, t) * params.columns + u32(tag)]);
        }
    }
    if params.first > 0u {
        path[begin + params.first - 1u] = tag;
    }
}
