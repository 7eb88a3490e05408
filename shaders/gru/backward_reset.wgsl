// GRU with the reset gate before the recurrent product, backward through time: the reset gate's part of one step, after gru/backward.
//
//     s_n = gx_n + U_n (r h[t-1])      d_rh = d_s_n U_n      d_s_r = d_rh h[t-1] r (1 - r)      d_h[t-1] += d_rh r
//
// Shapes    weight: [directions, hidden, hidden]   d_n: [batch, directions, hidden], which is d_s_n   h: [slots, batch, directions, hidden]
//           gates: [time, batch, directions, hidden, 4]   d_h: [batch, directions, hidden]
//           gates hold (r, d_s_z, d_s_n, r h) before and (d_s_r, d_s_z, d_s_n, r h) after
// Grid      one workgroup per ROWS sequences and COLS units; an invocation has four units
// Numerics  f32
// Source    Cho et al. 2014, arXiv:1406.1078
// Twin      src/ops/gru/cpu.rs

#import through_time

@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read> h: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> d_n: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> gates: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> d_h: array<vec4<f32>>;

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    if source == OPERAND {
        return d_n[params.scratch_base + at(0u, row) * params.quads + quad];
    }
    return weight[params.weight_base + (direction * 4u * params.quads + row) * params.quads + quad];
}

fn enter(step: u32) -> bool {
    go_back_to(step);
    return true;
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
        if visible(row) {
            let previous = h[params.h_base + at(before(params.h_slots), row) * params.quads + quad];
            var carried = d_h[params.d_h_base + at(0u, row) * params.quads + quad];
            for (var i = 0u; i < min(4u, params.hidden - 4u * quad); i++) {
                let gate = params.gates_base + at(t, row) * params.hidden + 4u * quad + i;
                let g = gates[gate];
                let d_s_r = product[r][i] * previous[i] * g.x * (1.0 - g.x);
                gates[gate] = vec4(present(vec4(d_s_r)).x, g.yzw);
                carried[i] += product[r][i] * g.x;
            }
            d_h[params.d_h_base + at(0u, row) * params.quads + quad] = carried;
        }
    }
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    walk(who, spread(group, groups));
}
