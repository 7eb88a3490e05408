// GRU with the reset gate before the recurrent product, forward: the rest of one time step, after gru/forward.
//
//     n = tanh(gx_n + U_n (r h[t-1]))      h[t] = (1 - z) n + z h[t-1]
//
// Shapes    weight: [directions, hidden, hidden]   reset: [batch, directions, hidden], which is r h
//           gates: [time, batch, directions, hidden, 4]   h: [slots, batch, directions, hidden]   y: [time, batch, directions, hidden] by strides
//           gates hold (r, z, gx_n, r h) before and (r, z, n, r h) after
// Grid      one workgroup per ROWS sequences and COLS units; an invocation has four units
// Numerics  f32
// Source    Cho et al. 2014, arXiv:1406.1078
// Twin      src/ops/gru/cpu.rs

#import recurrent

@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read> reset: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> gates: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> h: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> output: array<f32>;
#import state

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    if source == OPERAND {
        return reset[params.scratch_base + at(0u, row) * params.quads + quad];
    }
    return weight[params.weight_base + (direction * 4u * params.quads + row) * params.quads + quad];
}

fn enter(step: u32) -> bool {
    t = time_of(step);
    return true;
}

// Four units of up to 8 sequences, given U_n (r h).
fn advance(place: Place, column0: u32, products: array<vec4<f32>, 8>) {
    var product = products;
    let row0 = row_of(place);
    let quad = column0 / 4u + x;
    if 4u * quad >= params.column_end {
        return;
    }
    for (var r = 0u; r < rows_left(row0); r++) {
        let row = row0 + r;
        var state = h[state_at(before(params.h_slots), row, quad)];
        if visible(row) {
            for (var i = 0u; i < min(4u, params.hidden - 4u * quad); i++) {
                let gate = params.gates_base + at(t, row) * params.hidden + 4u * quad + i;
                let g = gates[gate];
                let n = stable_tanh(g.z + product[r][i]);
                state[i] = (1.0 - g.y) * n + g.y * state[i];
                gates[gate] = vec4(g.xy, n, g.w);
            }
        }
        set_state(row, quad, visible(row), state);
    }
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    walk(who, spread(group, groups));
}
