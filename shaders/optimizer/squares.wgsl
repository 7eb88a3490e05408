// The sums of squares of stretches of all gradients, the first half of their norm.
//
//     sums[s] = (e, sum of (g 2^-e)^2)          over stretch s; 2^e is the largest power of two that is no larger than any |g| of it
//
// With the exponent apart no square overflows and none is lost, whatever the gradients are: it is when they explode that they are clipped.
//
// Shapes    g0, g1, ..: the gradients' elements   sums: one for each STRETCH elements of a gradient
// Grid      one workgroup per stretch, spread over x and y
// Numerics  f32; an invocation's terms in order, then pairwise: a fixed order. Exponents are those of f32's bits; 255 stands for an
//           infinity, 256 for a NaN
// Memory    reads the gradients once, and an invocation keeps its elements; a stretch is 16 KiB, which any binding holds
// Source    Blue 1978, "A portable Fortran program to find the Euclidean norm of a vector", for the scaling
// Twin      src/ops/optimizer/cpu.rs

#import index
#import parameter_gradients
#import reduce

const STRETCH: u32 = 4096u;
const_assert(STRETCH % LANES == 0u);
// Elements of an invocation.
const EACH: u32 = STRETCH / LANES;

struct Params {
    // Of this dispatch.
    stretches: u32,
    sums_base: u32,
    padding_0: u32,
    padding_1: u32,
    // Of each gradient: its first stretch, its elements, and the index of the first.
    starts: array<vec4<u32>, 3>,
    lengths: array<vec4<u32>, 3>,
    g_bases: array<vec4<u32>, 3>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(12) var<storage, read_write> sums: array<vec2<f32>>;

// The exponent as f32's bits have it, at least that of the smallest number that is not denormal, and at most one whose reciprocal is not.
fn exponent_of(x: f32) -> f32 {
    let bits = bitcast<u32>(x) & 0x7fffffffu;
    if bits >= 0x7f800000u {
        return select(255.0, 256.0, bits > 0x7f800000u);
    }
    return f32(clamp(bits >> 23u, 1u, 253u));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let stretch = spread(group, groups);
    if stretch >= params.stretches {
        return;
    }
    let tensor = tensor_of(stretch);
    let first = (stretch - start_of(tensor)) * STRETCH;
    let end = min(first + STRETCH, length_of(tensor));

    var own: array<f32, EACH>;
    var highest = 0.0;
    for (var i = 0u; i < EACH; i++) {
        let at = first + i * LANES + lane.local;
        own[i] = 0.0;
        if at < end {
            own[i] = gradient(tensor, at);
        }
        highest = max(highest, exponent_of(own[i]));
    }
    let exponent = reduce_max(lane, highest);
    let scale = bitcast<f32>((254u - min(u32(exponent), 253u)) << 23u);

    var sum = 0.0;
    for (var i = 0u; i < EACH; i++) {
        let g = own[i] * scale;
        sum += g * g;
    }
    let total = reduce_sum(lane, sum);
    if lane.local == 0u {
        sums[params.sums_base + stretch] = vec2(exponent, total);
    }
}
