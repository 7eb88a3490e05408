// Normalization over the last axis, backward: the gradients of weight and bias over slices of the rows, which a sum then adds up.
//
//     h[r,c]        = (x[r,c] - mean[r]) rstd[r]            mean is 0 without CENTER
//     d_weight[s,c] = sum_r d_y[r,c] h[r,c]                 over the rows r of slice s
//     d_bias[s,c]   = sum_r d_y[r,c]
//
// Shapes    x, d_y: [rows, cols]   mean, rstd: [rows]   d_weight, d_bias: [slices, cols]
// Grid      one workgroup per slice of rows and WIDTH columns, spread over x and y; LANES / WIDTH invocations share a column
// Numerics  f32; each invocation sums its rows in order, then the partial sums are added pairwise: a fixed order
// Memory    reads x and d_y once
// Source    the derivative of forward.wgsl
// Twin      src/ops/layer_norm/cpu.rs

#import index

const LANES: u32 = 256u; // invocations
const WIDTH: u32 = 32u; // columns; divides LANES
const_assert(LANES % WIDTH == 0u);
const TALL: u32 = LANES / WIDTH;
const_assert((TALL & (TALL - 1u)) == 0u);

struct Params {
    rows: u32,
    cols: u32,
    // Rows of a slice; the last one may have fewer.
    slice: u32,
    x_base: u32,
    mean_base: u32,
    rstd_base: u32,
    d_y_base: u32,
    d_weight_base: u32,
    d_bias_base: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, cols]
#if CENTER
@group(0) @binding(2) var<storage, read> mean: array<f32>; // [rows]
#end
@group(0) @binding(3) var<storage, read> rstd: array<f32>; // [rows]
@group(0) @binding(4) var<storage, read> d_y: array<f32>; // [rows, cols]
@group(0) @binding(5) var<storage, read_write> d_weight: array<f32>; // [slices, cols]
#if BIAS
@group(0) @binding(6) var<storage, read_write> d_bias: array<f32>; // [slices, cols]
#end

// The sums for weight and bias.
var<workgroup> partials: array<vec2<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let place = spread(group, groups);
    let blocks = (params.cols + WIDTH - 1u) / WIDTH;
    let slice = place / blocks;
    let first = slice * params.slice;
    if first >= params.rows {
        return;
    }
    let end = min(first + params.slice, params.rows);
    let col = (place % blocks) * WIDTH + local % WIDTH;
    let valid = col < params.cols;

    var sums = vec2(0.0);
    if valid {
        for (var row = first + local / WIDTH; row < end; row += TALL) {
            let d = d_y[params.d_y_base + row * params.cols + col];
            var value = x[params.x_base + row * params.cols + col];
#if CENTER
            value -= mean[params.mean_base + row];
#end
            sums += vec2(d * (value * rstd[params.rstd_base + row]), d);
        }
    }
    partials[local] = sums;
    for (var half = TALL / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half * WIDTH {
            partials[local] += partials[local + half * WIDTH];
        }
    }
    if valid && local < WIDTH {
        let at = slice * params.cols + col;
        d_weight[params.d_weight_base + at] = partials[local].x;
#if BIAS
        d_bias[params.d_bias_base + at] = partials[local].y;
#end
    }
}
