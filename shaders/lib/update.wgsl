// One step of an optimizer on parameters that follow one another in memory, with what lies between.
//
// The importing kernel declares the state, one array for each kind of it, laid out as the parameters are.

#import index
#import parameter_gradients

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
    starts: array<vec4<u32>, 3>,
    lengths: array<vec4<u32>, 3>,
    g_bases: array<vec4<u32>, 3>,
}

@group(0) @binding(0) var<uniform> params: Params;
#if CLIP
@group(0) @binding(12) var<storage, read> clip: array<f32>; // the norm of all gradients, and what they are multiplied by
#end
@group(0) @binding(13) var<storage, read_write> p: array<f32>;

// An element of the parameters: which one it is of, and its index there.
struct Element {
    tensor: u32,
    at: u32,
    // Not behind the last one, nor between two.
    inside: bool,
}

fn element(i: u32) -> Element {
    let tensor = tensor_of(i);
    let at = i - start_of(tensor);
    return Element(tensor, at, i < params.count && at < length_of(tensor));
}

// The gradient of an element that is inside, element `i` of the dispatch: clipped, and with the weight decay that is part of it.
fn clipped(own: Element, i: u32) -> f32 {
    var g = gradient(own.tensor, own.at);
#if CLIP
    g *= clip[1];
#end
    return g + params.l2 * p[params.p_base + i];
}
