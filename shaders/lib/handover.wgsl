// Where an invocation has single units of a state, and memory takes vectors of four: they go through workgroup memory.
//
// An invocation leaves its unit of each of its rows in `outbox`; `hand_over` then gives them to the importing kernel's
//     fn put(row: u32, quad: u32, units: vec4<f32>)
// A vector's elements are written together, since two invocations must not write to one vector.

#import recurrent

// [row, unit]
var<workgroup> outbox: array<f32, ROWS * GRID_X>;

fn leave(row: u32, unit: f32) {
    outbox[(8u * y + row) * GRID_X + x] = unit;
}

// Of the units from unit0 on.
fn hand_over(row0: u32, unit0: u32) {
    workgroupBarrier();
    for (var i = lane; i < ROWS * GRID_X / 4u; i += LANES) {
        let row = row0 + i / (GRID_X / 4u);
        let quad = unit0 / 4u + i % (GRID_X / 4u);
        if row < params.batch_end && 16u * quad < params.column_end {
            put(row, quad, vec4(outbox[4u * i], outbox[4u * i + 1u], outbox[4u * i + 2u], outbox[4u * i + 3u]));
        }
    }
    workgroupBarrier();
}
