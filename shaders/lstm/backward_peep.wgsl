// The gradients of an LSTM's peepholes, once all steps are walked.
//
//     d_p_i = sum_t,b d_s_i[t] c[t-1]      d_p_f = sum_t,b d_s_f[t] c[t-1]      d_p_o = sum_t,b d_s_o[t] c[t]
//
// Shapes    gates: [time, batch, directions, hidden, 4], which hold d_s   cells: [time + 1, batch, directions, hidden]
//           d_peep: [directions, 3, hidden]
// Grid      one workgroup per UNITS units of a direction: its invocations share the terms of each
// Numerics  f32; each invocation adds its terms in order, then the invocations' sums are added in order
// Source    Gers et al. 2002
// Twin      src/ops/lstm/cpu.rs

#import index

const LANES: u32 = 256u;
const UNITS: u32 = 16u;

struct Params {
    // Sequences at times.
    rows: u32,
    batch: u32,
    directions: u32,
    hidden: u32,
    accumulate: u32,
    workgroups: u32,
    gates_base: u32,
    cells_base: u32,
    d_peep_base: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gates: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> cells: array<f32>;
@group(0) @binding(3) var<storage, read_write> d_peep: array<f32>;

var<workgroup> sums: array<vec4<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = spread(group, groups);
    if workgroup >= params.workgroups {
        return;
    }
    let direction = workgroup % params.directions;
    let unit = workgroup / params.directions * UNITS + local % UNITS;
    let pitch = (params.hidden + 3u) / 4u * 4u;
    var sum = vec4<f32>();
    if unit < params.hidden {
        for (var i = local / UNITS; i < params.rows; i += LANES / UNITS) {
            let low = cells[params.cells_base + (i * params.directions + direction) * pitch + unit];
            let high = cells[params.cells_base + ((i + params.batch) * params.directions + direction) * pitch + unit];
            // Direction 0 goes from the lower slot to the higher one.
            let previous = select(low, high, direction == 1u);
            let cell = select(high, low, direction == 1u);
            let d = gates[params.gates_base + (i * params.directions + direction) * params.hidden + unit];
            sum += d * vec4(previous, previous, 0.0, cell);
        }
    }
    sums[local] = sum;
    workgroupBarrier();
    if local >= UNITS || unit >= params.hidden {
        return;
    }
    for (var i = local + UNITS; i < LANES; i += UNITS) {
        sum += sums[i];
    }
    let place = params.d_peep_base + direction * 3u * params.hidden + unit;
    if params.accumulate == 1u {
        sum += vec4(d_peep[place], d_peep[place + params.hidden], 0.0, d_peep[place + 2u * params.hidden]);
    }
    d_peep[place] = sum.x;
    d_peep[place + params.hidden] = sum.y;
    d_peep[place + 2u * params.hidden] = sum.w;
}
