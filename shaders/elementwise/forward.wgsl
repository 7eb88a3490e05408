// The sum or the product of two tensors, each repeated where the other is larger.
//
//     y[i] = a[i] + b[i]          or a[i] b[i] with MULTIPLY
//
// Shapes    a, b, y: [count] indices as up to 4 axes, each tensor by strides, 0 where it is repeated
// Grid      one invocation per element of y, workgroups spread over x and y
// Numerics  f32
// Memory    reads a and b once for each repetition, writes y once
// Source    numpy's rules of broadcasting
// Twin      src/ops/elementwise/cpu.rs

#import index

const LANES: u32 = 256u;
const MULTIPLY: bool = false;

struct Params {
    count: u32,
    // Bits 0, 1 and 2: a, b and y have their elements one after the other, so that an index is an offset.
    dense: u32,
    a_base: u32,
    b_base: u32,
    y_base: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
    sizes: vec4<u32>,
    a_strides: vec4<u32>,
    b_strides: vec4<u32>,
    y_strides: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

// All three are dense.
const DENSE: u32 = 7u;

fn place(tensor: u32, i: u32, at: vec4<u32>, strides: vec4<u32>) -> u32 {
    return select(offset_at(at, strides), i, (params.dense >> tensor & 1u) == 1u);
}

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
    var at = vec4(0u);
    if params.dense != DENSE {
        at = indices_of(i, params.sizes);
    }
    let left = a[params.a_base + place(0u, i, at, params.a_strides)];
    let right = b[params.b_base + place(1u, i, at, params.b_strides)];
    y[params.y_base + place(2u, i, at, params.y_strides)] = select(left + right, left * right, MULTIPLY);
}
