// What the kernels of fused attention have in common: the call's parameters, the sequences, which pairs of a tile are visible, what
// their logits are, and which ones dropout keeps.
//
// A kernel says which way its tiles lie: with TRANSPOSED the 8 rows of an invocation are keys and its 4 columns queries, otherwise
// the other way round.
//
// lib/operands declares `guide`, which attention/guide.wgsl makes: the sequences, the slopes of the heads, and with the flag MASK the
// packed mask. With the flag BIAS it declares bias.

#import index
#import loops
#import math
#import random
#if UNITS
#import tile_units
#else
#import tile
#end

// Softcap, ALiBi or dropout are in use.
const EXTRAS: bool = false;

struct Params {
    // The part of the call that this dispatch does: `tiles` tiles of each of `heads` heads from head0 on of each sequence in the
    // guide; queries [i_begin, i_end) and keys [j_begin, j_end) of them.
    workgroups: u32,
    tiles: u32,
    heads: u32,
    head0: u32,
    i_begin: u32,
    i_end: u32,
    j_begin: u32,
    j_end: u32,
    // Keys of each part that a workgroup of the forward takes, a multiple of COLS; `tiles` counts tiles_along of each part. What it
    // finds goes to part part0 and on of the parts of each row.
    part_keys: u32,
    part0: u32,
    parts: u32,
    tiles_along: u32,
    // The query heads that d_k and d_v gather from.
    q_head_begin: u32,
    q_head_end: u32,
    // 1 when the gradients hold what earlier dispatches did for other keys or queries.
    resume: u32,
    // Query heads of each key head.
    group: u32,
    // Quads of a row.
    quads: u32,
    quads_v: u32,
    scale: f32,
    // 0 when off.
    softcap: f32,
    // The vector of the guide at which the slopes begin; 0 when there are none.
    slopes: u32,
    // 1 / (1 - p), and the word at or above which a pair is kept; 0 keeps all.
    keep_scale: f32,
    threshold: u32,
    seed_low: u32,
    seed_high: u32,
    // The gradient of the bias: what a workgroup adds up, in heads and sequences, and the tiles of columns.
    repeat_h: u32,
    repeat_b: u32,
    tiles_across: u32,
    // The random element of pair (h, i, j) of a sequence is its start + h * head + i * row + j, in 64 bits.
    random_head_low: u32,
    random_head_high: u32,
    random_row: u32,
    // Row i of a head of a sequence is row head * q_head + (q_first + i) * q_row of the tensors of queries; the same for keys.
    q_head: u32,
    q_row: u32,
    k_head: u32,
    k_row: u32,
    // Where each tensor begins: in quads, but for lse, in elements, and row_data, in rows.
    q_base: u32,
    k_base: u32,
    v_base: u32,
    o_base: u32,
    lse_base: u32,
    d_q_base: u32,
    d_k_base: u32,
    d_v_base: u32,
    d_o_base: u32,
    row_data_base: u32,
    // Of the packed mask, in words: a record for each 32 queries, which begins with what is visible in each of its cells.
    mask_base: u32,
    mask_b: u32,
    mask_h: u32,
    mask_cells: u32,
    mask_i: u32,
    mask_j: u32,
    bias_base: u32,
    bias_b: u32,
    bias_h: u32,
    bias_i: u32,
    bias_j: u32,
    d_bias_base: u32,
    d_bias_b: u32,
    d_bias_h: u32,
    d_bias_row: u32,
    d_bias_col: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Vectors of a sequence in the guide.
const SEQUENCE: u32 = 3u;

struct Sequence {
    // The first row of its queries and keys, and how many there are. Keys past the visible length are not counted.
    q_first: u32,
    q_count: u32,
    k_first: u32,
    k_count: u32,
    // Query i sees keys j with i + low <= j < i + high: causality and windows.
    low: i32,
    high: i32,
    // Query i stands at key position i + offset.
    offset: i32,
    // Rows of keys, the hidden ones at the end too.
    k_rows: u32,
    // The first random element of dropout.
    random: vec2<u32>,
}

fn sequence_of(n: u32) -> Sequence {
    let rows = guide[n * SEQUENCE];
    let shifts = guide[n * SEQUENCE + 1u];
    var random = vec4<u32>();
    if EXTRAS {
        random = guide[n * SEQUENCE + 2u];
    }
    return Sequence(
        rows.x, rows.y, rows.z, rows.w, bitcast<i32>(shifts.x), bitcast<i32>(shifts.y), bitcast<i32>(shifts.z), shifts.w, random.xy,
    );
}

fn guide_word(at: u32) -> u32 {
    return guide[at / 4u][at % 4u];
}

// What a workgroup works on: tile `tile` of a head of a sequence.
struct Place {
    tile: u32,
    head: u32,
    sequence: u32,
}

fn place_of(workgroup: u32) -> Place {
    let rest = workgroup / params.tiles;
    return Place(workgroup % params.tiles, params.head0 + rest % params.heads, rest / params.heads);
}

// The head that is worked on, for masks, biases and random numbers.
struct Head {
    sequence: Sequence,
    slope: f32,
    mask_start: u32,
    bias_start: u32,
    random: vec2<u32>,
}

fn head_of(sequence: Sequence, n: u32, h: u32) -> Head {
    var slope = 0.0;
    if EXTRAS && params.slopes > 0u {
        slope = bitcast<f32>(guide[params.slopes + h / 4u][h % 4u]);
    }
    let random = wide_add(sequence.random, wide_scale(vec2(params.random_head_low, params.random_head_high), h));
    return Head(
        sequence,
        slope,
        params.mask_base + n * params.mask_b + h * params.mask_h,
        params.bias_base + n * params.bias_b + h * params.bias_h,
        random,
    );
}

// The queries of a sequence that this dispatch looks at end here.
fn queries_end(s: Sequence) -> u32 {
    return min(s.q_count, params.i_end);
}

fn keys_end(s: Sequence) -> u32 {
    return min(s.k_count, params.j_end);
}

// Query i sees keys in [first_key, end_key), of those in this dispatch.
fn first_key(s: Sequence, i: u32) -> u32 {
    return u32(max(i32(i) + s.low, i32(params.j_begin)));
}

fn end_key(s: Sequence, i: u32) -> u32 {
    return u32(clamp(i32(i) + s.high, 0, i32(keys_end(s))));
}

// Key j is seen by queries in [first_query, end_query), of those in this dispatch.
fn first_query(s: Sequence, j: u32) -> u32 {
    return u32(max(i32(j) - s.high + 1, i32(params.i_begin)));
}

fn end_query(s: Sequence, j: u32) -> u32 {
    return u32(clamp(i32(j) - s.low + 1, 0, i32(queries_end(s))));
}

// What is visible in a tile.
const EMPTY: u32 = 0u;
const PARTIAL: u32 = 1u;
const FULL: u32 = 2u;

// Rows and columns of a cell of the mask, which is looked at as a whole.
const CELL: u32 = 32u;

// Of queries [i0, i1) and keys [j0, j1), of which the first ones exist. Where some are beyond the last ones the tile is not full.
fn kind_of(at: Head, i0: u32, i1: u32, j0: u32, j1: u32) -> u32 {
    let s = at.sequence;
    let last = min(i1, queries_end(s)) - 1u;
    if first_key(s, i0) >= j1 || end_key(s, last) <= j0 {
        return EMPTY;
    }
    let full = i0 >= params.i_begin && i1 <= queries_end(s) && first_key(s, last) <= j0 && end_key(s, i0) >= j1;
    var kind = select(PARTIAL, FULL, full);
#if MASK
    var empty = true;
    for (var i = i0 / CELL; i <= last / CELL; i++) {
        for (var j = j0 / CELL; j <= (min(j1, keys_end(s)) - 1u) / CELL; j++) {
            let cell = guide_word(at.mask_start + i * (CELL + 1u) * params.mask_i + j * params.mask_j);
            empty = empty && cell == EMPTY;
            kind = min(kind, max(cell, PARTIAL));
        }
    }
    kind = select(kind, EMPTY, empty);
#end
    return kind;
}

#if MASK
// The mask's bits of keys j, j + 1, … of query i, from bit 0 on; j is a multiple of 4 or 8, and as many bits count.
fn mask_bits(at: Head, i: u32, j: u32) -> u32 {
    let record = at.mask_start + i / CELL * (CELL + 1u) * params.mask_i + params.mask_cells;
    return guide_word(record + i % CELL * params.mask_i + j / CELL * params.mask_j) >> (j % CELL);
}
#end

// The `count` lowest bits.
fn low_bits(count: u32) -> u32 {
    return (1u << count) - 1u;
}

// Bit k of 8 goes to bit 4 k.
fn every_fourth(bits: u32) -> u32 {
    let a = (bits | (bits << 12u)) & 0x000f000fu;
    let b = (a | (a << 6u)) & 0x03030303u;
    return (b | (b << 3u)) & 0x11111111u;
}

// The visible ones of `count` keys from j on, for query i.
fn visible_keys(at: Head, i: u32, j: u32, count: u32) -> u32 {
    if i < params.i_begin || i >= queries_end(at.sequence) {
        return 0u;
    }
    let first = clamp(first_key(at.sequence, i), j, j + count) - j;
    let end = clamp(end_key(at.sequence, i), j, j + count) - j;
    var bits = low_bits(end) & ~low_bits(first);
#if MASK
    bits &= mask_bits(at, i, j);
#end
    return bits;
}

// The visible pairs of this invocation, from its first row and column on. The bias is not looked at.
fn visible_pairs(at: Head, row: u32, col: u32) -> u32 {
    var bits = 0u;
    if TRANSPOSED {
        for (var c = 0u; c < turns(4u); c++) {
            bits |= every_fourth(visible_keys(at, col + c, row, 8u)) << c;
        }
    } else {
        for (var r = 0u; r < turns(8u); r++) {
            bits |= visible_keys(at, row + r, col, 4u) << (4u * r);
        }
    }
    return bits;
}

// The kept ones of the 4 pairs of query i from key j on.
fn kept_keys(at: Head, i: u32, j: u32) -> u32 {
    let seed = vec2(params.seed_low, params.seed_high);
    let element = wide_add(at.random, wide_add(wide_multiply(i, params.random_row), vec2(j, 0u)));
    let block = vec2((element.x >> 2u) | (element.y << 30u), element.y >> 2u);
    var bits = kept_words(philox4x32(vec4(block, 0u, 0u), seed));
    let skipped = element.x & 3u;
    if skipped > 0u {
        bits |= kept_words(philox4x32(vec4(wide_add(block, vec2(1u, 0u)), 0u, 0u), seed)) << 4u;
    }
    return (bits >> skipped) & 15u;
}

fn kept_words(words: vec4<u32>) -> u32 {
    let kept = select(vec4(0u), vec4(1u, 2u, 4u, 8u), words >= vec4(params.threshold));
    return kept.x | kept.y | kept.z | kept.w;
}

// The pairs of this invocation that dropout keeps.
fn kept_pairs(at: Head, row: u32, col: u32) -> u32 {
    if !EXTRAS || params.threshold == 0u {
        return ALL;
    }
    var bits = 0u;
    if TRANSPOSED {
        for (var c = 0u; c < turns(4u); c++) {
            let byte = kept_keys(at, col + c, row) | (kept_keys(at, col + c, row + 4u) << 4u);
            bits |= every_fourth(byte) << c;
        }
    } else {
        for (var r = 0u; r < turns(8u); r++) {
            bits |= kept_keys(at, row + r, col) << (4u * r);
        }
    }
    return bits;
}

// What pairs count for with dropout: keep / (1 - p).
fn factors_of(kept: u32) -> Block {
    return within(kept, splat(params.keep_scale), splat(0.0));
}

// |p - j| of every pair; p is where the query stands.
fn distances_of(at: Head, row: u32, col: u32) -> Block {
    let ahead = distance_past(select(row, col, TRANSPOSED), select(col, row, TRANSPOSED), at.sequence.offset);
    let along = select(-1.0, 1.0, TRANSPOSED) * vec4(0.0, 1.0, 2.0, 3.0);
    let across = select(1.0, -1.0, TRANSPOSED);
    let first = ahead + along;
    return Block(
        abs(first), abs(first + across), abs(first + 2.0 * across), abs(first + 3.0 * across),
        abs(first + 4.0 * across), abs(first + 5.0 * across), abs(first + 6.0 * across), abs(first + 7.0 * across),
    );
}

fn tanh_of(s: vec4<f32>) -> vec4<f32> {
    return vec4(stable_tanh(s.x), stable_tanh(s.y), stable_tanh(s.z), stable_tanh(s.w));
}

// tanh(s / softcap)
fn capped(s: Block) -> Block {
    let by = 1.0 / params.softcap;
    return Block(
        tanh_of(by * s.r0), tanh_of(by * s.r1), tanh_of(by * s.r2), tanh_of(by * s.r3),
        tanh_of(by * s.r4), tanh_of(by * s.r5), tanh_of(by * s.r6), tanh_of(by * s.r7),
    );
}

#if BIAS
fn biases_of(at: Head, row: u32, col: u32) -> Block {
    let across = select(params.bias_i, params.bias_j, TRANSPOSED);
    let along = select(params.bias_j, params.bias_i, TRANSPOSED);
    var rows = array<vec4<f32>, 8>();
    for (var r = 0u; r < turns(8u); r++) {
        let start = at.bias_start + (row + r) * across + col * along;
        rows[r] = vec4(bias[start], bias[start + along], bias[start + 2u * along], bias[start + 3u * along]);
    }
    return Block(rows[0], rows[1], rows[2], rows[3], rows[4], rows[5], rows[6], rows[7]);
}

fn hides(biases: vec4<f32>) -> u32 {
    let bits = select(vec4(0u), vec4(1u, 2u, 4u, 8u), bitcast<vec4<u32>>(biases) == vec4(MINUS_INFINITY));
    return bits.x | bits.y | bits.z | bits.w;
}

// The pairs that the bias hides.
fn hidden_pairs(b: Block) -> u32 {
    return hides(b.r0) | (hides(b.r1) << 4u) | (hides(b.r2) << 8u) | (hides(b.r3) << 12u)
        | (hides(b.r4) << 16u) | (hides(b.r5) << 20u) | (hides(b.r6) << 24u) | (hides(b.r7) << 28u);
}
#end

// Whether a wholly visible tile can still have hidden pairs.
#if BIAS
const HIDING: bool = true;
#else
const HIDING: bool = false;
#end

// From scores, scale q.k, to logits. Takes out of `visible` what the bias hides.
fn logits_of(at: Head, row: u32, col: u32, scores: Block, visible: ptr<function, u32>) -> Block {
    var s = scores;
    if EXTRAS && params.softcap > 0.0 {
        s = scaled(capped(s), params.softcap);
    }
#if BIAS
    let biases = biases_of(at, row, col);
    s = sum(s, biases);
    *visible &= ~hidden_pairs(biases);
#end
    if EXTRAS && params.slopes > 0u {
        s = difference(s, scaled(distances_of(at, row, col), at.slope));
    }
    return s;
}
