// Cross entropy, what the forward needs of the logits: of each part of each row the maximum and the sums beside it.
//
//     m[r] = max_c x[r,c]
//     l[r] = sum_c exp(x[r,c] - m[r])
//     b[r] = sum_c w[c] (m[r] - x[r,c])        s = sum_c w[c]        with SMOOTH
//
// A row whose target is ignored is not read. A logit of -inf adds nothing to l.
//
// Shapes    logits: [rows, cols]   targets: [rows]   weight: [cols]   stats: [rows, parts] of m, l, b, s   own: [rows], x[r,target]
// Grid      one workgroup per span columns of a row, spread over x and y; its invocations stride over them, four columns at a time
// Numerics  f32; b is added up beside the maximum, so that neither large logits nor a single low one cost it digits
// Memory    reads logits once; four loads of an invocation are under way together
// Source    Milakov & Gimelshein 2018, arXiv:1805.02867, algorithm 3: the sums are rescaled where the maximum grows
// Twin      src/ops/cross_entropy/cpu.rs

#import index
#import math
#import reduce
#import targets

// Whether there is label smoothing.
const SMOOTH: bool = false;
// What a logit may be below the highest one and still count: exp(-FAR) is 0 in f32.
const FAR: f32 = 128.0;

@group(0) @binding(1) var<storage, read> logits: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read> targets: array<i32>; // [rows]
#if WEIGHT
@group(0) @binding(3) var<storage, read> weight: array<f32>; // [cols]
#end
@group(0) @binding(4) var<storage, read_write> stats: array<vec4<f32>>; // [rows, parts]
@group(0) @binding(5) var<storage, read_write> own: array<f32>; // [rows]

// What a sum of exp(x - before) is multiplied by to be one of exp(x - now).
fn rescale(before: f32, now: f32) -> f32 {
    return exp(max(before, now - FAR) - now);
}

fn total(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let n = spread(group, groups);
    let row = n / params.parts;
    if row >= params.rows {
        return;
    }
    let label = targets[params.targets_base + row];
    if !counts(label) {
        return;
    }
    let start = params.logits_base + row * params.cols;
    let begin = (n % params.parts) * params.span;
    let end = min(begin + params.span, params.cols);

    var highest = LOWEST;
    var sum = 0.0;
    var below = 0.0;
    var mass = 0.0;
    for (var col = begin + lane.local; col < end; col += 4u * LANES) {
        let wanted = col + LANES * vec4(0u, 1u, 2u, 3u);
        let inside = wanted < vec4(end);
        let cols = min(wanted, vec4(end - 1u));
        let at = start + cols;
        let x = vec4(logits[at.x], logits[at.y], logits[at.z], logits[at.w]);
        let visible = inside & (bitcast<vec4<u32>>(x) != vec4(MINUS_INFINITY));
        let z = select(vec4(LOWEST), x, visible);
        let top = max(max(z.x, z.y), max(z.z, z.w));
        if top > highest {
            sum *= rescale(highest, top);
            if SMOOTH && mass != 0.0 {
                below += mass * (top - highest);
            }
            highest = top;
        }
        sum += total(select(vec4<f32>(), exp(z - highest), visible));
        if SMOOTH {
            let w = vec4(class_weight(cols.x), class_weight(cols.y), class_weight(cols.z), class_weight(cols.w));
            below += total(select(vec4<f32>(), w * (highest - x), inside));
            mass += total(select(vec4<f32>(), w, inside));
        }
    }
    let m = reduce_max(lane, highest);
    let l = reduce_sum(lane, sum * rescale(highest, m));
    var b = 0.0;
    var s = 0.0;
    if SMOOTH {
        if mass != 0.0 {
            below += mass * (m - highest);
        }
        b = reduce_sum(lane, below);
        s = reduce_sum(lane, mass);
    }
    if lane.local == 0u {
        stats[params.stats_base / 4u + n] = vec4(m, l, b, s);
        let hit = bitcast<u32>(label);
        if hit >= begin && hit < end {
            own[params.own_base + row] = logits[start + hit];
        }
    }
}
