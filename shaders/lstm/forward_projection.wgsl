// LSTM with a projection, forward: the state of one time step, h[t] = W m[t] with m from lstm/forward.
//
// Shapes    weight: [directions, outputs, hidden]   m, h: [slots, batch, directions, hidden or outputs]
//           y: [time, batch, directions, outputs] by strides
// Grid      one workgroup per ROWS sequences and COLS outputs; an invocation has four outputs
// Numerics  f32
// Source    Sak et al. 2014, arXiv:1402.1128
// Twin      src/ops/lstm/cpu.rs

#import recurrent

@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read> m: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> h: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;
#import state

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    if source == OPERAND {
        return m[params.m_base + at(t % params.m_slots, row) * params.quads + quad];
    }
    return weight[params.weight_base + (direction * 4u * quads_of(params.outputs) + row) * params.quads + quad];
}

fn enter(step: u32) -> bool {
    t = time_of(step);
    return true;
}

// Four outputs of up to 8 sequences.
fn advance(place: Place, column0: u32, products: array<vec4<f32>, 8>) {
    var state = products;
    let row0 = row_of(place);
    let quad = column0 / 4u + x;
    if 4u * quad < params.column_end {
        for (var r = 0u; r < rows_left(row0); r++) {
            set_state(row0 + r, quad, visible(row0 + r), state[r]);
        }
    }
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    walk(who, spread(group, groups));
}
