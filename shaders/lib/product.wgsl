// One block of a matrix product, c[i,j] = sum_k a[i,k] b[k,j], by one workgroup.
//
// The importing kernel says what a and b are:
//     fn load_a(row: u32, k: u32) -> f32      zero outside of a
//     fn load_b(k: u32, col: u32) -> f32      zero outside of b
// and takes the block that its invocation has computed:
//     fn store(row: u32, col: u32, c: vec4<f32>)      c[row, col .. col+4], to be dropped outside of c
//
// With the flag GUARD an a[i,k] of minus zero marks a hidden pair (lib/math): b[k,j] is not used then, NaN included. The test costs
// nothing while b is finite: 0 times a finite number is 0.
//
// Tile      TILE x TILE outputs by GRID x GRID invocations of EACH x EACH; PANEL steps of k are staged in workgroup memory
// Numerics  f32; every SLICE steps of k are summed on their own and then added, which bounds the growth of rounding errors
// Registers the EACH x EACH sums are written out: compilers keep named values in registers, not always the elements of an array

#import math

const TILE: u32 = 64u;
const GRID: u32 = 8u;
const EACH: u32 = 8u;
const PANEL: u32 = 16u; // multiple of 4
const SLICE: u32 = 2048u; // multiple of PANEL
const_assert(TILE == GRID * EACH);
const_assert(EACH == 8u);
const_assert(SLICE % PANEL == 0u);

// Vectors of 4 in one row of a panel, and the distance between rows: one more, so that neighbours along k use different memory banks.
const QUADS: u32 = TILE / 4u;
const PITCH: u32 = QUADS + 1u;

// [k, row / 4] and [k, column / 4]
var<workgroup> panel_a: array<vec4<f32>, PANEL * PITCH>;
var<workgroup> panel_b: array<vec4<f32>, PANEL * PITCH>;

#if GUARD
// Set once a staged part of b holds a number that is not finite.
var<workgroup> unsafe_b: atomic<u32>;
#end

// The 8 rows of an invocation's block, each as its left and right 4 columns.
struct Block {
    l0: vec4<f32>, r0: vec4<f32>,
    l1: vec4<f32>, r1: vec4<f32>,
    l2: vec4<f32>, r2: vec4<f32>,
    l3: vec4<f32>, r3: vec4<f32>,
    l4: vec4<f32>, r4: vec4<f32>,
    l5: vec4<f32>, r5: vec4<f32>,
    l6: vec4<f32>, r6: vec4<f32>,
    l7: vec4<f32>, r7: vec4<f32>,
}

// Stages 4 elements of a[row0 .. row0+TILE, k0 .. k0+PANEL]. `along_k` says which neighbours in memory are: the invocations follow it.
fn stage_a(i: u32, row0: u32, k0: u32, along_k: bool) {
    let k = select(i / QUADS, i % PANEL, along_k);
    let quad = select(i % QUADS, i / PANEL, along_k);
    let row = row0 + 4u * quad;
    panel_a[k * PITCH + quad] =
        vec4(load_a(row, k0 + k), load_a(row + 1u, k0 + k), load_a(row + 2u, k0 + k), load_a(row + 3u, k0 + k));
}

// Stages 4 elements of b[k0 .. k0+PANEL, col0 .. col0+TILE].
fn stage_b(i: u32, k0: u32, col0: u32, along_k: bool) {
    let k = select(i / QUADS, i % PANEL, along_k);
    let quad = select(i % QUADS, i / PANEL, along_k);
    let col = col0 + 4u * quad;
    let b = vec4(load_b(k0 + k, col), load_b(k0 + k, col + 1u), load_b(k0 + k, col + 2u), load_b(k0 + k, col + 3u));
    panel_b[k * PITCH + quad] = b;
#if GUARD
    if !(is_finite(b.x) && is_finite(b.y) && is_finite(b.z) && is_finite(b.w)) {
        atomicStore(&unsafe_b, 1u);
    }
#end
}

// Adds the product of one step of the staged panels.
fn step_of(k: u32, x: u32, y: u32, c: ptr<function, Block>) {
    let a_lo = panel_a[k * PITCH + 2u * y];
    let a_hi = panel_a[k * PITCH + 2u * y + 1u];
    let b_lo = panel_b[k * PITCH + 2u * x];
    let b_hi = panel_b[k * PITCH + 2u * x + 1u];
    (*c).l0 = fma(vec4(a_lo.x), b_lo, (*c).l0); (*c).r0 = fma(vec4(a_lo.x), b_hi, (*c).r0);
    (*c).l1 = fma(vec4(a_lo.y), b_lo, (*c).l1); (*c).r1 = fma(vec4(a_lo.y), b_hi, (*c).r1);
    (*c).l2 = fma(vec4(a_lo.z), b_lo, (*c).l2); (*c).r2 = fma(vec4(a_lo.z), b_hi, (*c).r2);
    (*c).l3 = fma(vec4(a_lo.w), b_lo, (*c).l3); (*c).r3 = fma(vec4(a_lo.w), b_hi, (*c).r3);
    (*c).l4 = fma(vec4(a_hi.x), b_lo, (*c).l4); (*c).r4 = fma(vec4(a_hi.x), b_hi, (*c).r4);
    (*c).l5 = fma(vec4(a_hi.y), b_lo, (*c).l5); (*c).r5 = fma(vec4(a_hi.y), b_hi, (*c).r5);
    (*c).l6 = fma(vec4(a_hi.z), b_lo, (*c).l6); (*c).r6 = fma(vec4(a_hi.z), b_hi, (*c).r6);
    (*c).l7 = fma(vec4(a_hi.w), b_lo, (*c).l7); (*c).r7 = fma(vec4(a_hi.w), b_hi, (*c).r7);
}

// Adds the product of the staged panels. Four steps a round: Mesa 22.3's lavapipe leaves all loops of an invocation, without a word, after
// 65,535 rounds in total, and a sum of 65,536 terms must stay below that.
fn multiply(x: u32, y: u32, c: ptr<function, Block>) {
    for (var k = 0u; k < PANEL; k += 4u) {
        step_of(k, x, y, c);
        step_of(k + 1u, x, y, c);
        step_of(k + 2u, x, y, c);
        step_of(k + 3u, x, y, c);
    }
}

#if GUARD
fn add_shown(a: f32, b: vec4<f32>, c: vec4<f32>) -> vec4<f32> {
    if is_hidden(a) {
        return c;
    }
    return fma(vec4(a), b, c);
}

// The same without the hidden pairs, and with the same bits: for panels that hold a number that is not finite.
fn multiply_shown(x: u32, y: u32, c: ptr<function, Block>) {
    for (var k = 0u; k < PANEL; k++) {
        let a_lo = panel_a[k * PITCH + 2u * y];
        let a_hi = panel_a[k * PITCH + 2u * y + 1u];
        let b_lo = panel_b[k * PITCH + 2u * x];
        let b_hi = panel_b[k * PITCH + 2u * x + 1u];
        (*c).l0 = add_shown(a_lo.x, b_lo, (*c).l0); (*c).r0 = add_shown(a_lo.x, b_hi, (*c).r0);
        (*c).l1 = add_shown(a_lo.y, b_lo, (*c).l1); (*c).r1 = add_shown(a_lo.y, b_hi, (*c).r1);
        (*c).l2 = add_shown(a_lo.z, b_lo, (*c).l2); (*c).r2 = add_shown(a_lo.z, b_hi, (*c).r2);
        (*c).l3 = add_shown(a_lo.w, b_lo, (*c).l3); (*c).r3 = add_shown(a_lo.w, b_hi, (*c).r3);
        (*c).l4 = add_shown(a_hi.x, b_lo, (*c).l4); (*c).r4 = add_shown(a_hi.x, b_hi, (*c).r4);
        (*c).l5 = add_shown(a_hi.y, b_lo, (*c).l5); (*c).r5 = add_shown(a_hi.y, b_hi, (*c).r5);
        (*c).l6 = add_shown(a_hi.z, b_lo, (*c).l6); (*c).r6 = add_shown(a_hi.z, b_hi, (*c).r6);
        (*c).l7 = add_shown(a_hi.w, b_lo, (*c).l7); (*c).r7 = add_shown(a_hi.w, b_hi, (*c).r7);
    }
}
#end

// c[row0 .. row0+TILE, col0 .. col0+TILE], of which this invocation stores its EACH x EACH.
fn product(local: u32, row0: u32, col0: u32, depth: u32, a_along_k: bool, b_along_k: bool) {
    let y = local / GRID;
    let x = local % GRID;
    var total = Block();
    for (var slice = 0u; slice < depth; slice += SLICE) {
        var c = Block();
        for (var k0 = slice; k0 < min(depth, slice + SLICE); k0 += PANEL) {
            for (var i = local; i < PANEL * QUADS; i += GRID * GRID) {
                stage_a(i, row0, k0, a_along_k);
                stage_b(i, k0, col0, b_along_k);
            }
            workgroupBarrier();
#if GUARD
            if atomicLoad(&unsafe_b) == 1u {
                multiply_shown(x, y, &c);
            } else {
                multiply(x, y, &c);
            }
#else
            multiply(x, y, &c);
#end
            workgroupBarrier();
        }
        total.l0 += c.l0; total.r0 += c.r0;
        total.l1 += c.l1; total.r1 += c.r1;
        total.l2 += c.l2; total.r2 += c.r2;
        total.l3 += c.l3; total.r3 += c.r3;
        total.l4 += c.l4; total.r4 += c.r4;
        total.l5 += c.l5; total.r5 += c.r5;
        total.l6 += c.l6; total.r6 += c.r6;
        total.l7 += c.l7; total.r7 += c.r7;
    }
    // A loop here, not sixteen copies of store: compile time matters at the first use, and this runs once.
    var c = array<vec4<f32>, 16>(
        total.l0, total.r0, total.l1, total.r1, total.l2, total.r2, total.l3, total.r3,
        total.l4, total.r4, total.l5, total.r5, total.l6, total.r6, total.l7, total.r7,
    );
    for (var i = 0u; i < 2u * EACH; i++) {
        store(row0 + EACH * y + i / 2u, col0 + EACH * x + 4u * (i % 2u), c[i]);
    }
}
