// Attention by the composed path, backward: from scores and the gradient of the probabilities to the gradient of the scores, in place,
// one row at a time.
//
//     P[i,j]  = exp(S[i,j] - lse[i]) / l[i]                     as the forward had it
//     l[i]    = sum_j exp(S[i,j] - lse[i])                      1 but for the rounding of lse, which huge logits make felt
//     P'      = P keep / (1 - p)                                written over `scores`: the forward multiplied v with it
//     d_S     = P (d_P' keep / (1 - p) - delta)                 `d_probs` comes in as d_P' = d_o . v
//     d_score = d_S (1 - tanh^2)                                written over `d_probs`
//     d_slope[i] = -sum_j d_S[i,j] |p - j|
//
// Products after it make d_q, d_k and d_v, and sums make d_bias of d_S (`d_logits`) and d_alibi_slopes of `d_slope`.
//
// Shapes    scores, d_probs, d_logits: [rows, cols], a block of [batch, heads_q, seq_q, seq_k]   row_data, d_slope: [rows]
//           mask, bias: broadcast to [batch, heads_q, seq_q, seq_k] by strides   dropout_keep: like scores
// Grid      one workgroup per row, spread over x and y; its invocations stride over keys
// Numerics  f32; a hidden pair becomes minus zero in scores and d_probs, which the products after it skip (lib/math)
// Memory    reads scores twice and d_probs once, writes both once
// Source    Dao et al. 2022, arXiv:2205.14135, section B.2
// Twin      src/ops/attention/cpu.rs

#import pairs
#import reduce

struct RowData {
    lse: f32,
    delta: f32,
    slope: f32,
    length: u32,
}

#if MASK
@group(0) @binding(1) var<storage, read> mask: array<u32>; // broadcast to [batch, heads_q, seq_q, seq_k], four u8 to a word
#end
#if BIAS
@group(0) @binding(2) var<storage, read> bias: array<f32>; // likewise, f32
#end
#if KEEP
@group(0) @binding(3) var<storage, read> dropout_keep: array<u32>; // [rows, cols], four u8 to a word
#end
@group(0) @binding(4) var<storage, read> row_data: array<RowData>; // [rows]
@group(0) @binding(5) var<storage, read_write> scores: array<f32>; // [rows, cols]
@group(0) @binding(6) var<storage, read_write> d_probs: array<f32>; // [rows, cols]
#if D_LOGITS
@group(0) @binding(7) var<storage, read_write> d_logits: array<f32>; // [rows, cols]
#end
#if D_SLOPE
@group(0) @binding(8) var<storage, read_write> d_slope: array<f32>; // [rows]
#end

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
    let data = row_data[r];
    let row = row_of(r, data.length, data.slope);
    let start = params.scores_base + row.start;
    let d_start = params.d_probs_base + row.start;

    var sum = 0.0;
    for (var j = lane.local; j < params.cols; j += LANES) {
        if visible(row, j) {
            sum += exp(logit_of(row, j, scores[start + j]) - data.lse);
        }
    }
    let l = reduce_sum(lane, sum);

    var slope_sum = 0.0;
    for (var j = lane.local; j < params.cols; j += LANES) {
        var p_marked = hidden();
        var d_marked = hidden();
        var d_s = 0.0;
        if visible(row, j) {
            let score = scores[start + j];
            let p = exp(logit_of(row, j, score) - data.lse) / l;
            let factor = kept(row, bh, j);
            d_s = p * (d_probs[d_start + j] * factor - data.delta);
            var slope_of_cap = 1.0;
            if params.softcap > 0.0 {
                let t = stable_tanh(score / params.softcap);
                slope_of_cap = 1.0 - t * t;
            }
            p_marked = shown(p * factor);
            d_marked = shown(d_s * slope_of_cap);
            slope_sum -= d_s * distance_of(row, j);
        }
        scores[start + j] = p_marked;
        d_probs[d_start + j] = d_marked;
#if D_LOGITS
        d_logits[params.d_logits_base + row.start + j] = d_s;
#end
    }
#if D_SLOPE
    let total = reduce_sum(lane, slope_sum);
    if lane.local == 0u {
        d_slope[params.d_slope_base + r] = total;
    }
#end
}
