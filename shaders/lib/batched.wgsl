// The sizes and strides of a batched product of two strided operands, y = scale a b, and where a workgroup's matrices start.

#import index

struct Params {
    m: u32,
    n: u32,
    k: u32,
    // The product is added to y instead of overwriting it when 1: for sums over several dispatches.
    accumulate: u32,
    scale: f32,
    // The first batch of this dispatch.
    first: u32,
    // Of each tensor: the index of its first element, and the strides of a row and of a column.
    a_base: u32,
    a_row: u32,
    a_col: u32,
    b_base: u32,
    b_row: u32,
    b_col: u32,
    y_base: u32,
    y_row: u32,
    y_col: u32,
    // Of the bias (its column) or the mask.
    extra_base: u32,
    extra_row: u32,
    extra_col: u32,
    // The batches of this dispatch.
    count: u32,
    padding: u32,
    // Up to 4 batch dimensions, the last one fastest: sizes and each tensor's strides, 0 where it is repeated.
    sizes: vec4<u32>,
    a_batch: vec4<u32>,
    b_batch: vec4<u32>,
    y_batch: vec4<u32>,
    extra_batch: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;

var<private> a_start: u32;
var<private> b_start: u32;
var<private> y_start: u32;
var<private> extra_start: u32;

fn find_batch(z: u32) {
    let batch = params.first + z;
    a_start = params.a_base + offset_of(batch, params.sizes, params.a_batch);
    b_start = params.b_base + offset_of(batch, params.sizes, params.b_batch);
    y_start = params.y_base + offset_of(batch, params.sizes, params.y_batch);
    extra_start = params.extra_base + offset_of(batch, params.sizes, params.extra_batch);
}

// Where an element of the batch lies in each tensor.

fn a_at(row: u32, col: u32) -> u32 {
    return a_start + row * params.a_row + col * params.a_col;
}

fn b_at(row: u32, col: u32) -> u32 {
    return b_start + row * params.b_row + col * params.b_col;
}

fn y_at(row: u32, col: u32) -> u32 {
    return y_start + row * params.y_row + col * params.y_col;
}

fn extra_at(row: u32, col: u32) -> u32 {
    return extra_start + row * params.extra_row + col * params.extra_col;
}

// How many of the 4 columns from `col` on belong to y.
fn columns_left(col: u32) -> u32 {
    return min(4u, max(params.n, col) - col);
}
