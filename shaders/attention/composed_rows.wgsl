// Attention, backward: what the other kernels need of each row, packed into one binding.
//
//     delta[i] = sum_d d_o[i,d] o[i,d]     which is sum_j P[i,j] d_P[i,j], dropout included
//
// Shapes    o, d_o: [batch, heads_q, seq_q, dim_v] by strides   lse: [batch, heads_q, seq_q] by strides
//           kv_lengths: [batch]   alibi_slopes: [heads_q]   row_data: [rows]
// Grid      one invocation per row, workgroups spread over x and y
// Numerics  f32
// Memory    reads o and d_o once
// Source    Dao et al. 2022, arXiv:2205.14135, section B.2
// Twin      src/ops/attention/cpu.rs

#import index

alias elem_d_o = f32;

const LANES: u32 = 64u;

struct Params {
    rows: u32,
    per_head: u32,
    i0: u32,
    bh0: u32,
    heads: u32,
    cols: u32,
    dim: u32,
    o_base: u32,
    o_batch: u32,
    o_head: u32,
    o_row: u32,
    d_o_base: u32,
    lse_base: u32,
    lse_head: u32,
    lse_row: u32,
    row_data_base: u32,
}

struct RowData {
    lse: f32,
    delta: f32,
    slope: f32,
    length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if LENGTHS
@group(0) @binding(1) var<storage, read> kv_lengths: array<u32>; // [batch]
#end
#if ALIBI
@group(0) @binding(2) var<storage, read> alibi_slopes: array<f32>; // [heads_q]
#end
@group(0) @binding(3) var<storage, read> o: array<f32>; // [batch, heads_q, seq_q, dim_v]
@group(0) @binding(4) var<storage, read> lse: array<f32>; // [batch, heads_q, seq_q]
@group(0) @binding(5) var<storage, read> d_o: array<elem_d_o>; // [batch, heads_q, seq_q, dim_v]
@group(0) @binding(6) var<storage, read_write> row_data: array<RowData>; // [rows]

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let r = spread(group, groups) * LANES + local;
    if r >= params.rows {
        return;
    }
    let bh = params.bh0 + r / params.per_head;
    let b = bh / params.heads;
    let h = bh % params.heads;
    let i = params.i0 + r % params.per_head;
    let at = b * params.o_batch + h * params.o_head + i * params.o_row;
    var delta = 0.0;
    for (var d = 0u; d < params.dim; d++) {
        delta += o[params.o_base + at + d] * f32(d_o[params.d_o_base + at + d]);
    }
    var length = params.cols;
#if LENGTHS
    length = kv_lengths[b];
#end
    var slope = 0.0;
#if ALIBI
    slope = alibi_slopes[h];
#end
    row_data[params.row_data_base + r] = RowData(lse[params.lse_base + bh * params.lse_head + i * params.lse_row], delta, slope, length);
}
