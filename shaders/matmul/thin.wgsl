// Matrix product with few rows or short sums, batched, with an optional bias: some vectors against a matrix, or an outer product.
//
//     y[.., i, j] = scale sum_k a[.., i, k] b[.., k, j] + bias[i, j]
//
// Shapes    a: [batch.., m, k]   b: [batch.., k, n]   bias: broadcast to [m, n]   y: [batch.., m, n]; all by strides, so few columns are few
//           rows of the transposed product
// Grid      one workgroup per ROWS x COLS outputs: x over columns, y over rows, z over batches; PARTS invocations share each sum
// Numerics  f32; each part of a sum in slices, as lib/product has them, and the parts in a tree
// Memory    reads b m/ROWS times and a n/COLS times, of which b is what counts; writes y once
// Twin      src/ops/matmul/cpu.rs

#import result

const PARTS: u32 = 32u; // a power of two; 1 where sums are short
const COLS: u32 = 8u;
const LANES: u32 = PARTS * COLS;
// Columns of b go along memory, otherwise its rows: neighbours in a workgroup are neighbours there.
const B_ALONG_K: bool = true;
const SLICE: u32 = 2048u * PARTS;

alias elem = f32; // of a and b

#if SINGLE
const ROWS: u32 = 1u;
alias sums = f32;
#else
const ROWS: u32 = 4u;
alias sums = vec4<f32>;
#end

@group(0) @binding(1) var<storage, read> a: array<elem>; // [batch.., m, k]
@group(0) @binding(2) var<storage, read> b: array<elem>; // [batch.., k, n]

// [part, column]
var<workgroup> partials: array<sums, LANES>;

// A row past the last one gives a sum that nobody stores.
fn coefficient(row: u32, k: u32) -> f32 {
    return f32(a[a_at(min(row, params.m - 1u), k)]);
}

fn coefficients(row0: u32, k: u32) -> sums {
#if SINGLE
    return coefficient(row0, k);
#else
    return vec4(coefficient(row0, k), coefficient(row0 + 1u, k), coefficient(row0 + 2u, k), coefficient(row0 + 3u, k));
#end
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    find_batch(group.z);
    let part = select(local / COLS, local % PARTS, B_ALONG_K);
    let own = select(local % COLS, local / PARTS, B_ALONG_K);
    let row0 = group.y * ROWS;
    let col = group.x * COLS + own;
    let column = min(col, params.n - 1u);
    var total = sums();
    for (var slice = 0u; slice < params.k; slice += SLICE) {
        var c = sums();
        for (var k = slice + part; k < min(params.k, slice + SLICE); k += PARTS) {
            c = fma(coefficients(row0, k), sums(f32(b[b_at(k, column)])), c);
        }
        total += c;
    }
    partials[part * COLS + own] = total;
    for (var half = PARTS / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if part < half {
            partials[part * COLS + own] += partials[(part + half) * COLS + own];
        }
    }
    if part > 0u || col >= params.n {
        return;
    }
#if SINGLE
    put(row0, col, partials[own]);
#else
    let c = partials[own];
    for (var r = 0u; r < min(ROWS, params.m - row0); r++) {
        put(row0 + r, col, c[r]);
    }
#end
}
