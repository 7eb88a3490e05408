// Binary cross entropy of logits.
//
//     term[i] = w (p t log(1 + exp(-x)) + (1 - t) log(1 + exp(x)))        x = logits[i], t = targets[i], w = weight, p = pos_weight
//
// Shapes    logits, targets: [count]   weight, pos_weight: broadcast by strides, or 1
//           loss: [count] with TERMS, otherwise [workgroups, 2]: the sum of terms and their number
// Grid      one workgroup per LANES EACH elements, spread over x and y
// Numerics  f32; nothing overflows or cancels: both logarithms are max(.., 0) + log(1 + e), with e = exp(-|x|) <= 1
// Memory    reads logits and targets once
// Twin      src/ops/binary_cross_entropy/cpu.rs

#import terms

@group(0) @binding(1) var<storage, read> logits: array<f32>; // [count]
@group(0) @binding(2) var<storage, read> targets: array<f32>; // [count]
#if WEIGHT
@group(0) @binding(3) var<storage, read> weight: array<f32>; // broadcast to [count]
#end
#if POS_WEIGHT
@group(0) @binding(4) var<storage, read> pos_weight: array<f32>; // broadcast to [count]
#end
@group(0) @binding(5) var<storage, read_write> loss: array<f32>; // [count], or [workgroups, 2]

// log(1 + e) for 0 <= e <= 1, by log(1 + e) = 2 artanh(e / (2 + e)). WGSL's own logarithm is exact to 2^-21 near 1, and 1 + e has
// lost the digits of a small e before.
fn log_one_plus(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let q = s * s;
    let series = q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0))))));
    return 2.0 * (s + s * series);
}

fn term(i: u32) -> f32 {
    let x = logits[params.x_base + i];
    let t = targets[params.targets_base + i];
    let both = log_one_plus(exp(-abs(x)));
    var positive = t * (max(-x, 0.0) + both);
#if POS_WEIGHT
    positive *= pos_weight[params.pos_weight_base + broadcast_at(i, params.pos_weight_strides)];
#end
    let sum = positive + (1.0 - t) * (max(x, 0.0) + both);
#if WEIGHT
    return weight[params.weight_base + broadcast_at(i, params.weight_strides)] * sum;
#else
    return sum;
#end
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let workgroup = params.first + spread(group, groups);
    if workgroup >= params.end {
        return;
    }
    write_terms(workgroup, lane);
}
