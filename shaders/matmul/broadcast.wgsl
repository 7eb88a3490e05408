// Matrix product from register to register: rows or columns of a and of b go along memory, in vectors of 4.
//
//     y[.., i, j] = scale sum_k a[.., i, k] b[.., k, j] + bias[i, j]
//
// With GUARDED (lib/tile_registers) an a[i,k] of minus zero marks a hidden pair (lib/math): b[k,j] is not used then, NaN included.
//
// Shapes    a: [batch.., m, k]   b: [batch.., k, n]   bias: broadcast to [m, n]   y: [batch.., m, n]; all by strides, those of a, b and y
//           multiples of 4, as are k and n
// Grid      one workgroup per TILE x TILE outputs: x over columns, y over rows, z over batches; a subgroup has 16 rows, two blocks of 8
//           (lib/tile, TALL), for both of which it reads b once
// Numerics  f32, in slices of k as lib/product has them
// Memory    reads a once for each COLS columns, and b m/16 times
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
const_assert(!GUARDED || !B_ALONG_K);

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
#if BIAS
@group(0) @binding(3) var<storage, read> bias: array<f32>; // broadcast to [m, n]
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

// What a team holds of 8 rows of a in 4 steps: an invocation has the steps of one row, with A_ALONG_K, or the rows of one step.
struct Held {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

fn hold(row: u32, quad: u32) -> Held {
    if A_ALONG_K {
        return Held(quad_of(A, row + x % 8u, quad), vec4<f32>());
    }
    let k = 4u * (first + quad) + x % 4u;
    return Held(a[a_at(row, k) / 4u], a[a_at(row + 4u, k) / 4u]);
}

fn steps_of(col: u32, quad: u32) -> Steps {
    if B_ALONG_K {
        return turned(steps_at(B, col, quad));
    }
    let k = 4u * (first + quad);
    return Steps(b[b_at(k, col) / 4u], b[b_at(k + 1u, col) / 4u], b[b_at(k + 2u, col) / 4u], b[b_at(k + 3u, col) / 4u]);
}

// As add_rows of lib/tile_registers, for 8 rows of which each of the first 4 invocations has a step.
fn add_rows_of_steps(held: Held, s: Steps, c: ptr<function, Block>) {
    let lo = turned(Steps(
        subgroupBroadcast(held.lo, 0u), subgroupBroadcast(held.lo, 1u), subgroupBroadcast(held.lo, 2u), subgroupBroadcast(held.lo, 3u),
    ));
    (*c).r0 = add_steps(lo.b0, s, GUARDED, (*c).r0);
    (*c).r1 = add_steps(lo.b1, s, GUARDED, (*c).r1);
    (*c).r2 = add_steps(lo.b2, s, GUARDED, (*c).r2);
    (*c).r3 = add_steps(lo.b3, s, GUARDED, (*c).r3);
    let hi = turned(Steps(
        subgroupBroadcast(held.hi, 0u), subgroupBroadcast(held.hi, 1u), subgroupBroadcast(held.hi, 2u), subgroupBroadcast(held.hi, 3u),
    ));
    (*c).r4 = add_steps(hi.b0, s, GUARDED, (*c).r4);
    (*c).r5 = add_steps(hi.b1, s, GUARDED, (*c).r5);
    (*c).r6 = add_steps(hi.b2, s, GUARDED, (*c).r6);
    (*c).r7 = add_steps(hi.b3, s, GUARDED, (*c).r7);
}

fn add_held(held: Held, s: Steps, c: ptr<function, Block>) {
    if A_ALONG_K {
        add_rows(held.lo, s, GUARDED, c);
    } else {
        add_rows_of_steps(held, s, c);
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
            let first_bias = extra_at(row0 + r, col);
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
    let row = group.y * TILE + TEAM_ROWS * y;
    for (var col0 = group.x * TILE; col0 < (group.x + 1u) * TILE; col0 += COLS) {
        let col = col0 + 4u * x;
        var upper = Block();
        var lower = Block();
        for (var start = 0u; start < params.k / 4u; start += SLICE) {
            var c = Block();
            var d = Block();
            first = start;
            for (var quad = 0u; quad < min(SLICE, params.k / 4u - start); quad++) {
                let steps = steps_of(col, quad);
                add_held(hold(row, quad), steps, &c);
                add_held(hold(row + 8u, quad), steps, &d);
            }
            upper = sum(upper, c);
            lower = sum(lower, d);
        }
        store(row, col, upper);
        store(row + 8u, col, lower);
    }
}
