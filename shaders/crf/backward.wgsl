// The backward recursion of a linear-chain CRF, and the marginals.
//
//     beta[length-1,i] = end[i] - n[0]
//     beta[t,i]        = log sum_j exp(transitions[i,j] + link[t+1,j])           link[t,j] = emission[t,j] + beta[t,j] - n[t]
//     marginal[t,i]    = exp(alpha[t,i] + beta[t,i])
//
// alpha and n are those of forward.wgsl. With the same n the marginals of a step sum to one but for rounding; what they sum to is divided out
// of them, and its logarithm is taken from beta, so that rounding does not add up from step to step. Past `reached` the marginals are 0.
// With LINKS link is stored: exp(alpha[t-1,i] + transitions[i,j] + link[t,j]) is the marginal of a pair.
//
// Shapes    emissions, alphas, marginals, links: [batch, time, columns]   table: [columns + 2, columns], moves out of a tag   reached: [batch]
//           norms: [batch, time]   state: [batch, columns], link where the next dispatch goes on
// Grid      one workgroup per sequence, spread over x and y; an invocation has one tag
// Numerics  f32
// Memory    reads emissions and alphas once, the table twice a step; writes marginals and links once
// Source    Rabiner 1989, section III.A.2; Lafferty, McCallum & Pereira 2001
// Twin      src/ops/crf/cpu.rs

#import chain_step

@group(0) @binding(1) var<storage, read> emissions: array<f32>; // [batch, time, columns]
@group(0) @binding(2) var<storage, read> table: array<f32>; // [columns + 2, columns]
@group(0) @binding(3) var<storage, read> reached: array<i32>; // [batch]
@group(0) @binding(4) var<storage, read> alphas: array<f32>; // [batch, time, columns]
@group(0) @binding(5) var<storage, read> norms: array<f32>; // [batch, time]
@group(0) @binding(6) var<storage, read_write> marginals: array<f32>; // [batch, time, columns]
#if LINKS
@group(0) @binding(7) var<storage, read_write> links: array<f32>; // [batch, time, columns]
#end
@group(0) @binding(8) var<storage, read_write> state: array<f32>; // [batch, columns]

// Of each tag, its marginal before the division.
var<workgroup> weights: array<f32, LANES>;

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
    let length = u32(reached[params.reached_base + sequence]);
    let past = params.first + params.steps;
    let present = tag < params.columns;
    for (var t = max(params.first, length); t < past; t++) {
        if present {
            marginals[params.marginals_base + row_of(sequence, t) * params.columns + tag] = 0.0;
        }
    }
    let last = min(past, length);
    if params.first >= last {
        return;
    }
    let state_at = params.state_base + sequence * params.columns + tag;
    var link = NOTHING;
    if present && last < length {
        link = state[state_at];
    }
    held[tag] = link;
    workgroupBarrier();

    for (var left = last - params.first; left > 0u; left--) {
        let t = params.first + left - 1u;
        let row = row_of(sequence, t);
        var beta = NOTHING;
        var weight = 0.0;
        if present {
            if t + 1u == length {
                beta = or_nothing(table[end_at(tag)] - norms[params.norms_base + row_of(sequence, 0u)]);
            } else {
                beta = log_sum(tag, params.columns);
            }
            weight = probability(alphas[params.alphas_base + row * params.columns + tag] + beta);
        }
        weights[tag] = weight;
        workgroupBarrier();
        if present {
            var sum = 0.0;
            for (var i = 0u; i < params.columns; i++) {
                sum += weights[i];
            }
            // Rounding of huge scores may leave none.
            sum = select(sum, 1.0, sum == 0.0);
            marginals[params.marginals_base + row * params.columns + tag] = weight / sum;
            let norm = select(norms[params.norms_base + row], 0.0, t == 0u);
            let emission = allowed(emissions[params.emissions_base + row * params.columns + tag]);
            link = or_nothing(emission + (beta - log(sum) - norm));
#if LINKS
            links[params.links_base + row * params.columns + tag] = link;
#end
        }
        held[tag] = link;
        workgroupBarrier();
    }
    if present && params.first > 0u {
        state[state_at] = link;
    }
}
