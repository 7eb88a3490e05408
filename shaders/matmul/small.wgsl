// Batched product of small matrices, with an optional bias: several matrices to a workgroup, from memory to registers.
//
//     y[.., i, j] = scale sum_k a[.., i, k] b[.., k, j] + bias[i, j]
//
// Shapes    a: [batch.., m, k]   b: [batch.., k, n]   bias: broadcast to [m, n]   y: [batch.., m, n]; all by strides
// Grid      one invocation per EACH x EACH outputs; a workgroup has as many whole matrices as find room in it, z goes over workgroups
// Numerics  f32, in slices of k as lib/product has them
// Memory    reads a n/EACH times and b m/EACH times, from caches: what a workgroup reads is small; writes y once
// Twin      src/ops/matmul/cpu.rs

#import result

const LANES: u32 = 64u;
const EACH: u32 = 4u;
const SLICE: u32 = 2048u;
const_assert(EACH == 4u);

alias elem = f32; // of a and b

@group(0) @binding(1) var<storage, read> a: array<elem>; // [batch.., m, k]
@group(0) @binding(2) var<storage, read> b: array<elem>; // [batch.., k, n]

// Where the 4 rows from `row` on begin in a; one past the last gives sums that nobody stores.
fn rows_at(row: u32) -> vec4<u32> {
    let last = params.m - 1u;
    return vec4(a_at(row, 0u), a_at(min(row + 1u, last), 0u), a_at(min(row + 2u, last), 0u), a_at(min(row + 3u, last), 0u));
}

// Where the 4 columns from `col` on begin in b, likewise.
fn columns_at(col: u32) -> vec4<u32> {
    let last = params.n - 1u;
    return vec4(b_at(0u, col), b_at(0u, min(col + 1u, last)), b_at(0u, min(col + 2u, last)), b_at(0u, min(col + 3u, last)));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let across = (params.n + EACH - 1u) / EACH;
    let lanes = across * ((params.m + EACH - 1u) / EACH);
    let matrices = LANES / lanes;
    let own = local / lanes;
    let batch = group.z * matrices + own;
    if own >= matrices || batch >= params.count {
        return;
    }
    find_batch(batch);
    let row = EACH * (local % lanes / across);
    let col = EACH * (local % lanes % across);
    let rows = rows_at(row);
    let columns = columns_at(col);
    var total = mat4x4<f32>();
    for (var slice = 0u; slice < params.k; slice += SLICE) {
        // Of each row its 4 columns.
        var c0 = vec4<f32>();
        var c1 = vec4<f32>();
        var c2 = vec4<f32>();
        var c3 = vec4<f32>();
        for (var k = slice; k < min(params.k, slice + SLICE); k++) {
            let of_a = rows + k * params.a_col;
            let of_b = columns + k * params.b_row;
            let right = vec4(f32(b[of_b.x]), f32(b[of_b.y]), f32(b[of_b.z]), f32(b[of_b.w]));
            c0 = fma(vec4(f32(a[of_a.x])), right, c0);
            c1 = fma(vec4(f32(a[of_a.y])), right, c1);
            c2 = fma(vec4(f32(a[of_a.z])), right, c2);
            c3 = fma(vec4(f32(a[of_a.w])), right, c3);
        }
        total += mat4x4(c0, c1, c2, c3);
    }
    for (var r = 0u; r < min(EACH, params.m - row); r++) {
        for (var i = 0u; i < columns_left(col); i++) {
            put(row + r, col + i, total[r][i]);
        }
    }
}
