// The squared error.
//
//     term[i] = (x[i] - target[i])^2
//
// Shapes    x, targets: [count]   loss: [count] with TERMS, otherwise [workgroups, 2]: the sum of terms and their number
// Grid      one workgroup per LANES EACH elements, spread over x and y
// Numerics  f32; each invocation adds its terms in order, then the sums of all are added pairwise
// Memory    reads x and targets once
// Twin      src/ops/mse/cpu.rs

#import terms

@group(0) @binding(1) var<storage, read> x: array<f32>; // [count]
@group(0) @binding(2) var<storage, read> targets: array<f32>; // [count]
@group(0) @binding(3) var<storage, read_write> loss: array<f32>; // [count], or [workgroups, 2]

fn term(i: u32) -> f32 {
    let d = x[params.x_base + i] - targets[params.targets_base + i];
    return d * d;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let workgroup = params.first + spread(group, groups);
    if workgroup >= params.end {
        return;
    }
    write_terms(workgroup, lane);
}
