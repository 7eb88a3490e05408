// Fused attention, backward: the gradient of the bias, after fused_backward_q. For a bias with both queries and keys a workgroup adds up
// one tile over the heads and sequences that share it; for others (SUMMED) it adds up the columns of its rows, and a sum over what it
// writes follows.
//
//     d_bias[i,j] = sum over sharing heads and sequences of d_S[i,j]        d_S: see lib/gradient
//     SUMMED:       sum_j d_S[i,j] of each head and sequence; with TRANSPOSED rows are keys, and the sum is over queries
//
// Shapes    q: [batch, heads_q, seq_q, dim]   k: [batch, heads_kv, seq_k, dim]   v: [batch, heads_kv, seq_k, dim_v]
//           d_o: as q, with dim_v   row_data: [batch, heads_q, seq_q, 4] = (lse, delta, l, ..); all by strides
//           bias: broadcast to [batch, heads_q, seq_q, seq_k]   guide: see attention/guide.wgsl
//           d_bias: as bias; SUMMED: [batch, heads_q, seq_q or seq_k]
// Grid      one workgroup per tile, head and sequence of the result, spread over x and y
// Numerics  f32 accumulation for every storage type; sequences, heads and columns in order
// Memory    reads q, k, v and d_o once for each tile; writes d_bias once
// Source    Dao et al. 2022, arXiv:2205.14135, section B.4, for d_S
// Twin      src/ops/attention/cpu.rs

#import gradient

const TRANSPOSED: bool = false;
const SUMMED: bool = false;

@group(0) @binding(7) var<storage, read> row_data: array<vec4<f32>>; // [batch, heads_q, seq_q]
@group(0) @binding(8) var<storage, read_write> d_bias: array<f32>; // as bias, or [batch, heads_q, rows]

fn store(at: u32, value: f32) {
    // After what earlier dispatches added.
    if params.resume == 1u {
        d_bias[at] += value;
    } else {
        d_bias[at] = value;
    }
}

// The tiles of columns that a row of tiles reaches, as columns [x, y).
fn columns_of(s: Sequence, row0: u32, last: u32, tile: u32) -> vec2<u32> {
    if !SUMMED {
        return vec2(tile * COLS, (tile + 1u) * COLS);
    }
    if TRANSPOSED {
        return vec2(first_query(s, row0) / COLS * COLS, end_query(s, last));
    }
    return vec2(first_key(s, row0) / COLS * COLS, end_key(s, last));
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
    let begin = select(params.i_begin, params.j_begin, TRANSPOSED);
    let row0 = begin + place.tile / params.tiles_across * ROWS;
    let across = params.j_begin / COLS + place.tile % params.tiles_across;

    var total = splat(0.0);
    for (var n = place.sequence; n < place.sequence + params.repeat_b; n++) {
        let s = sequence_of(n);
        let rows = select(queries_end(s), keys_end(s), TRANSPOSED);
        if row0 >= rows {
            continue;
        }
        let row1 = min(row0 + ROWS, rows);
        let columns = columns_of(s, row0, row1 - 1u, across);
        for (var h = place.head; h < place.head + params.repeat_h; h++) {
            let head = head_of(s, n, h);
            find(s, h);
            for (var col0 = columns.x; col0 < columns.y; col0 += COLS) {
                var kind: u32;
                if TRANSPOSED {
                    kind = kind_of(head, col0, col0 + COLS, row0, row1);
                } else {
                    kind = kind_of(head, row0, row1, col0, col0 + COLS);
                }
                if kind == EMPTY {
                    continue;
                }
                var known: Known;
                if TRANSPOSED {
                    known = known_columns(col0 + 4u * x, queries_end(s));
                } else {
                    known = known_rows(row0 + 8u * y);
                }
                total = sum(total, gradient_of(head, kind, row0, col0, known).d_s);
            }
        }
    }

    // Of the sequences whose results these are any one tells how many there are.
    let s = sequence_of(place.sequence);
    let row = row0 + 8u * y;
    let rows = select(queries_end(s), min(s.k_rows, params.j_end), TRANSPOSED);
    let start = params.d_bias_base + place.sequence * params.d_bias_b + place.head * params.d_bias_h;
    if SUMMED {
        let sums = team_sum(sum_of_rows(total));
        if x < 8u && row + x < rows {
            // A tile may be full with hidden keys after it.
            let hidden_key = TRANSPOSED && row + x >= keys_end(s);
            store(start + (row + x) * params.d_bias_row, select(pick(sums, x), 0.0, hidden_key));
        }
        return;
    }
    let each = array<vec4<f32>, 8>(total.r0, total.r1, total.r2, total.r3, total.r4, total.r5, total.r6, total.r7);
    let col = across * COLS + 4u * x;
    for (var n = 0u; n < 32u; n++) {
        let r = row + n / 4u;
        let c = col + n % 4u;
        if r < rows && c >= params.j_begin && c < min(s.k_rows, params.j_end) {
            store(start + r * params.d_bias_row + c * params.d_bias_col, each[n / 4u][n % 4u]);
        }
    }
}
