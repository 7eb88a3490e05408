// An activation function, element by element.
//
//     y[i] = f(x[i])
//
// Shapes    x, y: [count]
// Grid      one invocation per element, workgroups spread over x and y
// Numerics  f32
// Memory    reads x once, writes y once
// Source    shaders/lib/activation.wgsl
// Twin      src/ops/activation/cpu.rs

#import index
#import activation

const LANES: u32 = 256u;

struct Params {
    count: u32,
    x_base: u32,
    y_base: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = spread(group, groups) * LANES + local;
    if i < params.count {
        y[params.y_base + i] = activation(x[params.x_base + i]);
    }
}
