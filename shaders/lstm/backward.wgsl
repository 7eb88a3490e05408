// LSTM, backward through time. With s_i .. s_o the sums that i .. o are activations of:
//
//     h = o tanh(c)             d_c += d_h o (1 - tanh(c)^2) + p_o d_s_o      d_s_o = d_h tanh(c) o (1 - o)
//     c[t] = f c[t-1] + i g     d_s_i = d_c g i (1 - i)      d_s_f = d_c c[t-1] f (1 - f)      d_s_g = d_c i (1 - g^2)
//     s_i = .. + p_i c[t-1]     d_c[t-1] = d_c f + p_i d_s_i + p_f d_s_f
//
// d_h comes from the product with the next step's d_s, or where h is PROJECTED from what lstm/backward_projection left.
//
// Shapes    weight: [directions, hidden, hidden, 4], or [directions, hidden, outputs]   peep: [directions, 3, hidden]
//           cells: [slots, batch, directions, hidden]   d_y: [time, batch, directions, outputs] by strides
//           d_p: [time, batch, directions, outputs]   gates: [time, batch, directions, hidden, 4]   d_h, d_c: [batch, directions, hidden]
//           gates hold (i, f, g, o) before and d_s after
// Grid      one workgroup per ROWS sequences and `tiles` times COLS units; an invocation has four units
// Numerics  f32
// Source    Hochreiter & Schmidhuber 1997; Gers et al. 2002 (peepholes); Sak et al. 2014, arXiv:1402.1128 (projection)
// Twin      src/ops/lstm/cpu.rs

#import through_time

@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
#if PEEP
@group(0) @binding(3) var<storage, read> peep: array<f32>;
#end
@group(0) @binding(4) var<storage, read> cells: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> gates: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> d_c: array<vec4<f32>>;
#if PROJECTED
@group(0) @binding(5) var<storage, read> d_p: array<vec4<f32>>;

fn enter(step: u32) -> bool {
    go_back_to(step);
    return true;
}
#else
@group(0) @binding(6) var<storage, read> d_y: array<f32>;
@group(0) @binding(9) var<storage, read_write> d_h: array<vec4<f32>>;
#import state_gradient
#end

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    if source == OPERAND {
#if PROJECTED
        return d_p[params.m_base + at(t, row) * params.quads + quad];
#else
        return gates[params.gates_base + at(t_next, row) * params.quads + quad];
#end
    }
    return weight[params.weight_base + (direction * 4u * quads_of(params.hidden) + row) * params.quads + quad];
}

// Four units of a sequence at a step of it.
fn differentiate(row: u32, quad: u32, d_hidden: vec4<f32>) {
    let place = at(0u, row) * quads_of(params.hidden) + quad;
    let cell = cells[params.cells_base + at(after(params.cell_slots), row) * quads_of(params.hidden) + quad];
    let previous = cells[params.cells_base + at(before(params.cell_slots), row) * quads_of(params.hidden) + quad];
    let gate = params.gates_base + at(t, row) * params.hidden + 4u * quad;
    var d_cell = d_c[params.d_c_base + place];
    for (var i = 0u; i < min(4u, params.hidden - 4u * quad); i++) {
        let g = gates[gate + i];
        let squashed = stable_tanh(cell[i]);
        let d_o = d_hidden[i] * squashed * g.w * (1.0 - g.w);
        var d = d_cell[i] + d_hidden[i] * g.w * (1.0 - squashed * squashed);
#if PEEP
        let p = params.peep_base + direction * 3u * params.hidden + 4u * quad + i;
        d += d_o * peep[p + 2u * params.hidden];
#end
        let d_sums = vec4(d * g.z * g.x * (1.0 - g.x), d * previous[i] * g.y * (1.0 - g.y), d * g.x * (1.0 - g.z * g.z), d_o);
        gates[gate + i] = present(d_sums);
        d *= g.y;
#if PEEP
        d += d_sums.x * peep[p] + d_sums.y * peep[p + params.hidden];
#end
        d_cell[i] = d;
    }
    d_c[params.d_c_base + place] = d_cell;
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
        var d_hidden = product[r];
#if PROJECTED
#else
        d_hidden = state_gradient(row, quad, d_hidden);
#end
        if visible(row) {
            differentiate(row, quad, d_hidden);
            d_hidden = vec4<f32>();
        } else if t < params.time {
            for (var i = 0u; i < min(4u, params.hidden - 4u * quad); i++) {
                gates[params.gates_base + at(t, row) * params.hidden + 4u * quad + i] = absent();
            }
        }
#if PROJECTED
#else
        d_h[carried_at(row, quad)] = d_hidden;
#end
    }
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    walk(who, spread(group, groups));
}
