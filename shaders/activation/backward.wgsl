// The gradient of an activation function, element by element.
//
//     y = f(x):  d_x[i] = d_y[i] f'(x[i])
//
// Shapes    x, d_y, d_x: [count]
// Grid      one invocation per element, workgroups spread over x and y
// Numerics  f32
// Memory    reads x and d_y once, writes d_x once
// Source    shaders/lib/activation.wgsl
// Twin      src/ops/activation/cpu.rs

#import index
#import activation

const LANES: u32 = 256u;

struct Params {
    count: u32,
    x_base: u32,
    d_y_base: u32,
    d_x_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> d_y: array<f32>;
@group(0) @binding(3) var<storage, read_write> d_x: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = spread(group, groups) * LANES + local;
    if i < params.count {
        d_x[params.d_x_base + i] = d_y[params.d_y_base + i] * derivative(x[params.x_base + i]);
    }
}
