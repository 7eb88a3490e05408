// Masked softmax over the last axis, forward.
//
//     z[r,c] = scale x[r,c]                     for visible c
//     m[r]   = max_c z[r,c]
//     l[r]   = sum_c exp(z[r,c] - m[r])
//     y[r,c] = exp(z[r,c] - m[r]) / l[r]        lse[r] = m[r] + log l[r]
//     y[r,c] = z[r,c] - lse[r]                  with LOG
//
// Shapes    x, y: [rows, cols]   mask: u8, broadcast to [rows, cols] by strides   lse: [rows]
// Grid      one workgroup per row, spread over x and y; its invocations stride over columns
// Numerics  f32; a row with nothing visible gives y = 0 (LOG: -inf) and lse = -inf; a logit of -inf counts as hidden
// Memory    reads x once with HELD, otherwise twice; writes y once
// Source    Milakov & Gimelshein 2018, arXiv:1805.02867, algorithm 3: the sum is rescaled where the maximum grows
// Twin      src/ops/softmax/cpu.rs

#import math
#import reduce
#import rows

const LOG: bool = false;
// What a logit may be below the highest one and still count: exp(-FAR) is 0 in f32.
const FAR: f32 = 128.0;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols]
#if MASK
@group(0) @binding(2) var<storage, read> mask: array<u32>; // broadcast to [rows, cols], four u8 to a word
#end
@group(0) @binding(3) var<storage, read_write> y: array<u32>; // [rows, cols], the bits of f32: infinities are never computed with
@group(0) @binding(4) var<storage, read_write> lse: array<u32>; // [rows], likewise

// The first element of the row, and of its mask.
var<private> x_row: u32;
var<private> mask_row: u32;

#if HELD
// The longest row that is held.
const COLUMNS: u32 = 2048u;
// The row. An invocation reads what it wrote itself, so there is no barrier.
var<workgroup> held: array<f32, COLUMNS>;

fn fetch(col: u32) {
    held[col] = x[x_row + col];
}

fn logit(col: u32) -> f32 {
    return params.scale * held[col];
}
#else
fn fetch(col: u32) {}

fn logit(col: u32) -> f32 {
    return params.scale * x[x_row + col];
}
#end

fn visible(col: u32) -> bool {
    return kept(mask_row, col) && !is_minus_infinity(logit(col));
}

// What a sum of exp(z - before) is multiplied by to be one of exp(z - now).
fn rescale(before: f32, now: f32) -> f32 {
    return exp(max(before, now - FAR) - now);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let row = spread(group, groups);
    if row >= params.rows {
        return;
    }
    x_row = params.x_base + row * params.cols;
    mask_row = mask_start(row);
    let y_row = params.y_base + row * params.cols;

    var highest = LOWEST;
    var sum = 0.0;
    for (var col = lane.local; col < params.cols; col += LANES) {
        fetch(col);
        if visible(col) {
            let z = logit(col);
            if z > highest {
                sum *= rescale(highest, z);
                highest = z;
            }
            sum += exp(z - highest);
        }
    }
    let m = reduce_max(lane, highest);
    let l = reduce_sum(lane, sum * rescale(highest, m));

    let log_l = log(l);
    for (var col = lane.local; col < params.cols; col += LANES) {
        var bits = select(0u, MINUS_INFINITY, LOG);
        if visible(col) {
            let z = logit(col) - m;
            bits = bitcast<u32>(select(exp(z) / l, z - log_l, LOG));
        }
        y[y_row + col] = bits;
    }
    if lane.local == 0u {
        lse[params.lse_base + row] = select(bitcast<u32>(m + log_l), MINUS_INFINITY, l == 0.0);
    }
}
