// Cosine scores, forward, in place: from dot products to cosines.
//
//     scores[b,i,j] = dots[b,i,j] / max(|query[b,i]| |key[b,j]|, EPS)
//
// Shapes    scores: [batch, queries, keys], which comes in as dots   norms_q: [batch, queries]   norms_k: [batch, keys]
// Grid      one invocation per element, workgroups spread over x and y
// Numerics  f32
// Memory    reads and writes scores once
// Source    torch.nn.functional.cosine_similarity
// Twin      src/ops/luong_attention/cpu.rs

#import cosine

@group(0) @binding(1) var<storage, read> norms_q: array<f32>; // [batch, queries]
@group(0) @binding(2) var<storage, read> norms_k: array<f32>; // [batch, keys]
@group(0) @binding(3) var<storage, read_write> scores: array<f32>; // [batch, queries, keys]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let at = spread(group, groups) * LANES + local;
    if at >= params.count {
        return;
    }
    let pair = pair_of(at);
    let n = norms_q[params.norms_q_base + pair.row] * norms_k[params.norms_k_base + pair.key];
    scores[params.scores_base + at] /= max(n, EPS);
}
