// Additive scores: what their kernels share. x is the side whose rows a workgroup has, y the one that it walks past.
//
//     s[b,r,c] = sum_f v[f] tanh(x[b,r,f] + y[b,c,f])
//
// An invocation has EACH rows, side by side in one value of the type `several`. The importing kernel declares x and y, and says of them
//     fn x_of(batch: u32, row: u32, feature: u32) -> f32
// where a row past the last one is the last one: what comes of it is not stored.

#import index
#import math

const LANES: u32 = 64u;

#if SINGLE
const EACH: u32 = 1u;
alias several = f32;
#else
const EACH: u32 = 4u;
alias several = vec4<f32>;
#end

struct Params {
    batches: u32,
    rows: u32,
    cols: u32,
    features: u32,
    workgroups: u32,
    // The sums are added to what is there when 1: of sums over several dispatches all but the first.
    accumulate: u32,
    // Of each tensor the index of its first element, and its strides; that of a feature is 1.
    x_base: u32,
    x_batch: u32,
    x_row: u32,
    y_base: u32,
    y_batch: u32,
    y_col: u32,
    v_base: u32,
    s_base: u32,
    s_batch: u32,
    s_row: u32,
    s_col: u32,
    mask_base: u32,
    mask_batch: u32,
    d_x_base: u32,
    d_x_batch: u32,
    d_x_row: u32,
    d_v_base: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

fn several_of_x(batch: u32, row: u32, feature: u32) -> several {
#if SINGLE
    return x_of(batch, row, feature);
#else
    return vec4(
        x_of(batch, row, feature), x_of(batch, row + 1u, feature), x_of(batch, row + 2u, feature), x_of(batch, row + 3u, feature),
    );
#end
}

fn tanh_of(x: several) -> several {
#if SINGLE
    return stable_tanh(x);
#else
    return vec4(stable_tanh(x.x), stable_tanh(x.y), stable_tanh(x.z), stable_tanh(x.w));
#end
}

fn row_of(values: several, r: u32) -> f32 {
#if SINGLE
    return values;
#else
    return values[r];
#end
}
