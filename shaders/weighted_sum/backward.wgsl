// The gradient of the weights of a masked weighted sum.
//
//     o[.., i, :] = sum over visible j of weights[.., i, j] v[.., j, :]
//     d_weights[.., i, j] = d_o[.., i, :] . v[.., j, :]      where visible; 0 where hidden, whatever v holds there
//
// (The gradient of v is forward.wgsl again, on the transposed weights.)
//
// Shapes    d_o: [batch.., m, k]   v: [batch.., k, n] (by strides: v transposed)   mask, d_weights: [batch.., m, n]
// Grid      one workgroup per TILE x TILE outputs: x over columns, y over rows, z over batches
// Numerics  f32 accumulation, in slices of k (lib/product)
// Memory    reads d_o n/TILE times and v m/TILE times, writes d_weights once
// Source    the derivative of forward.wgsl
// Twin      src/ops/weighted_sum/cpu.rs

#import batched
#import product

alias elem_a = f32;
alias elem_b = f32;

@group(0) @binding(1) var<storage, read> d_o: array<elem_a>; // [batch.., m, k]
@group(0) @binding(2) var<storage, read> v: array<elem_b>; // [batch.., k, n]
@group(0) @binding(3) var<storage, read> mask: array<u32>; // [batch.., m, n], four u8 to a word
@group(0) @binding(4) var<storage, read_write> d_weights: array<f32>; // [batch.., m, n]

fn load_a(row: u32, k: u32) -> f32 {
    if row >= params.m || k >= params.k {
        return 0.0;
    }
    return f32(d_o[a_at(row, k)]);
}

fn load_b(k: u32, col: u32) -> f32 {
    if k >= params.k || col >= params.n {
        return 0.0;
    }
    return f32(v[b_at(k, col)]);
}

fn store(row: u32, col: u32, c: vec4<f32>) {
    if row >= params.m {
        return;
    }
    for (var i = 0u; i < columns_left(col); i++) {
        let mask_at = extra_at(row, col + i);
        let at = y_at(row, col + i);
        var sum = select(0.0, params.scale * c[i], byte_of(mask[mask_at / 4u], mask_at) != 0u);
        if params.accumulate == 1u {
            sum += d_weights[at];
        }
        d_weights[at] = sum;
    }
}

@compute @workgroup_size(GRID * GRID)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    find_batch(group.z);
    product(local, group.y * TILE, group.x * TILE, params.k, params.a_col == 1u, params.b_row == 1u);
}
