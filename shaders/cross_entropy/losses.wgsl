// Cross entropy, the losses of rows from what was found of their parts.
//
//     m, l, b, s    of the whole row
//     loss[r] = (1 - eps) w[t] (m - x[t] + log l) + eps / cols (b + s log l)        t = target[r]
//     kept[r] = m, l, q, h      h = (1 - eps) w[t]      q = h + eps / cols s        for the backward
//
// A row that does not count has a loss of 0 and a weight of 0. A target that is no class raises the flag and does not count.
//
// Shapes    targets: [rows]   weight: [cols]   stats: [rows, parts]   own: [rows]   kept: [rows] vectors
//           loss: [rows] with EACH, otherwise [workgroups, 2]: the sums of losses and of w[t]
// Grid      one invocation per row, workgroups spread over x and y
// Numerics  f32; parts in order
// Memory    reads stats once
// Source    forward.wgsl
// Twin      src/ops/cross_entropy/cpu.rs

#import flag
#import index
#import math
#import reduce
#import targets

// Whether there is label smoothing.
const SMOOTH: bool = false;
// Whether the loss of each row is wanted, and not their sum.
const EACH: bool = false;
// What a logit may be below the highest one and still count: exp(-FAR) is 0 in f32.
const FAR: f32 = 128.0;

@group(0) @binding(1) var<storage, read> targets: array<i32>; // [rows]
#if WEIGHT
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [cols]
#end
@group(0) @binding(3) var<storage, read> stats: array<vec4<f32>>; // [rows, parts]
@group(0) @binding(4) var<storage, read> own: array<f32>; // [rows]
@group(0) @binding(5) var<storage, read_write> kept: array<vec4<f32>>; // [rows]
@group(0) @binding(6) var<storage, read_write> loss: array<f32>; // [rows], or [workgroups, 2]
@group(0) @binding(7) var<storage, read_write> flag: array<atomic<u32>>; // one word

// The loss of a row whose target weighs w.
fn loss_of(row: u32, w: f32) -> f32 {
    let first = params.stats_base / 4u + row * params.parts;
    var all = stats[first];
    for (var part = 1u; part < params.parts; part++) {
        let other = stats[first + part];
        let m = max(all.x, other.x);
        let l = all.y * exp(max(all.x, m - FAR) - m) + other.y * exp(max(other.x, m - FAR) - m);
        var b = 0.0;
        if SMOOTH {
            b = (all.z + all.w * (m - all.x)) + (other.z + other.w * (m - other.x));
        }
        all = vec4(m, l, b, all.w + other.w);
    }
    let log_l = log(all.y);
    let hit = params.hit * w;
    kept[params.kept_base / 4u + row] = vec4(all.x, all.y, hit + params.share * all.w, hit);
    var loss = hit * ((all.x - own[params.own_base + row]) + log_l);
    if SMOOTH {
        loss += params.share * (all.z + all.w * log_l);
    }
    return loss;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let workgroup = spread(group, groups);
    let row = workgroup * LANES + lane.local;
    var mine = 0.0;
    var w = 0.0;
    if row < params.rows {
        let label = targets[params.targets_base + row];
        if counts(label) {
            w = class_weight(bitcast<u32>(label));
            mine = loss_of(row, w);
        } else if label != params.ignore_index {
            raise(params.flag);
        }
        if EACH {
            loss[params.loss_base + row] = mine;
        }
    }
    if !EACH {
        let losses = reduce_sum(lane, mine);
        let weights = reduce_sum(lane, w);
        if lane.local == 0u && row < params.rows {
            loss[params.loss_base + 2u * workgroup] = losses;
            loss[params.loss_base + 2u * workgroup + 1u] = weights;
        }
    }
}
