// The Viterbi recursion of a linear-chain CRF: the best path to each tag, relative to the best of the step before.
//
//     delta[0,j] = start[j] + emission[0,j]
//     delta[t,j] = emission[t,j] + max_i (delta[t-1,i] + transitions[i,j]) - n[t]         n[t] = max_i delta[t-1,i]
//     pointer[t,j] is the i of the maximum, the lowest where there are several
//     score      = sum_{t>0} n[t] + max_j (delta[length-1,j] + end[j])
//
// The last term is stored as n[0], so that the score is the sum of n. `last` is the j of the last maximum, -1 where no path is possible.
//
// Shapes    emissions, pointers: [batch, time, columns]   table: [columns + 2, columns]   lengths, last: [batch]   norms: [batch, time]
//           state: [batch, columns], delta where the next dispatch goes on
// Grid      one workgroup per sequence, spread over x and y; an invocation has one tag
// Numerics  f32, added in the order that the formula has; delta stays small, so that scores of few digits are compared exactly
// Memory    reads emissions once, the table once a step; writes pointers once
// Source    Viterbi 1967; Forney 1973, "The Viterbi algorithm"
// Twin      src/ops/crf/cpu.rs

#import chain_step

@group(0) @binding(1) var<storage, read> emissions: array<f32>; // [batch, time, columns]
@group(0) @binding(2) var<storage, read> table: array<f32>; // [columns + 2, columns]
@group(0) @binding(3) var<storage, read> lengths: array<i32>; // [batch]
@group(0) @binding(4) var<storage, read_write> pointers: array<u32>; // [batch, time, columns]
@group(0) @binding(5) var<storage, read_write> norms: array<f32>; // [batch, time]
@group(0) @binding(6) var<storage, read_write> last: array<i32>; // [batch]
@group(0) @binding(7) var<storage, read_write> state: array<f32>; // [batch, columns]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) tag: u32,
) {
    let sequence = spread(group, groups);
    if sequence >= params.batch {
        return;
    }
    let length = u32(lengths[params.lengths_base + sequence]);
    let past = min(params.first + params.steps, length);
    if params.first >= past {
        if length == 0u && tag == 0u {
            last[params.last_base + sequence] = -1;
        }
        return;
    }
    let present = tag < params.columns;
    let state_at = params.state_base + sequence * params.columns + tag;
    var delta = NOTHING;
    if present && params.first == 0u {
        let at = row_of(sequence, 0u) * params.columns + tag;
        delta = or_nothing(table[start_at(tag)] + allowed(emissions[params.emissions_base + at]));
    } else if present {
        delta = state[state_at];
    }
    held[tag] = delta;
    workgroupBarrier();

    for (var t = max(params.first, 1u); t < past; t++) {
        if present {
            let row = row_of(sequence, t);
            let emission = allowed(emissions[params.emissions_base + row * params.columns + tag]);
            let best = best_of(tag, params.columns);
            let norm = norm_of_highest();
            delta = or_nothing((emission + best.value) - norm);
            pointers[params.pointers_base + row * params.columns + tag] = best.tag;
            if tag == 0u {
                norms[params.norms_base + row] = norm;
            }
        }
        workgroupBarrier();
        held[tag] = delta;
        workgroupBarrier();
    }

    if past < length {
        if present {
            state[state_at] = delta;
        }
    } else if tag == 0u {
        let best = best_of(end_at(0u), 1u);
        norms[params.norms_base + row_of(sequence, 0u)] = or_nothing(best.value);
        last[params.last_base + sequence] = select(i32(best.tag), -1, is_nothing(best.value));
    }
}
