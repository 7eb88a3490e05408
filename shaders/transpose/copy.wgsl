// Copies a tensor to another through strides: transposes, slices and what is put together, runs of neighbours, rows that get wider.
//
//     y[i] = x[i] for each index i of up to 4 axes, or 0 where the last one is beyond `given`
//
// Shapes    x, y: [count] indices, each tensor by strides, of one type, in different buffers
// Grid      one invocation per element, workgroups spread over x and y
// Memory    reads x once, writes y once; neighbours in y are written together
// Twin      src/ops/transpose/cpu.rs

#import index

alias elem = f32;
const LANES: u32 = 256u;

struct Params {
    count: u32,
    x_base: u32,
    y_base: u32,
    // Indices of the last axis that x has.
    given: u32,
    sizes: vec4<u32>,
    x_strides: vec4<u32>,
    y_strides: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<elem>;
@group(0) @binding(2) var<storage, read_write> y: array<elem>;

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
    let at = indices_of(i, params.sizes);
    var value = elem(0.0);
    if at.w < params.given {
        value = x[params.x_base + offset_at(at, params.x_strides)];
    }
    y[params.y_base + offset_at(at, params.y_strides)] = value;
}
