// Sums over some axes of a strided tensor.
//
//     y[i] = scale sum_t x[i, t]          or y[i] += …
//
// Shapes    x: kept axes i and summed axes t, each found through up to 4 strides   y: likewise
// Grid      one workgroup per WIDTH outputs, spread over x and y; LANES / WIDTH invocations share an output
// Numerics  f32; each invocation sums its terms in order, then the partial sums are added pairwise: a fixed order
// Memory    reads x once, writes y once
// Twin      src/ops/sum/cpu.rs

#import index

alias elem_x = f32;

const LANES: u32 = 256u; // invocations
const WIDTH: u32 = 1u; // outputs; divides LANES
const_assert(LANES % WIDTH == 0u);
const TALL: u32 = LANES / WIDTH;
const_assert((TALL & (TALL - 1u)) == 0u);

struct Params {
    outputs: u32,
    terms: u32,
    accumulate: u32,
    scale: f32,
    x_base: u32,
    y_base: u32,
    padding_0: u32,
    padding_1: u32,
    kept: vec4<u32>,
    x_kept: vec4<u32>,
    y_kept: vec4<u32>,
    summed: vec4<u32>,
    x_summed: vec4<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<elem_x>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> partials: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let output = spread(group, groups) * WIDTH + local % WIDTH;
    let valid = output < params.outputs;
    var sum = 0.0;
    if valid {
        let start = params.x_base + offset_of(output, params.kept, params.x_kept);
        for (var term = local / WIDTH; term < params.terms; term += TALL) {
            sum += f32(x[start + offset_of(term, params.summed, params.x_summed)]);
        }
    }
    partials[local] = sum;
    for (var half = TALL / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half * WIDTH {
            partials[local] += partials[local + half * WIDTH];
        }
    }
    if valid && local < WIDTH {
        let at = params.y_base + offset_of(output, params.kept, params.y_kept);
        var total = params.scale * partials[local];
        if params.accumulate == 1u {
            total += y[at];
        }
        y[at] = total;
    }
}
