// The attention-weighted sum, and every product in attention's backward that must not touch hidden pairs.
//
//     o[.., i, :] = scale sum over visible j of weights[.., i, j] v[.., j, :]
//
// A hidden pair is one with mask 0 (flag MASK), or one whose weight is minus zero (flag MARKED: how attention's own kernels
// mark them). Its weight and its value are not used, NaN included.
//
// Shapes    weights: [batch.., m, k]   v: [batch.., k, n]   mask: like weights, u8, broadcast by strides   o: [batch.., m, n]
// Grid      one workgroup per TILE x TILE outputs: x over columns, y over rows, z over batches
// Numerics  f32 accumulation for every storage type, in slices of k (lib/product)
// Memory    reads weights n/TILE times and v m/TILE times, writes o once
// Source    Bahdanau et al. 2014, arXiv:1409.0473, eq. 5
// Twin      src/ops/weighted_sum/cpu.rs

#import batched
#import product

alias elem_a = f32;
alias elem_b = f32;
alias elem_y = f32;

@group(0) @binding(1) var<storage, read> weights: array<elem_a>; // [batch.., m, k]
@group(0) @binding(2) var<storage, read> v: array<elem_b>; // [batch.., k, n]
#if MASK
@group(0) @binding(3) var<storage, read> mask: array<u32>; // [batch.., m, k], four u8 to a word
#end
@group(0) @binding(4) var<storage, read_write> o: array<elem_y>; // [batch.., m, n]

fn load_a(row: u32, k: u32) -> f32 {
    if row >= params.m || k >= params.k {
        return hidden();
    }
    let weight = f32(weights[a_at(row, k)]);
#if MASK
    let at = extra_at(row, k);
    return select(hidden(), shown(weight), byte_of(mask[at / 4u], at) != 0u);
#else
    return weight;
#end
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
        var sum = params.scale * c[i];
        let at = y_at(row, col + i);
        if params.accumulate == 1u {
            sum += f32(o[at]);
        }
        o[at] = elem_y(sum);
    }
}

@compute @workgroup_size(GRID * GRID)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    find_batch(group.z);
    product(local, group.y * TILE, group.x * TILE, params.k, params.a_col == 1u, params.b_row == 1u);
}
