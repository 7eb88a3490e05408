// Dropout, and its gradient, which is the same on the upstream gradient.
//
//     y[i] = x[i] / (1 - p) where the random word of element first + i is kept, 0 elsewhere
//
// Shapes    x, y: [count]; with IN_PLACE x is y
// Grid      one invocation per four elements that share a counter, workgroups spread over x and y
// Numerics  what is dropped is 0, whatever it was
// Memory    reads x once, writes y once; no mask is stored
// Source    Srivastava et al. 2014; Salmon et al. 2011 (Philox)
// Twin      src/ops/dropout/cpu.rs

#import index
#import random

const LANES: u32 = 256u;

struct Params {
    count: u32,
    x_base: u32,
    y_base: u32,
    first_low: u32,
    first_high: u32,
    seed_low: u32,
    seed_high: u32,
    threshold: u32,
    keep_scale: f32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if IN_PLACE
#else
@group(0) @binding(1) var<storage, read> x: array<f32>;
#end
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn value(i: u32) -> f32 {
#if IN_PLACE
    return y[params.y_base + i];
#else
    return x[params.x_base + i];
#end
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // The elements of this counter begin `before` elements before those of the dispatch, or later.
    let quad = spread(group, groups) * LANES + local;
    let before = params.first_low & 3u;
    if 4u * quad >= params.count + before {
        return;
    }
    let first = vec2((params.first_low >> 2u) | (params.first_high << 30u), params.first_high >> 2u);
    let words = philox4x32(vec4(wide_add(first, vec2(quad, 0u)), 0u, 0u), vec2(params.seed_low, params.seed_high));
    for (var word = 0u; word < 4u; word++) {
        // Wraps around where it is before the first.
        let i = 4u * quad + word - before;
        if i < params.count {
            y[params.y_base + i] = select(0.0, value(i) * params.keep_scale, words[word] >= params.threshold);
        }
    }
}
