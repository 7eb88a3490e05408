// Normalization over the last axis, forward: layer normalization with CENTER, and without it division by the root mean square.
//
//     mean[r] = 1/C sum_c x[r,c]                                       0 without CENTER
//     rstd[r] = 1 / sqrt(1/C sum_c (x[r,c] - mean[r])^2 + eps)
//     y[r,c]  = (x[r,c] - mean[r]) rstd[r] weight[c] + bias[c]
//
// Shapes    x, y: [rows, cols]   weight, bias: [cols], where there are any   mean, rstd: [rows]
// Grid      one workgroup per row, spread over x and y; its invocations stride over columns
// Numerics  f32; with CENTER the row's first element is taken away before anything is added up: where a row's spread is small beside
//           its mean, these differences are exact, and the sums are of small numbers
// Memory    reads x once with HELD, otherwise in each of three passes (two without CENTER); writes y once
// Source    Ba, Kiros & Hinton 2016, arXiv:1607.06450; Zhang & Sennrich 2019, arXiv:1910.07467
// Twin      src/ops/layer_norm/cpu.rs

#import index
#import reduce

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
    // The index of each tensor's first element; 0 for one that a variant does not have.
    x_base: u32,
    weight_base: u32,
    bias_base: u32,
    y_base: u32,
    mean_base: u32,
    rstd_base: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols]
#if WEIGHT
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [cols]
#end
#if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [cols]
#end
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [rows, cols]
#if CENTER
@group(0) @binding(5) var<storage, read_write> mean: array<f32>; // [rows]
#end
@group(0) @binding(6) var<storage, read_write> rstd: array<f32>; // [rows]

// The row's first element in memory, and what is taken away from all of them.
var<private> x_row: u32;
var<private> shift: f32;

#if HELD
// The longest row that is held.
const COLUMNS: u32 = 2048u;
// The row. An invocation reads what it wrote itself, so there is no barrier.
var<workgroup> held: array<f32, COLUMNS>;

fn fetch(col: u32) {
    held[col] = x[x_row + col] - shift;
}

fn value(col: u32) -> f32 {
    return held[col];
}
#else
fn fetch(col: u32) {}

fn value(col: u32) -> f32 {
    return x[x_row + col] - shift;
}
#end

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
    let count = f32(params.cols);

    // The mean of what is left of x.
    var center = 0.0;
#if CENTER
    shift = x[x_row];
    var sum = 0.0;
    for (var col = lane.local; col < params.cols; col += LANES) {
        fetch(col);
        sum += value(col);
    }
    center = reduce_sum(lane, sum) / count;
#end
    var squares = 0.0;
    for (var col = lane.local; col < params.cols; col += LANES) {
#if CENTER
#else
        fetch(col);
#end
        let d = value(col) - center;
        squares += d * d;
    }
    let r = 1.0 / sqrt(reduce_sum(lane, squares) / count + params.eps);

    let y_row = params.y_base + row * params.cols;
    for (var col = lane.local; col < params.cols; col += LANES) {
        var out = (value(col) - center) * r;
#if WEIGHT
        out *= weight[params.weight_base + col];
#end
#if BIAS
        out += bias[params.bias_base + col];
#end
        y[y_row + col] = out;
    }
    if lane.local == 0u {
#if CENTER
        mean[params.mean_base + row] = shift + center;
#end
        rstd[params.rstd_base + row] = r;
    }
}
