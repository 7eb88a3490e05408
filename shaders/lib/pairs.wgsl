// The pairs of a query and the keys: which are visible, what their logits are, and which ones dropout keeps. One workgroup works on one
// row, that is one query of one head, of a block of `rows` rows of the matrix of scores.
//
// The importing kernel declares, under the flags of the same names: mask (MASK), bias (BIAS), dropout_keep (KEEP); RANDOM draws
// dropout from random numbers instead.

#import index
#import math
#if RANDOM
#import random
#end

struct Params {
    // The block: rows [queries i0 .. i0 + per_head] of consecutive heads from bh0 on, as b * heads + h.
    rows: u32,
    cols: u32,
    per_head: u32,
    i0: u32,
    bh0: u32,
    heads: u32,
    // Query i sees keys j with i + low <= j < i + high: causality and windows.
    low: i32,
    high: i32,
    // Query i stands at key position i + offset.
    offset: i32,
    // 0 when off.
    softcap: f32,
    scores_base: u32,
    d_probs_base: u32,
    d_logits_base: u32,
    lse_base: u32,
    lse_head: u32,
    lse_row: u32,
    d_slope_base: u32,
    mask_base: u32,
    mask_b: u32,
    mask_h: u32,
    mask_i: u32,
    mask_j: u32,
    bias_base: u32,
    bias_b: u32,
    bias_h: u32,
    bias_i: u32,
    bias_j: u32,
    keep_base: u32,
    // 1 / (1 - p)
    keep_scale: f32,
    // A word at or above it is kept.
    threshold: u32,
    seed_low: u32,
    seed_high: u32,
    // The random element of pair (bh, i, j) is start + bh * head + i * row + j, in 64 bits.
    random_start_low: u32,
    random_start_high: u32,
    random_head_low: u32,
    random_head_high: u32,
    random_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

struct Row {
    b: u32,
    h: u32,
    i: u32,
    // The row's first element in the block's matrices.
    start: u32,
    mask_start: u32,
    bias_start: u32,
    slope: f32,
    // Visible keys lie in [first, end).
    first: u32,
    end: u32,
}

// `row` counts within the block; `length` is the number of keys of the row's sequence.
fn row_of(row: u32, length: u32, slope: f32) -> Row {
    let bh = params.bh0 + row / params.per_head;
    let b = bh / params.heads;
    let h = bh % params.heads;
    let i = params.i0 + row % params.per_head;
    let first = u32(clamp(i32(i) + params.low, 0, i32(length)));
    let end = u32(clamp(i32(i) + params.high, 0, i32(length)));
    return Row(
        b, h, i,
        row * params.cols,
        params.mask_base + b * params.mask_b + h * params.mask_h + i * params.mask_i,
        params.bias_base + b * params.bias_b + h * params.bias_h + i * params.bias_i,
        slope, first, end,
    );
}

fn distance_of(row: Row, j: u32) -> f32 {
    return abs(distance_past(row.i, j, params.offset));
}

fn visible(row: Row, j: u32) -> bool {
    if j < row.first || j >= row.end {
        return false;
    }
#if MASK
    let mask_at = row.mask_start + j * params.mask_j;
    if byte_of(mask[mask_at / 4u], mask_at) == 0u {
        return false;
    }
#end
#if BIAS
    if is_minus_infinity(bias[row.bias_start + j * params.bias_j]) {
        return false;
    }
#end
    return true;
}

// The logit of a visible pair, of its score scale q.k.
fn logit_of(row: Row, j: u32, score: f32) -> f32 {
    var logit = score;
    if params.softcap > 0.0 {
        logit = params.softcap * stable_tanh(logit / params.softcap);
    }
#if BIAS
    logit += bias[row.bias_start + j * params.bias_j];
#end
    return logit - row.slope * distance_of(row, j);
}

// keep / (1 - p): what dropout multiplies a probability by.
fn kept(row: Row, bh: u32, j: u32) -> f32 {
#if KEEP
    let at = params.keep_base + row.start + j;
    return select(0.0, params.keep_scale, byte_of(dropout_keep[at / 4u], at) != 0u);
#else
#if RANDOM
    let start = vec2(params.random_start_low, params.random_start_high);
    let head = wide_scale(vec2(params.random_head_low, params.random_head_high), bh);
    let element = wide_add(wide_add(start, head), wide_add(wide_multiply(row.i, params.random_row), vec2(j, 0u)));
    let word = random_element(vec2(params.seed_low, params.seed_high), element);
    return select(0.0, params.keep_scale, word >= params.threshold);
#else
    return 1.0;
#end
#end
}
