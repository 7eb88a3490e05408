// Binary cross entropy of logits, backward.
//
//     d_logits[i] = d w ((1 - t) s(x) - p t s(-x))        s(x) = 1 / (1 + exp(-x)), d = scale d_loss; x, t, w, p as in forward.wgsl
//
// Shapes    logits, targets, d_logits: [count]   weight, pos_weight: broadcast by strides, or 1   d_loss: [count] or one number
// Grid      one workgroup per LANES EACH elements, spread over x and y
// Numerics  f32; s through exp(-|x|), which cannot overflow
// Memory    reads logits and targets once, writes d_logits once
// Source    the derivative of forward.wgsl
// Twin      src/ops/binary_cross_entropy/cpu.rs

#import elements

const LANES: u32 = 256u; // invocations

@group(0) @binding(1) var<storage, read> logits: array<f32>; // [count]
@group(0) @binding(2) var<storage, read> targets: array<f32>; // [count]
#if WEIGHT
@group(0) @binding(3) var<storage, read> weight: array<f32>; // broadcast to [count]
#end
#if POS_WEIGHT
@group(0) @binding(4) var<storage, read> pos_weight: array<f32>; // broadcast to [count]
#end
@group(0) @binding(5) var<storage, read> d_loss: array<f32>; // [count] or one number
@group(0) @binding(6) var<storage, read_write> d_logits: array<f32>; // [count]

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
        let x = logits[params.x_base + i];
        let t = targets[params.targets_base + i];
        let e = exp(-abs(x));
        let far = 1.0 / (1.0 + e);
        let near = e / (1.0 + e);
        var positive = t * select(far, near, x >= 0.0);
#if POS_WEIGHT
        positive *= pos_weight[params.pos_weight_base + broadcast_at(i, params.pos_weight_strides)];
#end
        var d = (1.0 - t) * select(near, far, x >= 0.0) - positive;
#if WEIGHT
        d *= weight[params.weight_base + broadcast_at(i, params.weight_strides)];
#end
        d_logits[params.d_x_base + i] = params.scale * d_loss[params.d_loss_base + i * params.d_loss_step] * d;
    }
}
