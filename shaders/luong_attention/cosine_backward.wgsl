// Cosine scores, backward, in place: from dot products and the gradient of the scores to what the products and sums after this make the
// gradients of.
//
//     scores = dots / n,  n = max(|q| |k|, EPS):
//     d_q[i] = sum_j c[i,j] k[j] - q[i] / |q[i]|^2 sum_j e[i,j]      c = d_scores / n
//     d_k[j] = sum_i c[i,j] q[i] - k[j] / |k[j]|^2 sum_i e[i,j]      e = d_scores dots / n where |q| |k| > EPS, 0 where n is constant
//
// Shapes    scores, d_scores: [batch, queries, keys]; they come in as dots and d_scores, and leave as e and c
//           norms_q: [batch, queries]   norms_k: [batch, keys]   mask: u8 [batch, keys]
// Grid      one invocation per element, workgroups spread over x and y
// Numerics  f32; where a key is masked both are 0, whatever it holds
// Memory    reads and writes both once
// Source    the derivative of cosine_forward.wgsl
// Twin      src/ops/luong_attention/cpu.rs

#import cosine

@group(0) @binding(1) var<storage, read> norms_q: array<f32>; // [batch, queries]
@group(0) @binding(2) var<storage, read> norms_k: array<f32>; // [batch, keys]
#if MASK
@group(0) @binding(3) var<storage, read> mask: array<u32>; // [batch, keys], four u8 to a word
#end
@group(0) @binding(4) var<storage, read_write> scores: array<f32>; // [batch, queries, keys]
@group(0) @binding(5) var<storage, read_write> d_scores: array<f32>; // [batch, queries, keys]

fn kept(key: u32) -> bool {
#if MASK
    let at = params.mask_base + key;
    return byte_of(mask[at / 4u], at) != 0u;
#else
    return true;
#end
}

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
    var c = 0.0;
    var e = 0.0;
    if kept(pair.key) {
        let n = norms_q[params.norms_q_base + pair.row] * norms_k[params.norms_k_base + pair.key];
        let d = d_scores[params.d_scores_base + at];
        c = d / max(n, EPS);
        if n > EPS {
            e = d * (scores[params.scores_base + at] / n);
        }
    }
    scores[params.scores_base + at] = e;
    d_scores[params.d_scores_base + at] = c;
}
