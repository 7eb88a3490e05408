// Masked softmax over the last axis, backward.
//
//     y = softmax(scale x):      d_x[r,c] = scale y[r,c] (d_y[r,c] - sum_c y[r,c] d_y[r,c])
//     y = log softmax(scale x):  d_x[r,c] = scale (d_y[r,c] - exp(y[r,c]) sum_c d_y[r,c])          with LOG
//
// The sums run over visible columns. At hidden ones (and, with LOG, where y = -inf) d_y is not used, NaN included, and d_x is 0.
//
// Shapes    y, d_y, d_x: [rows, cols]   mask: u8, broadcast to [rows, cols] by strides
// Grid      one workgroup per row, spread over x and y; its invocations stride over columns
// Numerics  f32
// Memory    reads y and d_y once with HELD, otherwise twice; writes d_x once
// Source    the derivative of forward.wgsl
// Twin      src/ops/softmax/cpu.rs

#import math
#import reduce
#import rows

const LOG: bool = false;

@group(0) @binding(1) var<storage, read> y: array<f32>; // [rows, cols]
#if MASK
@group(0) @binding(2) var<storage, read> mask: array<u32>; // broadcast to [rows, cols], four u8 to a word
#end
@group(0) @binding(3) var<storage, read> d_y: array<f32>; // [rows, cols]
@group(0) @binding(4) var<storage, read_write> d_x: array<f32>; // [rows, cols]

// The first element of the row in each tensor, and of its mask.
var<private> y_row: u32;
var<private> d_y_row: u32;
var<private> mask_row: u32;

#if HELD
// The longest row that is held.
const COLUMNS: u32 = 1024u;
// The rows of y and d_y. An invocation reads what it wrote itself, so there is no barrier.
var<workgroup> held_y: array<f32, COLUMNS>;
var<workgroup> held_d_y: array<f32, COLUMNS>;

fn fetch(col: u32) {
    held_y[col] = y[y_row + col];
    held_d_y[col] = d_y[d_y_row + col];
}

fn value(col: u32) -> f32 {
    return held_y[col];
}

fn upstream(col: u32) -> f32 {
    return held_d_y[col];
}
#else
fn fetch(col: u32) {}

fn value(col: u32) -> f32 {
    return y[y_row + col];
}

fn upstream(col: u32) -> f32 {
    return d_y[d_y_row + col];
}
#end

fn visible(col: u32) -> bool {
    return kept(mask_row, col) && (!LOG || !is_minus_infinity(value(col)));
}

// The probability, from what the forward returned.
fn probability(col: u32) -> f32 {
    return select(value(col), exp(value(col)), LOG);
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
    y_row = params.y_base + row * params.cols;
    mask_row = mask_start(row);
    d_y_row = params.d_y_base + row * params.cols;
    let d_x_row = params.d_x_base + row * params.cols;

    var sum = 0.0;
    for (var col = lane.local; col < params.cols; col += LANES) {
        fetch(col);
        if visible(col) {
            sum += select(probability(col), 1.0, LOG) * upstream(col);
        }
    }
    let total = reduce_sum(lane, sum);

    for (var col = lane.local; col < params.cols; col += LANES) {
        var d = 0.0;
        if visible(col) {
            let p = probability(col);
            d = params.scale * select(p * (upstream(col) - total), upstream(col) - p * total, LOG);
        }
        d_x[d_x_row + col] = d;
    }
}
