// GRU, backward through time. With s_r, s_z, s_n the sums that r, z, n are activations of:
//
//     h[t] = (1 - z) n + z h[t-1]      d_s_n = d_h (1 - z) (1 - n^2)      d_s_z = d_h (h[t-1] - n) z (1 - z)      d_h[t-1] = d_h z + ..
//     s_n = gx_n + r q                 d_q = d_s_n r      d_s_r = d_s_n q r (1 - r)
//
// With the reset gate BEFORE the product gru/backward_reset makes d_s_r, from the d_s_n that is left for it.
//
// Shapes    weight: [directions, hidden, hidden, 4], of r, z, nothing, n   h: [slots, batch, directions, hidden]
//           d_y: [time, batch, directions, hidden] by strides   gates: [time, batch, directions, hidden, 4]
//           d_h, d_n: [batch, directions, hidden]
//           gates hold (r, z, n, q) before and (d_s_r, d_s_z, d_s_n, d_q) after; BEFORE, (r, z, n, r h) and (r, d_s_z, d_s_n, r h)
// Grid      one workgroup per ROWS sequences and `tiles` times COLS units; an invocation has four units
// Numerics  f32
// Source    Cho et al. 2014, arXiv:1406.1078
// Twin      src/ops/gru/cpu.rs

#import state_gradient

@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read> h: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> d_y: array<f32>;
@group(0) @binding(5) var<storage, read_write> gates: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> d_h: array<vec4<f32>>;
#if BEFORE
@group(0) @binding(7) var<storage, read_write> d_n: array<vec4<f32>>;
#end

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    if source == OPERAND {
        return gates[params.gates_base + at(t_next, row) * params.quads + quad];
    }
    return weight[params.weight_base + (direction * 4u * quads_of(params.hidden) + row) * params.quads + quad];
}

// Four units of a sequence at a step of it; returns what is carried to the state before.
fn differentiate(row: u32, quad: u32, d_state: vec4<f32>) -> vec4<f32> {
    let previous = h[params.h_base + at(before(params.h_slots), row) * quads_of(params.hidden) + quad];
    let gate = params.gates_base + at(t, row) * params.hidden + 4u * quad;
    var carried = vec4<f32>();
    var d_sum_n = vec4<f32>();
    for (var i = 0u; i < min(4u, params.hidden - 4u * quad); i++) {
        let g = gates[gate + i];
        let d_s_n = d_state[i] * (1.0 - g.y) * (1.0 - g.z * g.z);
        let d_s_z = d_state[i] * (previous[i] - g.z) * g.y * (1.0 - g.y);
        carried[i] = d_state[i] * g.y;
        d_sum_n[i] = d_s_n;
#if BEFORE
        gates[gate + i] = vec4(g.x, present(vec4(d_s_z, d_s_n, 0.0, 0.0)).xy, g.w);
#else
        gates[gate + i] = present(vec4(d_s_n * g.w * g.x * (1.0 - g.x), d_s_z, d_s_n, d_s_n * g.x));
#end
    }
#if BEFORE
    d_n[params.scratch_base + at(0u, row) * quads_of(params.hidden) + quad] = d_sum_n;
#end
    return carried;
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
        if visible(row) {
            d_state = differentiate(row, quad, d_state);
        } else if t < params.time {
            for (var i = 0u; i < min(4u, params.hidden - 4u * quad); i++) {
                gates[params.gates_base + at(t, row) * params.hidden + 4u * quad + i] = absent();
            }
        }
        d_h[carried_at(row, quad)] = d_state;
    }
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    walk(who, spread(group, groups));
}
