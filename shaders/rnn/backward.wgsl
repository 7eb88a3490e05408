// Elman RNN, backward through time. With s the sum that h is the activation of:
//
//     h = tanh(s)      d_s = d_h (1 - h^2)      and for max(0, s), d_s = d_h where h > 0
//
// Shapes    weight: [directions, outputs, outputs]   h: [slots, batch, directions, outputs]
//           d_y: [time, batch, directions, outputs] by strides   gates: [time, batch, directions, outputs], which take d_s
//           d_h: [batch, directions, outputs]
// Grid      one workgroup per ROWS sequences and `tiles` times COLS units; an invocation has four units
// Numerics  f32
// Source    Elman 1990; Werbos 1990 (backpropagation through time)
// Twin      src/ops/rnn/cpu.rs

#import state_gradient

const RELU: bool = false;

@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read> h: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> d_y: array<f32>;
@group(0) @binding(5) var<storage, read_write> gates: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> d_h: array<vec4<f32>>;

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    if source == OPERAND {
        return gates[params.gates_base + at(t_next, row) * params.quads + quad];
    }
    return weight[params.weight_base + (direction * 4u * params.quads + row) * params.quads + quad];
}

// Four units of up to 8 sequences.
fn advance(place: Place, column0: u32, products: array<vec4<f32>, 8>) {
    var product = products;
    let row0 = row_of(place);
    let quad = column0 / 4u + x;
    if 4u * quad >= params.column_end {
        return;
    }
    for (var r = 0u; r < rows_left(row0); r++) {
        let row = row0 + r;
        var d_state = state_gradient(row, quad, product[r]);
        if t < params.time {
            var d_sum = absent();
            if visible(row) {
                let state = h[params.h_base + at(after(params.h_slots), row) * params.quads + quad];
                if RELU {
                    d_sum = select(vec4<f32>(), d_state, state > vec4<f32>());
                } else {
                    d_sum = d_state * (1.0 - state * state);
                }
                d_sum = present(d_sum);
                d_state = vec4<f32>();
            }
            gates[params.gates_base + at(t, row) * params.quads + quad] = d_sum;
        }
        d_h[carried_at(row, quad)] = d_state;
    }
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    walk(who, spread(group, groups));
}
