// The gradient of a linear-chain CRF's moves: how often each is expected, less how often the tags make it. A part of the sum.
//
//     part[s,i,j] = w sum_r (exp(alpha[r-1,i] + transitions[i,j] + link[r,j]) - [tags[r-1] = i and tags[r] = j])       w = scale d_loss
//
// r are the rows of slice s: steps of all sequences, one after the other, but for first steps and what is past `reached`.
//
// Shapes    alphas, links: [batch, time, columns]   table: [columns + 2, columns]   tags: [batch, time]   reached: [batch]   d_loss: []
//           partials: [slices, columns, columns]
// Grid      one invocation per pair of tags and slice; tiles of LANES pairs, then slices, spread over x and y
// Numerics  f32; a slice is short, and slices are added as a tree
// Memory    reads alphas and links once for each tile, writes partials once
// Source    Lafferty, McCallum & Pereira 2001
// Twin      src/ops/crf/cpu.rs

#import chain

const LANES: u32 = 256u;

@group(0) @binding(1) var<storage, read> alphas: array<f32>; // [batch, time, columns]
@group(0) @binding(2) var<storage, read> links: array<f32>; // [batch, time, columns]
@group(0) @binding(3) var<storage, read> table: array<f32>; // [columns + 2, columns]
@group(0) @binding(4) var<storage, read> tags: array<i32>; // [batch, time]
@group(0) @binding(5) var<storage, read> reached: array<i32>; // [batch]
@group(0) @binding(6) var<storage, read> d_loss: array<f32>; // []
@group(0) @binding(7) var<storage, read_write> partials: array<f32>; // [slices, columns, columns]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let k = params.columns;
    let tiles = (k * k + LANES - 1u) / LANES;
    let workgroup = spread(group, groups);
    let slice = workgroup / tiles;
    let pair = (workgroup % tiles) * LANES + local;
    if pair >= k * k || slice >= params.steps {
        return;
    }
    let i = pair / k;
    let j = pair % k;
    let move_score = table[pair];

    let first = params.first + slice * params.rows_each;
    let past = min(first + params.rows_each, params.rows);
    var sequence = first / params.time;
    var t = first % params.time;
    var length = u32(reached[params.reached_base + sequence]);
    var sum = 0.0;
    for (var row = first; row < past; row++) {
        if t == params.time {
            t = 0u;
            sequence++;
            length = u32(reached[params.reached_base + sequence]);
        }
        if t > 0u && t < length {
            let before = alphas[params.alphas_base + (row - 1u) * k + i];
            let expected = probability(before + move_score + links[params.links_base + row * k + j]);
            let at = params.tags_base + row;
            sum += expected - select(0.0, 1.0, u32(tags[at - 1u]) == i && u32(tags[at]) == j);
        }
        t++;
    }
    partials[params.partials_base + slice * k * k + pair] = params.scale * d_loss[params.d_loss_base] * sum;
}
