// The gradient of a linear-chain CRF's emissions, and each sequence's part of those of start and end.
//
//     d_emissions[b,t,k] = w (marginal[b,t,k] - [tags[b,t] = k])       w = scale d_loss; 0 past `reached`
//     ends[b,0]          = d_emissions[b,0]         ends[b,1] = d_emissions[b,reached-1]         0 without a step
//
// Shapes    marginals, d_emissions: [batch, time, columns]   tags: [batch, time]   reached: [batch]   d_loss: []   ends: [batch, 2, columns]
// Grid      one invocation per element of d_emissions, workgroups spread over x and y
// Memory    reads marginals once, writes d_emissions once
// Source    Lafferty, McCallum & Pereira 2001
// Twin      src/ops/crf/cpu.rs

#import chain

const LANES: u32 = 256u;

@group(0) @binding(1) var<storage, read> marginals: array<f32>; // [batch, time, columns]
@group(0) @binding(2) var<storage, read> tags: array<i32>; // [batch, time]
@group(0) @binding(3) var<storage, read> reached: array<i32>; // [batch]
@group(0) @binding(4) var<storage, read> d_loss: array<f32>; // []
@group(0) @binding(5) var<storage, read_write> d_emissions: array<f32>; // [batch, time, columns]
@group(0) @binding(6) var<storage, read_write> ends: array<f32>; // [batch, 2, columns]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let k = params.columns;
    let element = spread(group, groups) * LANES + local;
    let row = params.first + element / k;
    let column = element % k;
    if row >= params.rows {
        return;
    }
    let sequence = row / params.time;
    let t = row % params.time;
    let length = u32(reached[params.reached_base + sequence]);
    var gradient = 0.0;
    if t < length {
        let chosen = u32(tags[params.tags_base + row]) == column;
        let difference = marginals[params.marginals_base + row * k + column] - select(0.0, 1.0, chosen);
        gradient = params.scale * d_loss[params.d_loss_base] * difference;
    }
    d_emissions[params.d_emissions_base + row * k + column] = gradient;
    let end = params.ends_base + 2u * sequence * k + column;
    if t == 0u {
        ends[end] = gradient;
    }
    if t + 1u == max(length, 1u) {
        ends[end + k] = gradient;
    }
}
