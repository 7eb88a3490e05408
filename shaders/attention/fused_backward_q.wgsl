// Fused attention, backward: the gradient of q, and what the other gradients need of each query.
//
//     for each tile of keys:
//         l      += rowsum exp(S - lse)
//         d_Q    += d_score K                    with the unnormalised P: see lib/gradient
//         d_slope -= rowsum d_S |p - j|
//     d_q = scale d_Q / l
//
// Shapes    q, d_q: [batch, heads_q, seq_q, dim]   k: [batch, heads_kv, seq_k, dim]   v: [batch, heads_kv, seq_k, dim_v]
//           d_o: as q, with dim_v   row_data: [batch, heads_q, seq_q, 4], comes in as (lse, delta, ..) and gets l and d_slope;
//           all by strides, packed sequences too   bias: broadcast to [batch, heads_q, seq_q, seq_k]   guide: see attention/guide.wgsl
// Grid      one workgroup per tile of queries, head and sequence, spread over x and y
// Numerics  f32 accumulation for every storage type; a row with nothing visible gets 0
// Memory    reads q and d_o once, k and v once for each tile of queries; writes d_q once
// Source    Dao et al. 2022, arXiv:2205.14135, algorithm 4, with a kernel for each side instead of atomic sums
// Twin      src/ops/attention/cpu.rs

#import gradient

const TRANSPOSED: bool = false;

@group(0) @binding(7) var<storage, read_write> row_data: array<vec4<f32>>; // [batch, heads_q, seq_q]
@group(0) @binding(8) var<storage, read_write> d_q: array<vec4<f32>>; // [batch, heads_q, seq_q, dim]

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
    let i0 = params.i_begin + place.tile * ROWS;
    if i0 >= queries_end(s) {
        return;
    }
    let i1 = min(i0 + ROWS, queries_end(s));
    let head = head_of(s, place.sequence, place.head);
    find(s, place.head);
    let row = i0 + 8u * y;
    let count = rows_before(row, i1);
    let mine = data_of(row + x % 8u);
    let known = Known(splat_rows(gather(mine.x)), splat_rows(gather(mine.y)), splat(1.0));

    var l = Eight();
    var d_slope = Eight();
    var e = Wide();
    let end = end_key(s, i1 - 1u);
    for (var j0 = first_key(s, i0) / COLS * COLS; j0 < end; j0 += COLS) {
        let kind = kind_of(head, i0, i1, j0, j0 + COLS);
        if kind == EMPTY {
            continue;
        }
        let g = gradient_of(head, kind, i0, j0, known);
        let more = sum_of_rows(g.p);
        l = Eight(l.lo + more.lo, l.hi + more.hi);
        if EXTRAS && params.slopes > 0u {
            let less = sum_of_rows(product(g.d_s, distances_of(head, row, j0 + 4u * x)));
            d_slope = Eight(d_slope.lo - less.lo, d_slope.hi - less.hi);
        }
        share(g.d_score, count);
        add_weighted(K, j0, kind == PARTIAL || HIDING, &e);
    }

    // What earlier dispatches left is divided by the l that they had.
    let before = gather(select(0.0, mine.z, params.resume == 1u));
    l = team_sum(l);
    l = Eight(l.lo + before.lo, l.hi + before.hi);
    let inverse = inverse_of(l);
    let old = Eight(before.lo * inverse.lo, before.hi * inverse.hi);
    scale_rows(Eight(params.scale * inverse.lo, params.scale * inverse.hi), &e);
    var rows = rows_of_wide(e);
    for (var r = 0u; r < count; r++) {
        for (var quad = x; quad < params.quads; quad += GRID_X) {
            let at = params.d_q_base + (q_row0 + (row + r) * params.q_row) * params.quads + quad;
            var value = rows[8u * (quad / GRID_X) + r];
            if params.resume == 1u {
                value += pick(old, r) * d_q[at];
            }
            d_q[at] = value;
        }
    }
    if EXTRAS && params.slopes > 0u {
        d_slope = team_sum(d_slope);
    }
    if x < count {
        let so_far = select(0.0, mine.w * pick(old, x), params.resume == 1u);
        let at = params.row_data_base + q_row0 + (row + x) * params.q_row;
        row_data[at] = vec4(mine.xy, pick(l, x), so_far + pick(inverse, x) * pick(d_slope, x));
    }
}
