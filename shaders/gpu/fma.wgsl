// Multiply-adds in registers and nothing else: the most arithmetic that a device does.
//
//     round:   x[c] = x[c] a + b   TURNS times, in each chain c;   then b = -b;   mark = 5 mark + 1
//     y[w, lane] = (the sum of the chains' elements, mark)
//
// A turn of a chain waits for the one before it, so there are several chains; with more of them than registers they go through memory.
// Two serve processors with 16 registers (three were three times slower on lavapipe 25), many serve GPUs.
//
// Shapes    x: [4], which holds the first value, a, b   y: [workgroups, LANES]
// Grid      one workgroup of LANES for each row of y; all do the same
// Numerics  with 0, 1, 1 and an odd number of rounds every value is a small integer, exact in elem, and nothing of it can be known
//           when it is compiled: TURNS more than at first in each element, and a mark that only that many rounds give
// Twin      src/gpu/ceilings/measure.rs

const LANES: u32 = 64u;
alias elem = f32;

struct Params {
    // An odd number.
    rounds: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u32>>;

struct Chains {
    c_0: vec4<elem>,
    c_1: vec4<elem>,
#if MANY
    c_2: vec4<elem>,
    c_3: vec4<elem>,
    c_4: vec4<elem>,
    c_5: vec4<elem>,
    c_6: vec4<elem>,
    c_7: vec4<elem>,
#end
}

// One multiply-add in each element of each chain.
fn turn(s: Chains, a: vec4<elem>, b: vec4<elem>) -> Chains {
#if MANY
    return Chains(
        fma(s.c_0, a, b), fma(s.c_1, a, b), fma(s.c_2, a, b), fma(s.c_3, a, b),
        fma(s.c_4, a, b), fma(s.c_5, a, b), fma(s.c_6, a, b), fma(s.c_7, a, b),
    );
#else
    return Chains(fma(s.c_0, a, b), fma(s.c_1, a, b));
#end
}

fn turns_4(s: Chains, a: vec4<elem>, b: vec4<elem>) -> Chains {
    return turn(turn(turn(turn(s, a, b), a, b), a, b), a, b);
}

fn turns_16(s: Chains, a: vec4<elem>, b: vec4<elem>) -> Chains {
    return turns_4(turns_4(turns_4(turns_4(s, a, b), a, b), a, b), a, b);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = vec4<elem>(elem(x[0]));
    let a = vec4<elem>(elem(x[1]));
    var b = vec4<elem>(elem(x[2]));
    // No two alike, or a compiler would keep one.
    var s: Chains;
    s.c_0 = first;
    s.c_1 = first + vec4<elem>(1.0);
#if MANY
    s.c_2 = first + vec4<elem>(2.0);
    s.c_3 = first + vec4<elem>(3.0);
    s.c_4 = first + vec4<elem>(4.0);
    s.c_5 = first + vec4<elem>(5.0);
    s.c_6 = first + vec4<elem>(6.0);
    s.c_7 = first + vec4<elem>(7.0);
#end
    var mark = 0u;
    for (var round = 0u; round < params.rounds; round++) {
        s = turns_16(turns_16(s, a, b), a, b);
        b = -b;
        mark = 5u * mark + 1u;
    }
    var sum = vec4<f32>(s.c_0) + vec4<f32>(s.c_1);
#if MANY
    sum += vec4<f32>(s.c_2) + vec4<f32>(s.c_3) + vec4<f32>(s.c_4) + vec4<f32>(s.c_5) + vec4<f32>(s.c_6) + vec4<f32>(s.c_7);
#end
    y[workgroup.x * LANES + lane] = vec2<u32>(u32(sum.x + sum.y + sum.z + sum.w), mark);
}
