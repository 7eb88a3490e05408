// Rotary position embedding: pairs of elements of a row are rotated by an angle that grows with the row's position. Its backward is the
// rotation by the opposite angle.
//
//     y[a] = x[a] cos t - x[b] sin t           t = sign position base^(-2i/R) for pair i of R/2
//     y[b] = x[b] cos t + x[a] sin t           a, b = 2i, 2i+1, or with HALF i, i + R/2
//     y[c] = x[c]                              for c from R on
//
// In f32 the angle of a far position has no digit right, and many devices have none of its sine. So the host gives what a pair turns from one
// position to the next as a fraction of a whole turn, with 64 bits after the point. Multiplied by the position in whole numbers, whole turns
// drop out at the top, and the angle is exact to 2^-32 of a turn for every position that an i32 holds. What is left of it after the nearest
// quarter turn is at most an eighth, where short series give sine and cosine to the last place.
//
// Shapes    x, y: [batch, heads, seq, cols]   positions: [batch, seq] or [seq]   frequencies: [R/2], each (low, high)
// Grid      one invocation per batch, HEADS heads, row and pair or single element; workgroups spread over x and y
// Numerics  f32
// Memory    reads x once, writes y once
// Source    Su et al. 2021, arXiv:2104.09864
// Twin      src/ops/rotary_embedding/cpu.rs

#import index
#import random

const LANES: u32 = 256u;
// Heads that an invocation rotates, one after the other: they have their angles in common.
const HEADS: u32 = 8u;
const HALF: bool = false;

struct Params {
    // What this dispatch works on.
    batch: u32,
    heads: u32,
    seq: u32,
    cols: u32,
    // R/2.
    pairs: u32,
    // From one batch to the next, and from one head to the next, in x and y.
    batch_stride: u32,
    head_stride: u32,
    x_base: u32,
    y_base: u32,
    positions_base: u32,
    // From one batch to the next; 0 where all have the same positions.
    positions_stride: u32,
    // The position of the first row, where there are no positions.
    first: i32,
    sign: f32,
    padding_0: u32,
    padding_1: u32,
    padding_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>; // [batch, heads, seq, cols]
#if POSITIONS
@group(0) @binding(2) var<storage, read> positions: array<i32>; // [batch, seq] or [seq]
#end
@group(0) @binding(3) var<storage, read> frequencies: array<vec2<u32>>; // [R/2], 2^-64 of a turn, the low word first
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [batch, heads, seq, cols]

fn position_of(batch: u32, row: u32) -> i32 {
#if POSITIONS
    return positions[params.positions_base + batch * params.positions_stride + row];
#else
    return params.first + i32(row);
#end
}

// Of 2^-32 turns, in radians.
const RADIANS: f32 = 0x1.921fb6p-30;
const QUARTER: u32 = 1u << 30u;

// The cosine and sine of the angle by which a position turns a pair of this frequency.
fn rotation(position: i32, frequency: vec2<u32>) -> vec2<f32> {
    let angle = wide_scale(frequency, u32(abs(position))).y;
    // The nearest quarter turn, and what is left from there: at most an eighth of a turn, to either side.
    let quarter = (angle + QUARTER / 2u) / QUARTER;
    let t = f32(i32(angle - quarter * QUARTER)) * RADIANS;
    let t2 = t * t;
    let sine = t + t * t2 * (-1.0 / 6.0 + t2 * (1.0 / 120.0 + t2 * (-1.0 / 5040.0 + t2 * (1.0 / 362880.0))));
    let cosine = 1.0 + t2 * (-0.5 + t2 * (1.0 / 24.0 + t2 * (-1.0 / 720.0 + t2 * (1.0 / 40320.0 + t2 * (-1.0 / 3628800.0)))));
    var turned = select(vec2(cosine, sine), vec2(-sine, cosine), (quarter & 1u) == 1u);
    turned = select(turned, -turned, (quarter & 2u) == 2u);
    return vec2(turned.x, select(turned.y, -turned.y, position < 0));
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // Pairs, then the elements that are not rotated.
    let units = params.cols - params.pairs;
    let teams = (params.heads + HEADS - 1u) / HEADS;
    var rest = spread(group, groups) * LANES + local;
    let unit = rest % units;
    rest /= units;
    let row = rest % params.seq;
    rest /= params.seq;
    let head = rest % teams * HEADS;
    let batch = rest / teams;
    if batch >= params.batch {
        return;
    }
    let start = batch * params.batch_stride + row * params.cols;
    let end = min(head + HEADS, params.heads);
    if unit >= params.pairs {
        for (var h = head; h < end; h++) {
            let at = start + h * params.head_stride + params.pairs + unit;
            y[params.y_base + at] = x[params.x_base + at];
        }
        return;
    }
    let turned = rotation(position_of(batch, row), frequencies[unit]);
    let sine = params.sign * turned.y;
    let first = select(2u * unit, unit, HALF);
    let apart = select(1u, params.pairs, HALF);
    for (var h = head; h < end; h++) {
        let at = start + h * params.head_stride + first;
        let a = x[params.x_base + at];
        let b = x[params.x_base + at + apart];
        y[params.y_base + at] = a * turned.x - b * sine;
        y[params.y_base + at + apart] = b * turned.x + a * sine;
    }
}
