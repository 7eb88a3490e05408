// GRU, forward: time steps after the product with the inputs.
//
//     r = sigmoid(gx_r + U_r h[t-1])      z = sigmoid(gx_z + U_z h[t-1])
//     n = tanh(gx_n + r q)                q = U_n h[t-1] + b_n
//     h[t] = (1 - z) n + z h[t-1]
//
// With the reset gate BEFORE the product, n = tanh(gx_n + U_n (r h[t-1])): this makes r, z and r h, and gru/forward_candidate the rest.
//
// Shapes    weight: [directions, hidden, 4, hidden], of r, z, nothing, n   gates: [time, batch, directions, hidden, 4]
//           h: [slots, batch, directions, hidden]   y: [time, batch, directions, hidden] by strides
//           gates hold (gx_r, gx_z, gx_n, b_n) before and (r, z, n, q) after, or (r, z, gx_n, r h)
// Grid      one workgroup per ROWS sequences and `tiles` times GRID_X units; an invocation has the gates of a unit
// Numerics  f32
// Source    Cho et al. 2014, arXiv:1406.1078
// Twin      src/ops/gru/cpu.rs

#import recurrent
#import handover

@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read_write> gates: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> h: array<vec4<f32>>;
#if BEFORE
@group(0) @binding(5) var<storage, read_write> reset: array<vec4<f32>>; // [batch, directions, hidden]
#else
@group(0) @binding(6) var<storage, read_write> output: array<f32>;
#import state
#end

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    if source == OPERAND {
        return h[params.h_base + at(before(params.h_slots), row) * params.quads + quad];
    }
    return weight[params.weight_base + (direction * 4u * params.hidden + row) * params.quads + quad];
}

fn enter(step: u32) -> bool {
    t = time_of(step);
    return true;
}

fn put(row: u32, quad: u32, units: vec4<f32>) {
#if BEFORE
    reset[params.scratch_base + at(0u, row) * params.quads + quad] = units;
#else
    set_state(row, quad, visible(row), units);
#end
}

// One unit of up to 8 sequences, given U h.
fn advance(place: Place, column0: u32, products: array<vec4<f32>, 8>) {
    var product = products;
    let row0 = row_of(place);
    let unit = column0 / 4u + x;
    for (var r = 0u; r < rows_left(row0); r++) {
        let row = row0 + r;
        var out = 0.0;
        if 4u * unit < params.column_end && visible(row) {
            let gate = params.gates_base + at(t, row) * params.hidden + unit;
            let previous = h[params.h_base + at(before(params.h_slots), row) * params.quads + unit / 4u][unit % 4u];
            let gx = gates[gate];
            let reset_gate = sigmoid(gx.x + product[r].x);
            let z = sigmoid(gx.y + product[r].y);
#if BEFORE
            out = reset_gate * previous;
            gates[gate] = vec4(reset_gate, z, gx.z, out);
#else
            let q = gx.w + product[r].w;
            let n = stable_tanh(gx.z + reset_gate * q);
            out = (1.0 - z) * n + z * previous;
            if params.keep == 1u {
                gates[gate] = vec4(reset_gate, z, n, q);
            }
#end
        }
        leave(r, out);
    }
    hand_over(place.row0, column0 / 4u);
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    walk(who, spread(group, groups));
}
