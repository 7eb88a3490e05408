// Attention by the composed path, forward: from scores to probabilities, in place, one row at a time.
//
//     S     = softcap(scale q.k) + bias - slope |p - j|          of visible pairs; `scores` comes in as scale q.k
//     m[i]  = max_j S[i,j]
//     l[i]  = sum_j exp(S[i,j] - m[i])
//     P[i,j] = exp(S[i,j] - m[i]) / l[i] keep[i,j] / (1 - p)     lse[i] = m[i] + log l[i]
//
// A product before (matmul) makes the scores and one after (weighted_sum) the output.
//
// Shapes    scores: [rows, cols], a block of [batch, heads_q, seq_q, seq_k]   lse: [batch, heads_q, seq_q] by strides
//           mask, bias: broadcast to [batch, heads_q, seq_q, seq_k] by strides   dropout_keep: like scores
//           kv_lengths: [batch]   alibi_slopes: [heads_q]
// Grid      one workgroup per row, spread over x and y; its invocations stride over keys
// Numerics  f32; a hidden pair becomes minus zero, which the product after it skips (lib/math); a row with nothing visible
//           gives lse = -inf
// Memory    reads and writes the scores three times
// Source    Vaswani et al. 2017, arXiv:1706.03762
// Twin      src/ops/attention/cpu.rs

#import pairs
#import reduce

#if MASK
@group(0) @binding(1) var<storage, read> mask: array<u32>; // broadcast to [batch, heads_q, seq_q, seq_k], four u8 to a word
#end
#if BIAS
@group(0) @binding(2) var<storage, read> bias: array<f32>; // likewise, f32
#end
#if LENGTHS
@group(0) @binding(3) var<storage, read> kv_lengths: array<u32>; // [batch]
#end
#if ALIBI
@group(0) @binding(4) var<storage, read> alibi_slopes: array<f32>; // [heads_q]
#end
#if KEEP
@group(0) @binding(5) var<storage, read> dropout_keep: array<u32>; // [rows, cols], four u8 to a word
#end
@group(0) @binding(6) var<storage, read_write> scores: array<f32>; // [rows, cols]
@group(0) @binding(7) var<storage, read_write> lse: array<u32>; // [batch, heads_q, seq_q], the bits of f32

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    lane: Lane,
) {
    let r = spread(group, groups);
    if r >= params.rows {
        return;
    }
    let bh = params.bh0 + r / params.per_head;
    var length = params.cols;
#if LENGTHS
    length = kv_lengths[bh / params.heads];
#end
    var slope = 0.0;
#if ALIBI
    slope = alibi_slopes[bh % params.heads];
#end
    let row = row_of(r, length, slope);
    let start = params.scores_base + row.start;

    // Each invocation reads and writes its own columns only, so the passes need no barrier for them.
    var highest = LOWEST;
    for (var j = lane.local; j < params.cols; j += LANES) {
        if visible(row, j) {
            let s = logit_of(row, j, scores[start + j]);
            scores[start + j] = s;
            highest = max(highest, s);
        } else {
            scores[start + j] = minus_infinity();
        }
    }
    let m = reduce_max(lane, highest);

    var sum = 0.0;
    for (var j = lane.local; j < params.cols; j += LANES) {
        let s = scores[start + j];
        if is_minus_infinity(s) {
            scores[start + j] = hidden();
        } else {
            let e = exp(s - m);
            scores[start + j] = e;
            sum += e;
        }
    }
    let l = reduce_sum(lane, sum);

    for (var j = lane.local; j < params.cols; j += LANES) {
        let e = scores[start + j];
        if !is_hidden(e) {
            scores[start + j] = shown(e / l * kept(row, bh, j));
        }
    }
    if lane.local == 0u {
        let at = params.lse_base + bh * params.lse_head + row.i * params.lse_row;
        lse[at] = select(bitcast<u32>(m + log(l)), MINUS_INFINITY, l == 0.0);
    }
}
