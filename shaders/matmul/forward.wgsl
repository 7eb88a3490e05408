// Matrix product, batched with broadcasting, with an optional bias.
//
//     y[.., i, j] = scale sum_k a[.., i, k] b[.., k, j] + bias[j]
//
// Shapes    a: [batch.., m, k]   b: [batch.., k, n]   bias: [n]   y: [batch.., m, n]; a and b by strides, so transposed or repeated too
// Grid      one workgroup per TILE x TILE outputs: x over columns, y over rows, z over batches
// Numerics  f32 accumulation for every storage type, in slices of k (lib/product)
// Memory    reads a n/TILE times and b m/TILE times, writes y once
// Source    Goto & van de Geijn 2008, doi:10.1145/1356052.1356053 (blocking by panels)
// Twin      src/ops/matmul/cpu.rs

#import product
#import result

alias elem_a = f32;
alias elem_b = f32;

@group(0) @binding(1) var<storage, read> a: array<elem_a>; // [batch.., m, k]
@group(0) @binding(2) var<storage, read> b: array<elem_b>; // [batch.., k, n]

fn load_a(row: u32, k: u32) -> f32 {
    if row >= params.m || k >= params.k {
        return 0.0;
    }
    return f32(a[a_at(row, k)]);
}

fn load_b(k: u32, col: u32) -> f32 {
    if k >= params.k || col >= params.n {
        return 0.0;
    }
    return f32(b[b_at(k, col)]);
}

fn store(row: u32, col: u32, c: vec4<f32>) {
    if row >= params.m {
        return;
    }
    for (var i = 0u; i < columns_left(col); i++) {
        put(row, col + i, c[i]);
    }
}

@compute @workgroup_size(GRID * GRID)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    find_batch(group.z);
    product(local, group.y * TILE, group.x * TILE, params.k, params.a_col == 1u, params.b_row == 1u);
}
