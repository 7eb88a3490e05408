// Fused attention, forward: a workgroup takes ROWS queries of one head past the visible keys, COLS at a time, and keeps a running maximum,
// so that the matrix of logits is never stored.
//
//     for each tile of keys:
//         S      = logits of the tile                          softcap(scale q.k) + bias - slope |p - j| of visible pairs
//         m'     = max(m, rowmax S)
//         P      = exp(S - m')
//         l, O   = exp(m - m') l + rowsum P,  exp(m - m') O + (P keep / (1 - p)) V
//     o = O / l       lse = m + log l
//
// A tile of which nothing is visible is left out, and one that is wholly visible has no mask to look at. Where there are few queries the
// keys are split into parts, each a workgroup's, and attention/merge joins them.
//
// Shapes    q: [batch, heads_q, seq_q, dim]   k: [batch, heads_kv, seq_k, dim]   v: [batch, heads_kv, seq_k, dim_v]   o: as q, with dim_v
//           lse: [batch, heads_q, seq_q]; all by strides, packed sequences too   bias: broadcast to [batch, heads_q, seq_q, seq_k]
//           guide: see attention/guide.wgsl
// Grid      one workgroup per tile of queries, head and sequence, spread over x and y
// Numerics  f32 accumulation for every storage type; a row with nothing visible gives o = 0 and lse = -inf
// Memory    reads q once, k and v once for each tile of queries; writes o and lse once
// Source    Dao et al. 2022, arXiv:2205.14135, algorithm 1; Dao 2023, arXiv:2307.08691, section 3.1
// Twin      src/ops/attention/cpu.rs

#import operands

const TRANSPOSED: bool = false;

@group(0) @binding(6) var<storage, read_write> o: array<vec4<f32>>; // [batch, heads_q, seq_q, dim_v]
@group(0) @binding(7) var<storage, read_write> lse: array<u32>; // [batch, heads_q, seq_q], the bits of f32

// What is known of 8 rows so far.
struct Rows {
    m: Eight,
    // Over this invocation's columns; the sum over the team comes last.
    l: Eight,
}

// From q.k of a tile to the coefficients of its values, after which `rows` and e know of it.
fn weigh(at: Head, row: u32, col: u32, kind: u32, products: Block, rows: ptr<function, Rows>, e: ptr<function, Wide>) -> Block {
    let guarded = kind == PARTIAL || HIDING;
    var visible = ALL;
    if kind == PARTIAL {
        visible = visible_pairs(at, row, col);
    }
    var c = logits_of(at, row, col, scaled(products, params.scale), &visible);
    if guarded {
        c = within(visible, c, splat(LOWEST));
    }
    let m = (*rows).m;
    let reached = team_max(m, max_of_rows(c));
    if any(reached.lo > m.lo) || any(reached.hi > m.hi) {
        let alpha = Eight(exp(m.lo - reached.lo), exp(m.hi - reached.hi));
        let l = (*rows).l;
        *rows = Rows(reached, Eight(alpha.lo * l.lo, alpha.hi * l.hi));
        scale_rows(alpha, e);
    }
    var p = exponential(difference(c, splat_rows(reached)));
    if guarded {
        p = marked(visible, p);
    }
    let l = (*rows).l;
    let more = sum_of_rows(p);
    (*rows).l = Eight(l.lo + more.lo, l.hi + more.hi);
    if EXTRAS && params.threshold > 0u {
        // A hidden pair's minus zero keeps its sign.
        p = product(p, factors_of(kept_pairs(at, row, col)));
    }
    return p;
}

// Writes what the rows before i1 have come to, as a part of theirs.
fn finish(row: u32, i1: u32, part: u32, rows: Rows, weighted: Wide) {
    let count = rows_before(row, i1);
    let l = team_sum(rows.l);
    var e = weighted;
    scale_rows(inverse_of(l), &e);
    // The part of the first row, and the parts from one row to the next.
    let step = params.q_row * params.parts;
    let first = q_row0 * params.parts + row * step + params.part0 + part;
    var quads = rows_of_wide(e);
    for (var r = 0u; r < count; r++) {
        for (var quad = x; quad < params.quads_v; quad += GRID_X) {
            o[params.o_base + (first + r * step) * params.quads_v + quad] = quads[8u * (quad / GRID_X) + r];
        }
    }
    if x < count {
        let sum = pick(l, x);
        lse[params.lse_base + first + x * step] = select(bitcast<u32>(pick(rows.m, x) + log(sum)), MINUS_INFINITY, sum == 0.0);
    }
}

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
    let part = place.tile / params.tiles_along;
    let i0 = params.i_begin + place.tile % params.tiles_along * ROWS;
    if i0 >= queries_end(s) {
        return;
    }
    let i1 = min(i0 + ROWS, queries_end(s));
    let head = head_of(s, place.sequence, place.head);
    find(s, place.head);
    let row = i0 + TEAM_ROWS * y;

    let none = Rows(Eight(vec4(LOWEST), vec4(LOWEST)), Eight());
    var rows = none;
    var e = Wide();
#if TALL
    var rows_below = none;
    var e_below = Wide();
#end
    let begin = max(first_key(s, i0) / COLS * COLS, part * params.part_keys);
    let end = min(end_key(s, i1 - 1u), (part + 1u) * params.part_keys);
    for (var j0 = begin; j0 < end; j0 += COLS) {
        let kind = kind_of(head, i0, i1, j0, j0 + COLS);
        if kind == EMPTY {
            continue;
        }
        let col = j0 + 4u * x;
        var c = Block();
#if TALL
        var d = Block();
        dot_both(Q, i0, K, j0, params.quads, &c, &d);
        c = weigh(head, row, col, kind, c, &rows, &e);
        d = weigh(head, row + 8u, col, kind, d, &rows_below, &e_below);
        add_both_weighted(c, d, V, j0, &e, &e_below);
#else
        dot_rows(Q, i0, K, j0, params.quads, &c);
        share(weigh(head, row, col, kind, c, &rows, &e), rows_before(row, i1));
        add_weighted(V, j0, kind == PARTIAL || HIDING, &e);
#end
    }
    finish(row, i1, part, rows, e);
#if TALL
    finish(row + 8u, i1, part, rows_below, e_below);
#end
}
