// Joins what attention found over different keys for the same queries.
//
//     m      = max_s lse[s]          w[s] = exp(lse[s] - m)
//     o      = sum_s w[s] o[s] / sum_s w[s]                 lse = m + log sum_s w[s]
//
// Shapes    o_parts: [rows, parts, quads] vectors   lse_parts: [rows, parts]   o: [rows, quads] vectors   lse: [rows]
// Grid      one invocation per vector of o, workgroups spread over x and y
// Numerics  f32, parts in order; a part with nothing visible counts for nothing, and so does a row of such parts
// Memory    reads the parts once, writes o once
// Source    Dao et al. 2023, Flash-Decoding, https://pytorch.org/blog/flash-decoding
// Twin      src/ops/attention/cpu.rs

#import index
#import math

const LANES: u32 = 64u;

struct Params {
    rows: u32,
    parts: u32,
    quads: u32,
    o_parts_base: u32,
    lse_parts_base: u32,
    o_base: u32,
    lse_base: u32,
    padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> o_parts: array<vec4<f32>>; // [rows, parts, quads]
@group(0) @binding(2) var<storage, read> lse_parts: array<f32>; // [rows, parts]
@group(0) @binding(3) var<storage, read_write> o: array<vec4<f32>>; // [rows, quads]
@group(0) @binding(4) var<storage, read_write> lse: array<u32>; // [rows], the bits of f32

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let n = spread(group, groups) * LANES + local;
    let row = n / params.quads;
    let quad = n % params.quads;
    if row >= params.rows {
        return;
    }
    let lse_at = params.lse_parts_base + row * params.parts;
    let o_at = params.o_parts_base + row * params.parts * params.quads + quad;
    var m = LOWEST;
    for (var part = 0u; part < params.parts; part++) {
        let of_part = lse_parts[lse_at + part];
        if !is_minus_infinity(of_part) {
            m = max(m, of_part);
        }
    }
    var l = 0.0;
    var total = vec4<f32>();
    for (var part = 0u; part < params.parts; part++) {
        let of_part = lse_parts[lse_at + part];
        if !is_minus_infinity(of_part) {
            let w = exp(of_part - m);
            l += w;
            total += w * o_parts[o_at + part * params.quads];
        }
    }
    let nothing = l == 0.0;
    o[params.o_base + row * params.quads + quad] = select(total / l, vec4<f32>(), nothing);
    if quad == 0u {
        lse[params.lse_base + row] = select(bitcast<u32>(m + log(l)), MINUS_INFINITY, nothing);
    }
}
