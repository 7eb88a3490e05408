// A known amount of work of the kind that the kernels do: staged in workgroup memory between barriers, multiplied and added.
//
//     s[lane] = sum over rounds r and terms t of the outer product of  x[lane + r + t]  and  x[r + t]      (indices modulo LANES)
//     y[w, lane] = sum of the columns of s
//
// Shapes    x: [LANES, 4]   y: [workgroups, LANES, 4]
// Grid      one workgroup of LANES for each row of y; all do the same
// Numerics  the sum only keeps the compiler from leaving the work out
// Twin      src/gpu/calibrate.rs

const LANES: u32 = 64u;
// Outer products between two barriers, 32 operations each.
const TERMS: u32 = 16u;

struct Params {
    rounds: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

var<workgroup> staged: array<vec4<f32>, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var s_0 = vec4<f32>();
    var s_1 = vec4<f32>();
    var s_2 = vec4<f32>();
    var s_3 = vec4<f32>();
    for (var round = 0u; round < params.rounds; round++) {
        staged[lane] = x[(lane + round) % LANES];
        workgroupBarrier();
        for (var t = 0u; t < TERMS; t++) {
            let a = staged[(lane + t) % LANES];
            let b = staged[t];
            s_0 += a.x * b;
            s_1 += a.y * b;
            s_2 += a.z * b;
            s_3 += a.w * b;
        }
        workgroupBarrier();
    }
    y[workgroup.x * LANES + lane] = s_0 + s_1 + s_2 + s_3;
}
