// What the tags of a linear-chain CRF fall short of in each step: the terms of the negative log-likelihood.
//
//     difference[t] = n[t] - s[t]
//     s[t] = emission[t,y[t]] + transitions[y[t-1],y[t]]      y = tags; with start[y[0]] at the first step, and end[y[L-1]] at the last
//
// n is what forward.wgsl left, so that the sum over a sequence's steps is nll. Its terms are small where nll is, which log Z and the score are
// not. A step that is forbidden is -NOTHING. A tag out of range raises the flag, and scores nothing.
//
// Shapes    norms, tags, differences: [batch, time]   emissions: [batch, time, columns]   table: [columns + 2, columns]   lengths: [batch]
// Grid      one invocation per step, workgroups spread over x and y
// Memory    reads norms and tags once, an emission and a move for each step; writes differences once
// Source    Lafferty, McCallum & Pereira 2001
// Twin      src/ops/crf/cpu.rs

#import chain
#import flag

const LANES: u32 = 256u;

@group(0) @binding(1) var<storage, read> norms: array<f32>; // [batch, time]
@group(0) @binding(2) var<storage, read> emissions: array<f32>; // [batch, time, columns]
@group(0) @binding(3) var<storage, read> table: array<f32>; // [columns + 2, columns]
@group(0) @binding(4) var<storage, read> tags: array<i32>; // [batch, time]
@group(0) @binding(5) var<storage, read> lengths: array<i32>; // [batch]
@group(0) @binding(6) var<storage, read_write> differences: array<f32>; // [batch, time]
@group(0) @binding(7) var<storage, read_write> flag: array<atomic<u32>>; // one word

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = params.first + spread(group, groups) * LANES + local;
    if row >= params.rows {
        return;
    }
    let k = params.columns;
    let t = row % params.time;
    let length = u32(lengths[params.lengths_base + row / params.time]);
    if t >= length {
        return;
    }
    let tag = u32(tags[params.tags_base + row]);
    var score = 0.0;
    if tag < k {
        score = allowed(emissions[params.emissions_base + row * k + tag]);
        if t == 0u {
            score += table[k * k + tag];
        } else {
            let before = u32(tags[params.tags_base + row - 1u]);
            if before < k {
                score += table[before * k + tag];
            }
        }
        if t + 1u == length {
            score += table[(k + 1u) * k + tag];
        }
    } else {
        raise(params.flag);
    }
    let difference = norms[params.norms_base + row] - score;
    differences[params.differences_base + row] = select(difference, -NOTHING, is_nothing(score));
}
