// The norm of all gradients from the sums of squares of their stretches, and what they are multiplied by to be no longer than `limit`.
//
//     norm = sqrt(sum of all squares)          factor = min(1, limit / (norm + 1e-6))
//
// Shapes    sums: [count] (see squares.wgsl)   clip: [2] words: norm and factor
// Grid      one workgroup
// Numerics  f32; an invocation's terms in order, then pairwise: a fixed order. An infinite gradient makes the factor 0, a NaN makes both NaN
// Memory    reads the sums twice
// Source    torch.nn.utils.clip_grad_norm_
// Twin      src/ops/optimizer/cpu.rs

#import reduce

struct Params {
    count: u32,
    limit: f32,
    padding_0: u32,
    padding_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> clip: array<u32>; // the bits of f32: what is not finite is never computed with

const INFINITY: u32 = 0x7f800000u;
const NAN: u32 = 0x7fc00000u;

// 2^(2 (e - highest)), which is 0 where nothing that small is felt.
fn weight(e: f32, highest: f32) -> f32 {
    let below = u32(highest - e);
    return select(bitcast<f32>((127u - 2u * min(below, 60u)) << 23u), 0.0, below > 60u);
}

@compute @workgroup_size(LANES)
fn main(lane: Lane) {
    var mine = 0.0;
    for (var i = lane.local; i < params.count; i += LANES) {
        mine = max(mine, sums[i].x);
    }
    let highest = reduce_max(lane, mine);

    var sum = 0.0;
    for (var i = lane.local; i < params.count; i += LANES) {
        sum += sums[i].y * weight(sums[i].x, highest);
    }
    let total = reduce_sum(lane, sum);
    if lane.local == 0u {
        let norm = sqrt(total) * bitcast<f32>(min(u32(highest), 253u) << 23u);
        var bits = vec2(bitcast<u32>(norm), bitcast<u32>(min(1.0, params.limit / (norm + 1e-6))));
        if highest >= 255.0 {
            bits = select(vec2(INFINITY, 0u), vec2(NAN), highest > 255.0);
        }
        clip[0] = bits.x;
        clip[1] = bits.y;
    }
}
