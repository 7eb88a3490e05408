// The gradient of a sum over axes: the upstream gradient, repeated along them.
//
//     y[i] = sum_t x[i, t]
//     d_x[i, t] = d_y[i]
//
// Shapes    d_x: contiguous, as up to 4 axes   d_y: found through strides, 0 along the summed axes
// Grid      one invocation per element of d_x, workgroups spread over x and y
// Memory    reads d_y once for each repetition, writes d_x once
// Twin      src/ops/sum/cpu.rs

#import index

const LANES: u32 = 256u;

struct Params {
    count: u32,
    // The first element of this dispatch, as the sizes count them.
    first: u32,
    d_y_base: u32,
    d_x_base: u32,
    sizes: vec4<u32>,
    strides: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> d_y: array<f32>;
@group(0) @binding(2) var<storage, read_write> d_x: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = spread(group, groups) * LANES + local;
    if i < params.count {
        d_x[params.d_x_base + i] = d_y[params.d_y_base + offset_of(params.first + i, params.sizes, params.strides)];
    }
}
