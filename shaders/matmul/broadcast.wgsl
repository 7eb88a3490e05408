// Matrix product from register to register: rows or columns of a and of b go along memory, in vectors of 4.
//
//     y[.., i, j] = scale sum_k a[.., i, k] b[.., k, j] + bias[j]
//
// With GUARDED an a[i,k] of minus zero marks a hidden pair (lib/math): b[k,j] is not used then, NaN included.
//
// Shapes    a: [batch.., m, k]   b: [batch.., k, n]   bias: [n]   y: [batch.., m, n]; by strides that are multiples of 4, as are k and n
// Grid      one workgroup per TILE x TILE outputs: x over columns, y over rows, z over batches; a subgroup has 16 rows, two blocks of 8
//           (lib/tile), for each of which it reads b once
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
const_assert(TILE == 2u * ROWS && TILE % COLS == 0u);
const GUARDED: bool = false;
const_assert(A_ALONG_K || !B_ALONG_K);
const_assert(!GUARDED || !B_ALONG_K);

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

// c += a b for one step.
fn add_step(a: Eight, b: vec4<f32>, c: ptr<function, Block>) {
    // What is finite needs no guard: the marks are zeros.
    if !GUARDED || !subgroupAny(!all(finite(b))) {
        add_outer(a.lo, a.hi, b, c);
        return;
    }
    (*c).r0 = add_shown(a.lo.x, b, (*c).r0);
    (*c).r1 = add_shown(a.lo.y, b, (*c).r1);
    (*c).r2 = add_shown(a.lo.z, b, (*c).r2);
    (*c).r3 = add_shown(a.lo.w, b, (*c).r3);
    (*c).r4 = add_shown(a.hi.x, b, (*c).r4);
    (*c).r5 = add_shown(a.hi.y, b, (*c).r5);
    (*c).r6 = add_shown(a.hi.z, b, (*c).r6);
    (*c).r7 = add_shown(a.hi.w, b, (*c).r7);
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

// An invocation's 4 columns of b in 4 steps.
struct Steps {
    b0: vec4<f32>,
    b1: vec4<f32>,
    b2: vec4<f32>,
    b3: vec4<f32>,
}

fn steps_of(col: u32, quad: u32) -> Steps {
    if B_ALONG_K {
        let c0 = quad_of(B, col, quad);
        let c1 = quad_of(B, col + 1u, quad);
        let c2 = quad_of(B, col + 2u, quad);
        let c3 = quad_of(B, col + 3u, quad);
        return Steps(
            vec4(c0.x, c1.x, c2.x, c3.x), vec4(c0.y, c1.y, c2.y, c3.y), vec4(c0.z, c1.z, c2.z, c3.z), vec4(c0.w, c1.w, c2.w, c3.w),
        );
    }
    let k = 4u * (first + quad);
    return Steps(b[b_at(k, col) / 4u], b[b_at(k + 1u, col) / 4u], b[b_at(k + 2u, col) / 4u], b[b_at(k + 3u, col) / 4u]);
}

fn add_steps(held: Held, steps: Steps, c: ptr<function, Block>) {
    if A_ALONG_K {
        add_step(gather(held.lo.x), steps.b0, c);
        add_step(gather(held.lo.y), steps.b1, c);
        add_step(gather(held.lo.z), steps.b2, c);
        add_step(gather(held.lo.w), steps.b3, c);
    } else {
        add_step(Eight(subgroupBroadcast(held.lo, 0u), subgroupBroadcast(held.hi, 0u)), steps.b0, c);
        add_step(Eight(subgroupBroadcast(held.lo, 1u), subgroupBroadcast(held.hi, 1u)), steps.b1, c);
        add_step(Eight(subgroupBroadcast(held.lo, 2u), subgroupBroadcast(held.hi, 2u)), steps.b2, c);
        add_step(Eight(subgroupBroadcast(held.lo, 3u), subgroupBroadcast(held.hi, 3u)), steps.b3, c);
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
    let row = group.y * TILE + 16u * y;
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
                add_steps(hold(row, quad), steps, &c);
                add_steps(hold(row + 8u, quad), steps, &d);
            }
            upper = sum(upper, c);
            lower = sum(lower, d);
        }
        store(row, col, upper);
        store(row + 8u, col, lower);
    }
}
