// Copies a weight, a bias or a state to where the steps read it, and a gradient back: PyTorch keeps the rows of a gate together, and the
// steps the gates of a unit.
//
//     y[i, j, k] = x[i, slot(j), k], or y += ..      0 where x has no such row, slot or column
//
// Shapes    x, y: [rows, slots, columns] by strides
// Grid      one invocation per element of y, workgroups spread over x and y
// Memory    reads x once, writes y once
// Twin      src/ops/recurrent/cpu.rs

#import index

const LANES: u32 = 256u;

struct Params {
    // Of y, all of which is written.
    rows: u32,
    slots: u32,
    columns: u32,
    // Of x: the rest is 0.
    x_rows: u32,
    x_columns: u32,
    accumulate: u32,
    x_base: u32,
    x_row: u32,
    x_slot: u32,
    x_column: u32,
    y_base: u32,
    y_row: u32,
    y_slot: u32,
    y_column: u32,
    // Whether slots of y go by `slot`, or are those of x.
    mapped: u32,
    padding: u32,
    // The slot of x for each of y; what is past 3 is none.
    slot: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let element = spread(group, groups) * LANES + local;
    if element >= params.rows * params.slots * params.columns {
        return;
    }
    let k = element % params.columns;
    let j = element / params.columns % params.slots;
    let i = element / params.columns / params.slots;
    var slot = j;
    if params.mapped == 1u {
        slot = params.slot[j & 3u];
    }
    let there = i < params.x_rows && k < params.x_columns && (params.mapped == 0u || slot < 4u);
    var value = 0.0;
    if there {
        value = x[params.x_base + i * params.x_row + slot * params.x_slot + k * params.x_column];
    }
    let place = params.y_base + i * params.y_row + j * params.y_slot + k * params.y_column;
    if params.accumulate == 1u {
        value += y[place];
    }
    y[place] = value;
}
