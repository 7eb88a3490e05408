// LSTM, forward: time steps after the product with the inputs.
//
//     (i, f, g, o)[t] = gx[t] + U h[t-1] + (p_i c[t-1], p_f c[t-1], 0, p_o c[t])
//     c[t] = sigmoid(f) c[t-1] + sigmoid(i) tanh(g)
//     h[t] = sigmoid(o) tanh(c[t])      with a projection it is called m, and lstm/forward_projection makes h of it
//
// Shapes    weight: [directions, hidden, 4, outputs]   peep: [directions, 3, hidden]   gates: [time, batch, directions, hidden, 4]
//           h, cells, m: [slots, batch, directions, outputs or hidden]   y: [time, batch, directions, outputs] by strides
//           gates hold gx before and, when they are kept, what the activations made of them after
// Grid      one workgroup per ROWS sequences and `tiles` times GRID_X units; an invocation has the four gates of a unit
// Numerics  f32
// Source    Hochreiter & Schmidhuber 1997; Gers et al. 2002 (peepholes); Sak et al. 2014, arXiv:1402.1128 (projection)
// Twin      src/ops/lstm/cpu.rs

#import recurrent
#import handover

@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
#if PEEP
@group(0) @binding(3) var<storage, read> peep: array<f32>;
#end
@group(0) @binding(4) var<storage, read_write> gates: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> cells: array<f32>;
@group(0) @binding(6) var<storage, read_write> h: array<vec4<f32>>;
#if PROJECTED
@group(0) @binding(7) var<storage, read_write> m: array<vec4<f32>>;
#else
@group(0) @binding(8) var<storage, read_write> output: array<f32>;
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
#if PROJECTED
    m[params.m_base + at(t % params.m_slots, row) * quads_of(params.hidden) + quad] = units;
#else
    set_state(row, quad, visible(row), units);
#end
}

fn cell_at(slot: u32, row: u32, unit: u32) -> u32 {
    return params.cells_base + at(slot, row) * 4u * quads_of(params.hidden) + unit;
}

// One unit of up to 8 sequences, given U h.
fn advance(place: Place, column0: u32, products: array<vec4<f32>, 8>) {
    var product = products;
    let row0 = row_of(place);
    let unit = column0 / 4u + x;
#if PEEP
    let p = params.peep_base + direction * 3u * params.hidden + unit;
#end
    for (var r = 0u; r < rows_left(row0); r++) {
        let row = row0 + r;
        var out = 0.0;
        if 4u * unit < params.column_end {
            var cell = cells[cell_at(before(params.cell_slots), row, unit)];
            if visible(row) {
                let gate = params.gates_base + at(t, row) * params.hidden + unit;
                var sum = gates[gate] + product[r];
#if PEEP
                sum.x += peep[p] * cell;
                sum.y += peep[p + params.hidden] * cell;
#end
                let i = sigmoid(sum.x);
                let f = sigmoid(sum.y);
                let g = stable_tanh(sum.z);
                cell = f * cell + i * g;
#if PEEP
                sum.w += peep[p + 2u * params.hidden] * cell;
#end
                let o = sigmoid(sum.w);
                out = o * stable_tanh(cell);
                if params.keep == 1u {
                    gates[gate] = vec4(i, f, g, o);
                }
            }
            cells[cell_at(after(params.cell_slots), row, unit)] = cell;
        }
        leave(r, out);
    }
    hand_over(place.row0, column0 / 4u);
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    walk(who, spread(group, groups));
}
