// The elements of a loss, a slice to a workgroup. A workgroup's number goes from first to end, since a dispatch may be a part of the whole.
//
// The importing kernel has LANES invocations.

#import index

const EACH: u32 = 16u; // elements of an invocation

struct Params {
    first: u32,
    end: u32,
    count: u32,
    // The first element of all, as the strides count them.
    index: u32,
    // What d_loss is multiplied by, and from one element's to the next one's: 0 where all have one.
    scale: f32,
    d_loss_step: u32,
    // The index of each tensor's first element; 0 for one that a kernel does not have.
    x_base: u32,
    targets_base: u32,
    weight_base: u32,
    pos_weight_base: u32,
    loss_base: u32,
    d_loss_base: u32,
    d_x_base: u32,
    d_targets_base: u32,
    padding_0: u32,
    padding_1: u32,
    // The elements as up to 4 dimensions, and the strides along them of what is broadcast.
    sizes: vec4<u32>,
    weight_strides: vec4<u32>,
    pos_weight_strides: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;

// The first element of a workgroup, and the one after its last.
fn slice_of(workgroup: u32) -> vec2<u32> {
    let begin = workgroup * LANES * EACH;
    return vec2(begin, min(begin + LANES * EACH, params.count));
}

// Where an element is in a tensor that is broadcast.
fn broadcast_at(i: u32, strides: vec4<u32>) -> u32 {
    return offset_of(params.index + i, params.sizes, strides);
}
