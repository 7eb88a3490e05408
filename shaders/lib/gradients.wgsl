// The gradients that a dispatch reads: up to three tensors, since a kernel has eight bindings.
//
// The importing kernel's params have `g_bases`, the index of each one's first element.

@group(0) @binding(1) var<storage, read> g0: array<f32>;
@group(0) @binding(2) var<storage, read> g1: array<f32>; // g0 again where there is no second
@group(0) @binding(3) var<storage, read> g2: array<f32>; // likewise

// Element `at` of one of them.
fn gradient(tensor: u32, at: u32) -> f32 {
    let place = params.g_bases[tensor] + at;
    if tensor == 0u {
        return g0[place];
    }
    if tensor == 1u {
        return g1[place];
    }
    return g2[place];
}

// Which of three ranges that follow one another `i` is in, by where they begin.
fn range_of(starts: vec4<u32>, i: u32) -> u32 {
    return u32(i >= starts.y) + u32(i >= starts.z);
}
