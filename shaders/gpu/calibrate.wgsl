// A known amount of work of the kind that the kernels do: staged in workgroup memory between barriers, multiplied and added.
//
//     y[w, lane] = sum over rounds r and terms t of  x[lane + r + t] x[r + t]        (indices modulo LANES)
//
// Shapes    x: [LANES]   y: [workgroups, LANES]
// Grid      one workgroup of LANES for each row of y; all do the same
// Numerics  the sum only keeps the compiler from leaving the work out
// Twin      src/gpu/calibrate.rs

const LANES: u32 = 64u;
// Multiplications and additions between two barriers.
const TERMS: u32 = 16u;

struct Params {
    rounds: u32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> staged: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var round = 0u; round < params.rounds; round++) {
        staged[lane] = x[(lane + round) % LANES];
        workgroupBarrier();
        for (var t = 0u; t < TERMS; t++) {
            sum += staged[(lane + t) % LANES] * staged[t];
        }
        workgroupBarrier();
    }
    y[workgroup.x * LANES + lane] = sum;
}
