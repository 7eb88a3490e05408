// Dropout between the layers of a recurrent network, in place; the backward is the same, on the gradient.
//
//     x[i] = x[i] / (1 - p) where the random word of element first + i is kept, 0 elsewhere
//
// Shapes    x: [count]
// Grid      one invocation per element, workgroups spread over x and y
// Numerics  what is dropped is 0, whatever it was
// Source    Srivastava et al. 2014; Salmon et al. 2011 (Philox)
// Twin      src/ops/recurrent/cpu.rs

#import index
#import random

const LANES: u32 = 256u;

struct Params {
    count: u32,
    base: u32,
    first_low: u32,
    first_high: u32,
    seed_low: u32,
    seed_high: u32,
    threshold: u32,
    keep_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = spread(group, groups) * LANES + local;
    if i >= params.count {
        return;
    }
    let element = wide_add(vec2(params.first_low, params.first_high), vec2(i, 0u));
    let kept = random_element(vec2(params.seed_low, params.seed_high), element) >= params.threshold;
    let place = params.base + i;
    x[place] = select(0.0, x[place] * params.keep_scale, kept);
}
