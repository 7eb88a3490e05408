// LSTM with a projection, backward through time: the gradient of the projected state of one step, before lstm/backward.
//
//     h[t] = W m[t], y[t] = h[t]      d_p[t] = d_h[t] = d_y[t] + carried + d_s[t+1] U
//
// Shapes    weight: [directions, outputs, hidden, 4]   gates: [time, batch, directions, hidden, 4], which hold d_s
//           d_y: [time, batch, directions, outputs] by strides   d_p: [time, batch, directions, outputs]
//           d_h: [batch, directions, outputs]
// Grid      one workgroup per ROWS sequences and COLS outputs; an invocation has four outputs
// Numerics  f32
// Source    Sak et al. 2014, arXiv:1402.1128
// Twin      src/ops/lstm/cpu.rs

#import state_gradient

@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read> gates: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> d_y: array<f32>;
@group(0) @binding(5) var<storage, read_write> d_h: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> d_p: array<vec4<f32>>;

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    if source == OPERAND {
        return gates[params.gates_base + at(t_next, row) * params.quads + quad];
    }
    return weight[params.weight_base + (direction * 4u * quads_of(params.outputs) + row) * params.quads + quad];
}

// Four outputs of up to 8 sequences.
fn advance(place: Place, column0: u32, products: array<vec4<f32>, 8>) {
    var product = products;
    let row0 = row_of(place);
    let quad = column0 / 4u + x;
    if 4u * quad >= params.column_end {
        return;
    }
    for (var r = 0u; r < rows_left(row0); r++) {
        let row = row0 + r;
        let d_state = state_gradient(row, quad, product[r]);
        let shown = visible(row);
        if t < params.time {
            d_p[params.m_base + at(t, row) * quads_of(params.outputs) + quad] = select(absent(), present(d_state), shown);
        }
        d_h[carried_at(row, quad)] = select(d_state, vec4<f32>(), shown);
    }
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    walk(who, spread(group, groups));
}
