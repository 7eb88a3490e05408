// Additive scores, backward: the gradient of one side, x, which is that of the queries or that of the keys.
//
//     scores[b,r,c] = sum_f v[f] tanh(x[b,r,f] + y[b,c,f])
//     d_x[b,r,f] = v[f] sum_c d_scores[b,r,c] (1 - tanh^2)          1 - tanh^2(z) = 4 u / (1 + u)^2 with u = exp(-2 |z|)
//     d_v[b,r,f] = sum_c d_scores[b,r,c] tanh                       with D_V; a sum over b and r follows
//
// The tanh is computed again. What a masked key holds is not used, NaN included; d_x of its row is 0.
//
// Shapes    x, d_x, d_v: [batch, rows, features]   y: [batch, cols, features]   v: [features]
//           d_scores: [batch, rows, cols] by strides, 0 where masked   mask: u8 [batch, keys], keys being rows or columns
// Grid      one workgroup per EACH rows and LANES features of a batch, spread over x and y; it walks past the columns
// Numerics  f32; every LANES columns are summed on their own and then added
// Memory    reads x once and y rows/EACH times, writes d_x (and d_v) once
// Source    the derivative of forward.wgsl
// Twin      src/ops/additive_attention/cpu.rs

#import additive

const KEYS_ARE_ROWS: bool = false;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [batch, rows, features]
@group(0) @binding(2) var<storage, read> y: array<f32>; // [batch, cols, features]
@group(0) @binding(3) var<storage, read> v: array<f32>; // [features]
@group(0) @binding(4) var<storage, read> d_scores: array<f32>; // [batch, rows, cols] by strides
#if MASK
@group(0) @binding(5) var<storage, read> mask: array<u32>; // [batch, keys], four u8 to a word
#end
@group(0) @binding(6) var<storage, read_write> d_x: array<f32>; // [batch, rows, features]
#if D_V
@group(0) @binding(7) var<storage, read_write> d_v: array<f32>; // [batch, rows, features]
#end

// Of each column of the panel: the gradients of the scores of the rows, and whether it is visible.
var<workgroup> panel: array<several, LANES>;
#if MASK
var<workgroup> shown_columns: array<u32, LANES>;
#end

fn kept(batch: u32, key: u32) -> bool {
#if MASK
    let at = params.mask_base + batch * params.mask_batch + key;
    return byte_of(mask[at / 4u], at) != 0u;
#else
    return true;
#end
}

fn x_of(batch: u32, row: u32, feature: u32) -> f32 {
    let r = min(row, params.rows - 1u);
    let value = x[params.x_base + batch * params.x_batch + r * params.x_row + feature];
    return select(value, 0.0, KEYS_ARE_ROWS && !kept(batch, r));
}

fn d_score_of(batch: u32, row: u32, col: u32) -> f32 {
    return d_scores[params.s_base + batch * params.s_batch + min(row, params.rows - 1u) * params.s_row + col * params.s_col];
}

fn d_scores_of(batch: u32, row: u32, col: u32) -> several {
#if SINGLE
    return d_score_of(batch, row, col);
#else
    return vec4(d_score_of(batch, row, col), d_score_of(batch, row + 1u, col), d_score_of(batch, row + 2u, col), d_score_of(batch, row + 3u, col));
#end
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = spread(group, groups);
    if tile >= params.workgroups {
        return;
    }
    let across = (params.features + LANES - 1u) / LANES;
    let down = (params.rows + EACH - 1u) / EACH;
    let batch = tile / across / down;
    let row = tile / across % down * EACH;
    let feature = tile % across * LANES + local;
    let f = min(feature, params.features - 1u);
    let own = several_of_x(batch, row, f);
    let start = params.y_base + batch * params.y_batch + f;
    var total = several();
    var total_v = several();
    for (var first = 0u; first < params.cols; first += LANES) {
        let count = min(LANES, params.cols - first);
        if local < count {
            panel[local] = d_scores_of(batch, row, first + local);
#if MASK
            shown_columns[local] = u32(KEYS_ARE_ROWS || kept(batch, first + local));
#end
        }
        workgroupBarrier();
        var sum = several();
        var sum_v = several();
        for (var c = 0u; c < count; c++) {
            var other = y[start + (first + c) * params.y_col];
#if MASK
            other = select(0.0, other, shown_columns[c] != 0u);
#end
            let z = own + several(other);
            let u = exp(-2.0 * abs(z));
            let q = 1.0 / (1.0 + u);
            sum += panel[c] * (4.0 * u * q * q);
#if D_V
            sum_v += panel[c] * tanh_of(z);
#end
        }
        total += sum;
        total_v += sum_v;
        workgroupBarrier();
    }
    if feature >= params.features {
        return;
    }
    let factor = v[params.v_base + feature];
    for (var r = 0u; r < min(EACH, params.rows - row); r++) {
        let at = batch * params.d_x_batch + (row + r) * params.d_x_row + feature;
        var d = factor * row_of(total, r);
        if params.accumulate == 1u {
            d += d_x[params.d_x_base + at];
        }
        d_x[params.d_x_base + at] = d;
#if D_V
        var t = row_of(total_v, r);
        if params.accumulate == 1u {
            t += d_v[params.d_v_base + at];
        }
        d_v[params.d_v_base + at] = t;
#end
    }
}
