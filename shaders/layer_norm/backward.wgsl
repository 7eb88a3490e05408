// Normalization over the last axis, backward: the gradient of x.
//
//     h[r,c]   = (x[r,c] - mean[r]) rstd[r]            mean is 0 without CENTER
//     g[r,c]   = d_y[r,c] weight[c]
//     d_x[r,c] = rstd[r] (g[r,c] - 1/C sum_c g[r,c] - h[r,c] 1/C sum_c g[r,c] h[r,c])
//
// Without CENTER the first of the two sums is left out.
//
// Shapes    x, d_y, d_x: [rows, cols]   weight: [cols], where there is one   mean, rstd: [rows]
// Grid      one workgroup per row, spread over x and y; its invocations stride over columns
// Numerics  f32
// Memory    reads x and d_y once with HELD, otherwise twice; writes d_x once
// Source    the derivative of forward.wgsl
// Twin      src/ops/layer_norm/cpu.rs

#import index
#import reduce

struct Params {
    rows: u32,
    cols: u32,
    // The index of each tensor's first element; 0 for one that a variant does not have.
    x_base: u32,
    weight_base: u32,
    mean_base: u32,
    rstd_base: u32,
    d_y_base: u32,
    d_x_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols]
#if WEIGHT
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [cols]
#end
#if CENTER
@group(0) @binding(3) var<storage, read> mean: array<f32>; // [rows]
#end
@group(0) @binding(4) var<storage, read> rstd: array<f32>; // [rows]
@group(0) @binding(5) var<storage, read> d_y: array<f32>; // [rows, cols]
@group(0) @binding(6) var<storage, read_write> d_x: array<f32>; // [rows, cols]

// The first element of the row in both tensors, and the row's statistics.
var<private> x_row: u32;
var<private> d_y_row: u32;
var<private> m: f32;
var<private> r: f32;

fn normalized(col: u32) -> f32 {
    return (x[x_row + col] - m) * r;
}

fn weighted(col: u32) -> f32 {
    let d = d_y[d_y_row + col];
#if WEIGHT
    return d * weight[params.weight_base + col];
#else
    return d;
#end
}

#if HELD
// The longest row that is held.
const COLUMNS: u32 = 1024u;
// The rows of h and g. An invocation reads what it wrote itself, so there is no barrier.
var<workgroup> held_h: array<f32, COLUMNS>;
var<workgroup> held_g: array<f32, COLUMNS>;

fn fetch(col: u32) {
    held_h[col] = normalized(col);
    held_g[col] = weighted(col);
}

fn h(col: u32) -> f32 {
    return held_h[col];
}

fn g(col: u32) -> f32 {
    return held_g[col];
}
#else
fn fetch(col: u32) {}

fn h(col: u32) -> f32 {
    return normalized(col);
}

fn g(col: u32) -> f32 {
    return weighted(col);
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
    d_y_row = params.d_y_base + row * params.cols;
    r = rstd[params.rstd_base + row];
#if CENTER
    m = mean[params.mean_base + row];
#end
    let count = f32(params.cols);

    var sum = 0.0;
    var product = 0.0;
    for (var col = lane.local; col < params.cols; col += LANES) {
        fetch(col);
        sum += g(col);
        product += g(col) * h(col);
    }
    let along = reduce_sum(lane, product) / count;
    var level = 0.0;
#if CENTER
    level = reduce_sum(lane, sum) / count;
#end

    let d_x_row = params.d_x_base + row * params.cols;
    for (var col = lane.local; col < params.cols; col += LANES) {
        d_x[d_x_row + col] = r * (g(col) - level - h(col) * along);
    }
}
