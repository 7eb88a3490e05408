// Cross entropy, backward.
//
//     d_logits[r,c] = d (q p[c] - eps / cols w[c] - h [c = t])        p[c] = exp(x[r,c] - m) / l        t = target[r]
//     d             = d_loss[r], or d_loss, or with MEAN d_loss by the weight of all rows
//
// m, l, q, h are those that the forward kept of the row. A row that does not count is not read, and its gradient is 0.
//
// Shapes    logits, d_logits: [rows, cols]   targets: [rows]   weight: [cols]   kept: [rows] vectors   sums: [1, 2]
//           d_loss: [rows] or one number
// Grid      as forward.wgsl
// Numerics  f32; p is 0 for a logit of -inf; where all rows together weigh nothing, d is NaN
// Memory    reads logits once, writes d_logits once
// Source    the derivative of losses.wgsl
// Twin      src/ops/cross_entropy/cpu.rs

#import index
#import math
#import targets

const LANES: u32 = 64u; // invocations

@group(0) @binding(1) var<storage, read> logits: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read> targets: array<i32>; // [rows]
#if WEIGHT
@group(0) @binding(3) var<storage, read> weight: array<f32>; // [cols]
#end
@group(0) @binding(4) var<storage, read> kept: array<vec4<f32>>; // [rows]
#if MEAN
@group(0) @binding(5) var<storage, read> sums: array<f32>; // [1, 2]: of losses and of weights
#end
@group(0) @binding(6) var<storage, read> d_loss: array<f32>; // [rows] or one number
@group(0) @binding(7) var<storage, read_write> d_logits: array<f32>; // [rows, cols]

fn upstream(row: u32) -> f32 {
    let d = d_loss[params.d_loss_base + row * params.d_loss_step];
#if MEAN
    let weights = sums[params.sums_base + 1u];
    return select(d / weights, not_a_number(), weights == 0.0);
#else
    return d;
#end
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let n = spread(group, groups);
    let row = n / params.parts;
    if row >= params.rows {
        return;
    }
    let begin = (n % params.parts) * params.span;
    let end = min(begin + params.span, params.cols);
    let x_row = params.logits_base + row * params.cols;
    let d_row = params.d_logits_base + row * params.cols;
    let label = targets[params.targets_base + row];
    if !counts(label) {
        for (var col = begin + local; col < end; col += LANES) {
            d_logits[d_row + col] = 0.0;
        }
        return;
    }
    let of_row = kept[params.kept_base / 4u + row];
    let m = of_row.x;
    let q = of_row.z / of_row.y;
    let d = upstream(row);
    for (var col = begin + local; col < end; col += LANES) {
        let x = logits[x_row + col];
        let p = select(exp(x - m), 0.0, is_minus_infinity(x));
        let hit = select(0.0, of_row.w, col == bitcast<u32>(label));
        d_logits[d_row + col] = d * ((q * p - params.share * class_weight(col)) - hit);
    }
}
