// One step of an optimizer on parameters that follow one another in memory: up to three of them, with what lies between.
//
// The importing kernel declares the state, one array for each kind of it, laid out as the parameters are.

#import index
#import gradients

const LANES: u32 = 256u;

struct Params {
    // Elements from the first parameter's first to the last one's last.
    count: u32,
    // The index of the first element of the parameters and of their state.
    p_base: u32,
    state_base_0: u32,
    state_base_1: u32,
    state_base_2: u32,
    // What the update is multiplied by, and the parameters before it.
    rate: f32,
    keep: f32,
    // What of the parameters is added to their gradients.
    l2: f32,
    momentum: f32,
    nesterov: u32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    root: f32,
    eps: f32,
    // Of each gradient: where its parameter begins, its elements, and the index of the first.
    starts: vec4<u32>,
    lengths: vec4<u32>,
    g_bases: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
#if CLIP
@group(0) @binding(4) var<storage, read> clip: array<f32>; // the norm of all gradients, and what they are multiplied by
#end
@group(0) @binding(5) var<storage, read_write> p: array<f32>;

// Whether element `i` is one of a parameter, and not between two.
fn inside(i: u32) -> bool {
    let tensor = range_of(params.starts, i);
    return i < params.count && i - params.starts[tensor] < params.lengths[tensor];
}

// The gradient of element `i`, which is inside: clipped, and with the weight decay that is part of it.
fn clipped(i: u32) -> f32 {
    let tensor = range_of(params.starts, i);
    var g = gradient(tensor, i - params.starts[tensor]);
#if CLIP
    g *= clip[1];
#end
    return g + params.l2 * p[params.p_base + i];
}
