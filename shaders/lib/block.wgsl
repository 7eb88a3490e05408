// What one invocation holds of a tile in registers: 8 rows by 4 columns, a Block, or by up to 8, a Wide. Rows are written out as named
// values, which compilers keep in registers, not always the elements of an array.
//
// A set of the 32 pairs of a Block is a u32: bit 4 r + c is row r and column c.

#import math

const QUADS: u32 = 2u; // vectors of 4 columns of a Wide: 1 or 2
const_assert(QUADS == 1u || QUADS == 2u);

struct Block {
    r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32>,
    r4: vec4<f32>, r5: vec4<f32>, r6: vec4<f32>, r7: vec4<f32>,
}

// Two blocks side by side: the columns of the left one are quad x of a row, those of the right one quad GRID_X + x.
struct Wide {
    l0: vec4<f32>, l1: vec4<f32>, l2: vec4<f32>, l3: vec4<f32>,
    l4: vec4<f32>, l5: vec4<f32>, l6: vec4<f32>, l7: vec4<f32>,
    r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32>,
    r4: vec4<f32>, r5: vec4<f32>, r6: vec4<f32>, r7: vec4<f32>,
}

// One number for each of the 8 rows.
struct Eight {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

// c += a b for one step: the 8 rows' coefficients and 4 columns.
fn add_outer(lo: vec4<f32>, hi: vec4<f32>, b: vec4<f32>, c: ptr<function, Block>) {
    (*c).r0 = fma(vec4(lo.x), b, (*c).r0);
    (*c).r1 = fma(vec4(lo.y), b, (*c).r1);
    (*c).r2 = fma(vec4(lo.z), b, (*c).r2);
    (*c).r3 = fma(vec4(lo.w), b, (*c).r3);
    (*c).r4 = fma(vec4(hi.x), b, (*c).r4);
    (*c).r5 = fma(vec4(hi.y), b, (*c).r5);
    (*c).r6 = fma(vec4(hi.z), b, (*c).r6);
    (*c).r7 = fma(vec4(hi.w), b, (*c).r7);
}

fn add_outer_wide(lo: vec4<f32>, hi: vec4<f32>, l: vec4<f32>, r: vec4<f32>, e: ptr<function, Wide>) {
    (*e).l0 = fma(vec4(lo.x), l, (*e).l0);
    (*e).l1 = fma(vec4(lo.y), l, (*e).l1);
    (*e).l2 = fma(vec4(lo.z), l, (*e).l2);
    (*e).l3 = fma(vec4(lo.w), l, (*e).l3);
    (*e).l4 = fma(vec4(hi.x), l, (*e).l4);
    (*e).l5 = fma(vec4(hi.y), l, (*e).l5);
    (*e).l6 = fma(vec4(hi.z), l, (*e).l6);
    (*e).l7 = fma(vec4(hi.w), l, (*e).l7);
    if QUADS == 2u {
        (*e).r0 = fma(vec4(lo.x), r, (*e).r0);
        (*e).r1 = fma(vec4(lo.y), r, (*e).r1);
        (*e).r2 = fma(vec4(lo.z), r, (*e).r2);
        (*e).r3 = fma(vec4(lo.w), r, (*e).r3);
        (*e).r4 = fma(vec4(hi.x), r, (*e).r4);
        (*e).r5 = fma(vec4(hi.y), r, (*e).r5);
        (*e).r6 = fma(vec4(hi.z), r, (*e).r6);
        (*e).r7 = fma(vec4(hi.w), r, (*e).r7);
    }
}

// Leaves out a row whose coefficient marks a hidden pair.
fn add_shown(a: f32, b: vec4<f32>, c: vec4<f32>) -> vec4<f32> {
    return select(fma(vec4(a), b, c), c, is_hidden(a));
}

// The same bits as add_outer_wide where b is finite.
fn add_outer_shown(lo: vec4<f32>, hi: vec4<f32>, l: vec4<f32>, r: vec4<f32>, e: ptr<function, Wide>) {
    (*e).l0 = add_shown(lo.x, l, (*e).l0);
    (*e).l1 = add_shown(lo.y, l, (*e).l1);
    (*e).l2 = add_shown(lo.z, l, (*e).l2);
    (*e).l3 = add_shown(lo.w, l, (*e).l3);
    (*e).l4 = add_shown(hi.x, l, (*e).l4);
    (*e).l5 = add_shown(hi.y, l, (*e).l5);
    (*e).l6 = add_shown(hi.z, l, (*e).l6);
    (*e).l7 = add_shown(hi.w, l, (*e).l7);
    if QUADS == 2u {
        (*e).r0 = add_shown(lo.x, r, (*e).r0);
        (*e).r1 = add_shown(lo.y, r, (*e).r1);
        (*e).r2 = add_shown(lo.z, r, (*e).r2);
        (*e).r3 = add_shown(lo.w, r, (*e).r3);
        (*e).r4 = add_shown(hi.x, r, (*e).r4);
        (*e).r5 = add_shown(hi.y, r, (*e).r5);
        (*e).r6 = add_shown(hi.z, r, (*e).r6);
        (*e).r7 = add_shown(hi.w, r, (*e).r7);
    }
}

// Each row of e times its factor.
fn scale_rows(by: Eight, e: ptr<function, Wide>) {
    (*e).l0 *= by.lo.x;
    (*e).l1 *= by.lo.y;
    (*e).l2 *= by.lo.z;
    (*e).l3 *= by.lo.w;
    (*e).l4 *= by.hi.x;
    (*e).l5 *= by.hi.y;
    (*e).l6 *= by.hi.z;
    (*e).l7 *= by.hi.w;
    if QUADS == 2u {
        (*e).r0 *= by.lo.x;
        (*e).r1 *= by.lo.y;
        (*e).r2 *= by.lo.z;
        (*e).r3 *= by.lo.w;
        (*e).r4 *= by.hi.x;
        (*e).r5 *= by.hi.y;
        (*e).r6 *= by.hi.z;
        (*e).r7 *= by.hi.w;
    }
}

// Blocks, element by element.

fn splat(value: f32) -> Block {
    let v = vec4(value);
    return Block(v, v, v, v, v, v, v, v);
}

fn splat_rows(rows: Eight) -> Block {
    return Block(
        vec4(rows.lo.x), vec4(rows.lo.y), vec4(rows.lo.z), vec4(rows.lo.w),
        vec4(rows.hi.x), vec4(rows.hi.y), vec4(rows.hi.z), vec4(rows.hi.w),
    );
}

fn splat_columns(v: vec4<f32>) -> Block {
    return Block(v, v, v, v, v, v, v, v);
}

fn sum(a: Block, b: Block) -> Block {
    return Block(
        a.r0 + b.r0, a.r1 + b.r1, a.r2 + b.r2, a.r3 + b.r3,
        a.r4 + b.r4, a.r5 + b.r5, a.r6 + b.r6, a.r7 + b.r7,
    );
}

fn difference(a: Block, b: Block) -> Block {
    return Block(
        a.r0 - b.r0, a.r1 - b.r1, a.r2 - b.r2, a.r3 - b.r3,
        a.r4 - b.r4, a.r5 - b.r5, a.r6 - b.r6, a.r7 - b.r7,
    );
}

fn product(a: Block, b: Block) -> Block {
    return Block(
        a.r0 * b.r0, a.r1 * b.r1, a.r2 * b.r2, a.r3 * b.r3,
        a.r4 * b.r4, a.r5 * b.r5, a.r6 * b.r6, a.r7 * b.r7,
    );
}

fn scaled(a: Block, by: f32) -> Block {
    return Block(
        by * a.r0, by * a.r1, by * a.r2, by * a.r3,
        by * a.r4, by * a.r5, by * a.r6, by * a.r7,
    );
}

fn exponential(a: Block) -> Block {
    return Block(
        exp(a.r0), exp(a.r1), exp(a.r2), exp(a.r3),
        exp(a.r4), exp(a.r5), exp(a.r6), exp(a.r7),
    );
}

// The 4 pairs of row r in a set of pairs: bit 4 r + c is row r and column c.
fn pairs_of(pairs: u32, r: u32) -> vec4<bool> {
    return (vec4(pairs >> (4u * r)) & vec4(1u, 2u, 4u, 8u)) != vec4(0u);
}

// The set of all pairs.
const ALL: u32 = 0xffffffffu;

// a where the set has the pair, otherwise b.
fn within(pairs: u32, a: Block, b: Block) -> Block {
    return Block(
        select(b.r0, a.r0, pairs_of(pairs, 0u)), select(b.r1, a.r1, pairs_of(pairs, 1u)),
        select(b.r2, a.r2, pairs_of(pairs, 2u)), select(b.r3, a.r3, pairs_of(pairs, 3u)),
        select(b.r4, a.r4, pairs_of(pairs, 4u)), select(b.r5, a.r5, pairs_of(pairs, 5u)),
        select(b.r6, a.r6, pairs_of(pairs, 6u)), select(b.r7, a.r7, pairs_of(pairs, 7u)),
    );
}

// Coefficients: minus zero where hidden, and nowhere else.
fn marked(visible: u32, a: Block) -> Block {
    // Zero minus minus zero, like zero minus zero, is zero: the sum takes the sign away.
    return within(visible, sum(a, splat(0.0)), splat(hidden()));
}

// 1 / x, and 0 for a row that has nothing.
fn inverted(v: vec4<f32>) -> vec4<f32> {
    return select(1.0 / v, vec4<f32>(), v == vec4<f32>());
}

fn inverse_of(rows: Eight) -> Eight {
    return Eight(inverted(rows.lo), inverted(rows.hi));
}

// The rows, for loops over those that exist: the number is not known to compilers, which would write out 8 or 16 accesses and take long.
fn rows_of(c: Block) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(c.r0, c.r1, c.r2, c.r3, c.r4, c.r5, c.r6, c.r7);
}

// Rows 0 to 7 of the left quads, then those of the right ones.
fn rows_of_wide(e: Wide) -> array<vec4<f32>, 16> {
    return array<vec4<f32>, 16>(
        e.l0, e.l1, e.l2, e.l3, e.l4, e.l5, e.l6, e.l7,
        e.r0, e.r1, e.r2, e.r3, e.r4, e.r5, e.r6, e.r7,
    );
}

// How many of this invocation's columns, from `col` on, lie before `end`.
fn columns_before(col: u32, end: u32) -> u32 {
    return min(max(end, col) - col, 4u);
}

// How many of this invocation's rows, from `row` on, lie before `end`.
fn rows_before(row: u32, end: u32) -> u32 {
    return min(max(end, row) - row, 8u);
}

fn max_of(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn sum_of(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

// Over this invocation's columns.
fn max_of_rows(c: Block) -> Eight {
    return Eight(
        vec4(max_of(c.r0), max_of(c.r1), max_of(c.r2), max_of(c.r3)),
        vec4(max_of(c.r4), max_of(c.r5), max_of(c.r6), max_of(c.r7)),
    );
}

fn sum_of_rows(c: Block) -> Eight {
    return Eight(
        vec4(sum_of(c.r0), sum_of(c.r1), sum_of(c.r2), sum_of(c.r3)),
        vec4(sum_of(c.r4), sum_of(c.r5), sum_of(c.r6), sum_of(c.r7)),
    );
}

fn pick(rows: Eight, r: u32) -> f32 {
    return select(rows.lo, rows.hi, r >= 4u)[r % 4u];
}
