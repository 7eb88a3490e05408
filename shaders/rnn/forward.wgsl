// Elman RNN, forward: time steps after the product with the inputs.
//
//     h[t] = tanh(gx[t] + U h[t-1]), or max(0, ..)
//
// Shapes    weight: [directions, outputs, outputs]   gates: [time, batch, directions, outputs], which hold gx
//           h: [slots, batch, directions, outputs]   y: [time, batch, directions, outputs] by strides
// Grid      one workgroup per ROWS sequences and `tiles` times COLS units; an invocation has four units
// Numerics  f32
// Source    Elman 1990
// Twin      src/ops/rnn/cpu.rs

#import recurrent

const RELU: bool = false;

@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read> gates: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> h: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;
#import state

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    if source == OPERAND {
        return h[state_at(before(params.h_slots), row, quad)];
    }
    return weight[params.weight_base + (direction * 4u * params.quads + row) * params.quads + quad];
}

fn enter(step: u32) -> bool {
    t = time_of(step);
    return true;
}

fn activation(v: vec4<f32>) -> vec4<f32> {
    if RELU {
        // Not max, which may make a number of a NaN.
        return select(v, vec4<f32>(), v < vec4<f32>());
    }
    return vec4(stable_tanh(v.x), stable_tanh(v.y), stable_tanh(v.z), stable_tanh(v.w));
}

// Four units of up to 8 sequences, given U h.
fn advance(place: Place, column0: u32, products: array<vec4<f32>, 8>) {
    var product = products;
    let row0 = row_of(place);
    let quad = column0 / 4u + x;
    if 4u * quad >= params.column_end {
        return;
    }
    for (var r = 0u; r < rows_left(row0); r++) {
        let row = row0 + r;
        let gx = gates[params.gates_base + at(t, row) * params.quads + quad];
        set_state(row, quad, visible(row), activation(gx + product[r]));
    }
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    walk(who, spread(group, groups));
}
