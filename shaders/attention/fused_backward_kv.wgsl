// Fused attention, backward: the gradients of k and v, after fused_backward_q.
//
//     for each query head of the group, for each tile of queries:
//         d_V += (P keep / (1 - p))^T d_O        d_K += d_score^T Q              see lib/gradient
//     d_k = scale d_K
//
// The rows of a tile are keys here, and its columns queries. With D_K or D_V alone it makes one of the two: where both together would bind
// more buffers than the device allows.
//
// Shapes    q: [batch, heads_q, seq_q, dim]   k, d_k: [batch, heads_kv, seq_k, dim]   v, d_v: [batch, heads_kv, seq_k, dim_v]
//           d_o: as q, with dim_v   row_data: [batch, heads_q, seq_q, 4] = (lse, delta, l, ..); all by strides, packed sequences
//           too   bias: broadcast to [batch, heads_q, seq_q, seq_k]   guide: see attention/guide.wgsl
// Grid      one workgroup per tile of keys, key head and sequence, spread over x and y
// Numerics  f32 accumulation for every storage type; heads and queries in order
// Memory    reads k and v once, q and d_o once for each tile of keys; writes d_k and d_v once
// Source    Dao et al. 2022, arXiv:2205.14135, algorithm 4
// Twin      src/ops/attention/cpu.rs

#import gradient

const TRANSPOSED: bool = true;

@group(0) @binding(7) var<storage, read> row_data: array<vec4<f32>>; // [batch, heads_q, seq_q]
#if D_K
@group(0) @binding(8) var<storage, read_write> d_k: array<vec4<f32>>; // [batch, heads_kv, seq_k, dim]
#end
#if D_V
@group(0) @binding(9) var<storage, read_write> d_v: array<vec4<f32>>; // [batch, heads_kv, seq_k, dim_v]
#end

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    at: Lane,
) {
    let workgroup = spread(group, groups);
    if workgroup >= params.workgroups {
        return;
    }
    stand(at);
    let place = place_of(workgroup);
    let s = sequence_of(place.sequence);
    let j0 = params.j_begin + place.tile * ROWS;
    let rows = min(s.k_rows, params.j_end);
    if j0 >= rows {
        return;
    }
    // Keys past the visible ones get their zeros.
    let j1 = min(j0 + ROWS, rows);
    let row = j0 + 8u * y;
    let count = rows_before(row, j1);
    let k_row = place.head * params.k_head + s.k_first * params.k_row;
    let d_k_start = params.d_k_base + k_row * params.quads;
    let d_v_start = params.d_v_base + k_row * params.quads_v;

    var e_k = Wide();
    var e_v = Wide();
    let first = first_query(s, j0) / COLS * COLS;
    let end = select(0u, end_query(s, max(min(j1, keys_end(s)), 1u) - 1u), j0 < keys_end(s));
    let h_begin = max(place.head * params.group, params.q_head_begin);
    let h_end = min((place.head + 1u) * params.group, params.q_head_end);
    for (var h = h_begin; h < h_end; h++) {
        let head = head_of(s, place.sequence, h);
        find(s, h);
        for (var i0 = first; i0 < end; i0 += COLS) {
            let kind = kind_of(head, i0, i0 + COLS, j0, min(j1, keys_end(s)));
            if kind == EMPTY {
                continue;
            }
            let guarded = kind == PARTIAL || HIDING;
            let g = gradient_of(head, kind, j0, i0, known_columns(i0 + 4u * x, queries_end(s)));
#if D_V
            var p = g.p;
            if EXTRAS && params.threshold > 0u {
                // A hidden pair's minus zero keeps its sign.
                p = product(p, factors_of(g.kept));
            }
            share(p, count);
            add_weighted(D_O, i0, guarded, &e_v);
#end
#if D_K
            share(g.d_score, count);
            add_weighted(Q, i0, guarded, &e_k);
#end
        }
    }

    // After what earlier dispatches did for other queries or heads.
#if D_K
    var rows_k = rows_of_wide(e_k);
    for (var r = 0u; r < count; r++) {
        for (var quad = x; quad < params.quads; quad += GRID_X) {
            let at = d_k_start + (row + r) * params.k_row * params.quads + quad;
            // A tile may be full with hidden keys after it.
            var value = select(vec4<f32>(), params.scale * rows_k[8u * (quad / GRID_X) + r], row + r < keys_end(s));
            if params.resume == 1u {
                value += d_k[at];
            }
            d_k[at] = value;
        }
    }
#end
#if D_V
    var rows_v = rows_of_wide(e_v);
    for (var r = 0u; r < count; r++) {
        for (var quad = x; quad < params.quads_v; quad += GRID_X) {
            let at = d_v_start + (row + r) * params.k_row * params.quads_v + quad;
            var value = select(vec4<f32>(), rows_v[8u * (quad / GRID_X) + r], row + r < keys_end(s));
            if params.resume == 1u {
                value += d_v[at];
            }
            d_v[at] = value;
        }
    }
#end
}
