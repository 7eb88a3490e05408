// Copies runs of neighbouring elements from one strided tensor to another: tokens into a key/value cache, and the cache when it moves.
//
//     y[y_base + o y_stride + i] = x[x_base + o x_stride + i], or 0 from i = x_count on     for o < outer and i < count
//
// Shapes    x, y: [outer, count] by strides, of one type, in different buffers
// Grid      one invocation per element, workgroups spread over x and y
// Memory    reads x once, writes y once
// Twin      src/ops/attention/cpu.rs

#import index

alias elem = f32;
const LANES: u32 = 256u;

struct Params {
    // Runs, and the elements of each; their product fits a u32.
    outer: u32,
    count: u32,
    x_base: u32,
    x_stride: u32,
    y_base: u32,
    y_stride: u32,
    // Elements that a run of x has.
    x_count: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<elem>; // [outer, count] by x_stride
@group(0) @binding(2) var<storage, read_write> y: array<elem>; // [outer, count] by y_stride

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let at = spread(group, groups) * LANES + local;
    if at >= params.outer * params.count {
        return;
    }
    let o = at / params.count;
    let i = at % params.count;
    var value = elem(0.0);
    if i < params.x_count {
        value = x[params.x_base + o * params.x_stride + i];
    }
    y[params.y_base + o * params.y_stride + i] = value;
}
