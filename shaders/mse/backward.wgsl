// The squared error, backward.
//
//     d_x[i] = 2 d (x[i] - target[i])        d_target[i] = -d_x[i]        d = scale d_loss
//
// Shapes    x, targets, d_x, d_targets: [count]   d_loss: [count] or one number
// Grid      one workgroup per LANES EACH elements, spread over x and y
// Memory    reads x and targets once, writes both gradients once
// Source    the derivative of forward.wgsl
// Twin      src/ops/mse/cpu.rs

#import elements

const LANES: u32 = 256u; // invocations

@group(0) @binding(1) var<storage, read> x: array<f32>; // [count]
@group(0) @binding(2) var<storage, read> targets: array<f32>; // [count]
@group(0) @binding(3) var<storage, read> d_loss: array<f32>; // [count] or one number
@group(0) @binding(4) var<storage, read_write> d_x: array<f32>; // [count]
@group(0) @binding(5) var<storage, read_write> d_targets: array<f32>; // [count]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let workgroup = params.first + spread(group, groups);
    if workgroup >= params.end {
        return;
    }
    let slice = slice_of(workgroup);
    for (var i = slice.x + local; i < slice.y; i += LANES) {
        let d_term = params.scale * d_loss[params.d_loss_base + i * params.d_loss_step];
        let d = 2.0 * d_term * (x[params.x_base + i] - targets[params.targets_base + i]);
        d_x[params.d_x_base + i] = d;
        d_targets[params.d_targets_base + i] = -d;
    }
}
