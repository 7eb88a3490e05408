// The rows of a masked operation over the last axis: which row a workgroup works on, where it lies in each tensor, and its mask.
//
// The importing kernel declares mask, u8 broadcast by strides, under the flag MASK.

#import index

struct Params {
    rows: u32,
    cols: u32,
    scale: f32,
    // The index of each tensor's first element; 0 for one that a kernel does not have.
    x_base: u32,
    y_base: u32,
    lse_base: u32,
    d_y_base: u32,
    d_x_base: u32,
    mask_base: u32,
    mask_col: u32,
    // The first row of this dispatch, as the mask counts them.
    first: u32,
    padding: u32,
    // The rows as up to 4 dimensions, and the mask's strides along them.
    sizes: vec4<u32>,
    mask_strides: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;

// Where the row's mask begins.
fn mask_start(row: u32) -> u32 {
    return params.mask_base + offset_of(params.first + row, params.sizes, params.mask_strides);
}

// Whether the mask of the row that begins at `start` keeps a column.
fn kept(start: u32, col: u32) -> bool {
#if MASK
    let at = start + col * params.mask_col;
    return byte_of(mask[at / 4u], at) != 0u;
#else
    return true;
#end
}
