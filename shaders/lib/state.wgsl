// The new state of four units of a sequence, and y beside it. Past the sequence's end the state stays and y is 0.
//
// The importing kernel has
//     var<storage, read_write> h: array<vec4<f32>>;      [slots, batch, directions, outputs]
//     var<storage, read_write> output: array<f32>;            [time, batch, directions, outputs] by strides

#import recurrent

fn state_at(slot: u32, row: u32, quad: u32) -> u32 {
    return params.h_base + at(slot, row) * quads_of(params.outputs) + quad;
}

fn set_state(row: u32, quad: u32, visible: bool, units: vec4<f32>) {
    var state = units;
    if !visible {
        state = h[state_at(before(params.h_slots), row, quad)];
    }
    h[state_at(after(params.h_slots), row, quad)] = state;
    var shown = select(vec4<f32>(), units, visible);
    for (var i = 0u; i < min(4u, params.outputs - 4u * quad); i++) {
        output[y_at(row, 4u * quad + i)] = shown[i];
    }
}
