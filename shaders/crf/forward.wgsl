// The forward recursion of a linear-chain CRF, relative to a normaliser in each step.
//
//     alpha[0,j] = start[j] + emission[0,j]
//     alpha[t,j] = emission[t,j] + log sum_i exp(alpha[t-1,i] + transitions[i,j]) - n[t]        n[t] = max_i alpha[t-1,i]
//     log Z      = sum_{t>0} n[t] + log sum_j exp(alpha[length-1,j] + end[j])
//
// The last term is stored as n[0], so that log Z is the sum of n. `reached` is the sequence's length, or 0 where no path is possible.
//
// Shapes    emissions, alphas: [batch, time, columns]   table: [columns + 2, columns]   lengths, reached: [batch]   norms: [batch, time]
//           state: [batch, columns], alpha where the next dispatch goes on
// Grid      one workgroup per sequence, spread over x and y; an invocation has one tag
// Numerics  f32; alpha stays small however long the sequence is, and n is summed elsewhere, as a tree
// Memory    reads emissions once, the table twice a step; writes alphas once
// Source    Lafferty, McCallum & Pereira 2001; Rabiner 1989, section V.A, for the normaliser
// Twin      src/ops/crf/cpu.rs

#import chain_step

@group(0) @binding(1) var<storage, read> emissions: array<f32>; // [batch, time, columns]
@group(0) @binding(2) var<storage, read> table: array<f32>; // [columns + 2, columns]
@group(0) @binding(3) var<storage, read> lengths: array<i32>; // [batch]
@group(0) @binding(4) var<storage, read_write> alphas: array<f32>; // [batch, time, columns]
@group(0) @binding(5) var<storage, read_write> norms: array<f32>; // [batch, time]
@group(0) @binding(6) var<storage, read_write> reached: array<i32>; // [batch]
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
    let last = min(params.first + params.steps, length);
    if params.first >= last {
        if length == 0u && tag == 0u {
            reached[params.reached_base + sequence] = 0;
        }
        return;
    }
    let present = tag < params.columns;
    let state_at = params.state_base + sequence * params.columns + tag;
    var alpha = NOTHING;
    if present && params.first == 0u {
        let at = row_of(sequence, 0u) * params.columns + tag;
        alpha = or_nothing(table[start_at(tag)] + allowed(emissions[params.emissions_base + at]));
        alphas[params.alphas_base + at] = alpha;
    } else if present {
        alpha = state[state_at];
    }
    held[tag] = alpha;
    workgroupBarrier();

    for (var t = max(params.first, 1u); t < last; t++) {
        if present {
            let row = row_of(sequence, t);
            let emission = allowed(emissions[params.emissions_base + row * params.columns + tag]);
            let sum = log_sum(tag, params.columns);
            let norm = norm_of_highest();
            alpha = or_nothing(emission + (sum - norm));
            alphas[params.alphas_base + row * params.columns + tag] = alpha;
            if tag == 0u {
                norms[params.norms_base + row] = norm;
            }
        }
        workgroupBarrier();
        held[tag] = alpha;
        workgroupBarrier();
    }

    if last < length {
        if present {
            state[state_at] = alpha;
        }
    } else if tag == 0u {
        let total = log_sum(end_at(0u), 1u);
        norms[params.norms_base + row_of(sequence, 0u)] = total;
        reached[params.reached_base + sequence] = select(i32(length), 0, is_nothing(total));
    }
}
