// Multiply-adds of matrix units and nothing else: the most arithmetic that they do.
//
//     round:   c[n] = c[n] + a b   TURNS times, in each chain n;   then b = the other of the two;   mark = 5 mark + 1
//     y[w, lane] = (the chains' first elements, mark, the subgroups of a workgroup)
//
// Shapes    x: [3], the elements of a, and those of either b   y: [workgroups, LANES]
// Grid      one workgroup of LANES for each row of y; every subgroup does the same
// Numerics  with 1, 1, -1 and an odd number of rounds every value is a small integer: SIZE TURNS more than at first, and a mark that only
//           that many rounds give
// Twin      src/gpu/ceilings/measure.rs

#import matrix

const TURNS: u32 = 8u;
const CHAINS: u32 = 4u;

struct Params {
    // An odd number.
    rounds: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>;

// a, and the two of b.
var<workgroup> factors: array<f16, 3u * ELEMENTS>;
// The chains at first, of which all elements of one are alike, and in the end: every subgroup writes the same.
var<workgroup> sums: array<f32, CHAINS * ELEMENTS>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    for (var i = lane; i < 3u * ELEMENTS; i += LANES) {
        factors[i] = f16(x[i / ELEMENTS]);
    }
    for (var i = lane; i < CHAINS * ELEMENTS; i += LANES) {
        sums[i] = f32(i / ELEMENTS);
    }
    workgroupBarrier();
    let a = coopLoad<unit_a>(&factors[0], SIZE);
    let one = coopLoad<unit_b>(&factors[ELEMENTS], SIZE);
    let other = coopLoad<unit_b>(&factors[2u * ELEMENTS], SIZE);
    var c_0 = coopLoad<unit_c>(&sums[0], SIZE);
    var c_1 = coopLoad<unit_c>(&sums[ELEMENTS], SIZE);
    var c_2 = coopLoad<unit_c>(&sums[2u * ELEMENTS], SIZE);
    var c_3 = coopLoad<unit_c>(&sums[3u * ELEMENTS], SIZE);
    workgroupBarrier();
    var mark = 0u;
    for (var round = 0u; round < params.rounds; round++) {
        var b = one;
        if round % 2u == 1u {
            b = other;
        }
        for (var turn = 0u; turn < TURNS; turn++) {
            c_0 = coopMultiplyAdd(a, b, c_0);
            c_1 = coopMultiplyAdd(a, b, c_1);
            c_2 = coopMultiplyAdd(a, b, c_2);
            c_3 = coopMultiplyAdd(a, b, c_3);
        }
        mark = 5u * mark + 1u;
    }
    coopStore(c_0, &sums[0], SIZE);
    coopStore(c_1, &sums[ELEMENTS], SIZE);
    coopStore(c_2, &sums[2u * ELEMENTS], SIZE);
    coopStore(c_3, &sums[3u * ELEMENTS], SIZE);
    workgroupBarrier();
    // An element of each, not the same for all invocations.
    let at = lane % ELEMENTS;
    let sum = sums[at] + sums[ELEMENTS + at] + sums[2u * ELEMENTS + at] + sums[3u * ELEMENTS + at];
    y[workgroup.x * LANES + lane] = vec4(u32(sum), mark, subgroups, 0u);
}
