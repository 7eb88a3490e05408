// Matrix product from register to register: rows or columns of a and of b go along memory, in vectors of 4.
//
//     y[.., i, j] = scale sum_k a[.., i, k] b[.., k, j] + bias[j]
//
// Shapes    a: [batch.., m, k]   b: [batch.., k, n]   bias: [n]   y: [batch.., m, n]; by strides that are multiples of 4, as are k and n
// Grid      one workgroup per TILE x TILE outputs: x over columns, y over rows, z over batches; a subgroup has 8 rows (lib/tile)
// Numerics  f32, in slices of k as lib/product has them
// Memory    reads a once for each COLS columns, and b m/8 times
// Twin      src/ops/matmul/cpu.rs

#import batched
#import tile

const TILE: u32 = 64u;
// Vectors along k that are summed on their own: 2048 elements.
const SLICE: u32 = 512u;
const A_ALONG_K: bool = true; // rows of a go along memory, otherwise its columns
const B_ALONG_K: bool = true; // columns of b go along memory, otherwise its rows
const_assert(TILE == ROWS && TILE % COLS == 0u);
const_assert(A_ALONG_K || !B_ALONG_K);

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
#if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>;
#end
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>;

const A: u32 = 0u;
const B: u32 = 1u;

// The first vector along k of the slice.
var<private> first: u32;

// Rows of A are those of a, rows of B are columns of b.
fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    let k = 4u * (first + quad);
    if source == A {
        return a[a_at(row, k) / 4u];
    }
    return b[b_at(k, row) / 4u];
}

// c += a b over `quads` vectors along k.
fn add_slice(row0: u32, col0: u32, quads: u32, c: ptr<function, Block>) {
    if B_ALONG_K {
        dot_rows(A, row0, B, col0, quads, c);
        return;
    }
    let row = row0 + 8u * y;
    let col = col0 + 4u * x;
    for (var quad = 0u; quad < quads; quad++) {
        let k = 4u * (first + quad);
        var own = vec4<f32>();
        var lo = vec4<f32>();
        var hi = vec4<f32>();
        if A_ALONG_K {
            own = quad_of(A, row + x % 8u, quad);
        } else {
            lo = a[a_at(row, k + x % 4u) / 4u];
            hi = a[a_at(row + 4u, k + x % 4u) / 4u];
        }
        var a0 = Eight(subgroupBroadcast(lo, 0u), subgroupBroadcast(hi, 0u));
        if A_ALONG_K {
            a0 = gather(own.x);
        }
        add_outer(a0.lo, a0.hi, b[b_at(k, col) / 4u], c);
        var a1 = Eight(subgroupBroadcast(lo, 1u), subgroupBroadcast(hi, 1u));
        if A_ALONG_K {
            a1 = gather(own.y);
        }
        add_outer(a1.lo, a1.hi, b[b_at(k + 1u, col) / 4u], c);
        var a2 = Eight(subgroupBroadcast(lo, 2u), subgroupBroadcast(hi, 2u));
        if A_ALONG_K {
            a2 = gather(own.z);
        }
        add_outer(a2.lo, a2.hi, b[b_at(k + 2u, col) / 4u], c);
        var a3 = Eight(subgroupBroadcast(lo, 3u), subgroupBroadcast(hi, 3u));
        if A_ALONG_K {
            a3 = gather(own.w);
        }
        add_outer(a3.lo, a3.hi, b[b_at(k + 3u, col) / 4u], c);
    }
}

fn store(row0: u32, col: u32, block: Block) {
    var sums = rows_of(block);
    if col >= params.n {
        return;
    }
    for (var r = 0u; r < min(8u, max(params.m, row0) - row0); r++) {
        let at = y_at(row0 + r, col) / 4u;
        var value = params.scale * sums[r];
        if params.accumulate == 1u {
            value += output[at];
        }
#if BIAS
        // Once: a later dispatch of the same sum adds to what this one stores.
        if params.accumulate == 0u {
            let first_bias = extra_at(0u, col);
            let next = params.extra_col;
            value += vec4(bias[first_bias], bias[first_bias + next], bias[first_bias + 2u * next], bias[first_bias + 3u * next]);
        }
#end
        output[at] = value;
    }
}

@compute @workgroup_size(LANES)
fn main(who: Lane, @builtin(workgroup_id) group: vec3<u32>) {
    stand(who);
    find_batch(group.z);
    let row0 = group.y * TILE;
    for (var col0 = group.x * TILE; col0 < (group.x + 1u) * TILE; col0 += COLS) {
        var total = Block();
        for (var start = 0u; start < params.k / 4u; start += SLICE) {
            var c = Block();
            first = start;
            add_slice(row0, col0, min(SLICE, params.k / 4u - start), &c);
            total = sum(total, c);
        }
        store(row0 + 8u * y, col0 + 4u * x, total);
    }
}
