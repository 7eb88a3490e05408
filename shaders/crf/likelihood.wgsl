// Sums over the steps of each sequence of a linear-chain CRF: log Z, and the negative log-likelihood.
//
//     log Z = sum_t n[t]            nll = sum_t difference[t]
//
// n is what forward.wgsl or viterbi.wgsl left; of viterbi.wgsl's the sum is the best path's score. Without a step both are 0. Where no path is
// possible log Z is -inf and nll is +inf, as it is where the tags make none.
//
// Shapes    norms, differences: [batch, time]   lengths, log_z, nll: [batch]
// Grid      one workgroup per sequence, spread over x and y; its invocations stride over time
// Numerics  f32; each invocation sums its terms in order, then their sums are added as a tree
// Memory    reads norms and differences once
// Source    Lafferty, McCallum & Pereira 2001
// Twin      src/ops/crf/cpu.rs

#import chain
#import math
#import reduce

@group(0) @binding(1) var<storage, read> norms: array<f32>; // [batch, time]
#if TAGS
@group(0) @binding(2) var<storage, read> differences: array<f32>; // [batch, time]
#end
@group(0) @binding(3) var<storage, read> lengths: array<i32>; // [batch]
@group(0) @binding(4) var<storage, read_write> log_z: array<u32>; // [batch], the bits of f32: infinities are never computed with
#if TAGS
@group(0) @binding(5) var<storage, read_write> nll: array<u32>; // [batch], likewise

const PLUS_INFINITY: u32 = 0x7f800000u;
#end

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let sequence = spread(group, groups);
    if sequence >= params.batch {
        return;
    }
    let length = u32(lengths[params.lengths_base + sequence]);
    let begin = row_of(sequence, 0u);
    let scores_at = params.scores_base + sequence;
    // n[0] is nothing where no path is possible.
    var impossible = false;
    if length > 0u {
        impossible = is_nothing(norms[params.norms_base + begin]);
    }

    var sum = 0.0;
    for (var t = lane.local; t < length; t += LANES) {
        sum += norms[params.norms_base + begin + t];
    }
    let total = reduce_sum(lane, sum);
    if lane.local == 0u {
        log_z[scores_at] = select(bitcast<u32>(total), MINUS_INFINITY, impossible);
    }
#if TAGS
    sum = 0.0;
    var largest = 0.0;
    for (var t = lane.local; t < length; t += LANES) {
        let difference = differences[params.differences_base + begin + t];
        largest = max(largest, difference);
        sum += select(difference, 0.0, difference > -LOST);
    }
    let total_difference = reduce_sum(lane, sum);
    let worst = reduce_max(lane, largest);
    if lane.local == 0u {
        nll[scores_at] = select(bitcast<u32>(total_difference), PLUS_INFINITY, impossible || worst > -LOST);
    }
#end
}
