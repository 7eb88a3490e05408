// The backward of fused attention, of one tile: from q, k, v, d_o and what the forward knew of each query to the gradient of the logits.
//
//     S   = logits            P = exp(S - lse) / l         d_P' = d_o V^T
//     d_S = P (d_P' keep / (1 - p) - delta)                d_score = d_S (1 - tanh^2)
//
// l is the sum of exp(S - lse), 1 but for the rounding of lse, which huge logits make felt.
//
// The importing kernel declares q, k, v, d_o and row_data, and the constants below say which of them its rows and columns are.

#import fused

// How q, k and v are stored, and how d_o is.
alias elem = f32;
alias elem_d_o = f32;

// Operands of products.
const Q: u32 = 0u;
const K: u32 = 1u;
const V: u32 = 2u;
const D_O: u32 = 3u;

var<private> q_start: u32;
var<private> k_start: u32;
var<private> v_start: u32;
var<private> d_o_start: u32;
var<private> row_data_start: u32;
var<private> q_step: u32;
var<private> k_step: u32;
var<private> v_step: u32;
var<private> d_o_step: u32;
var<private> q_last: u32;
var<private> k_last: u32;

fn quad_of(source: u32, row: u32, quad: u32) -> vec4<f32> {
    switch source {
        case Q: {
            return vec4<f32>(q[q_start + min(row, q_last) * q_step + quad]);
        }
        case K: {
            return vec4<f32>(k[k_start + min(row, k_last) * k_step + quad]);
        }
        case V: {
            return vec4<f32>(v[v_start + min(row, k_last) * v_step + quad]);
        }
        default: {
            return vec4<f32>(d_o[d_o_start + min(row, q_last) * d_o_step + quad]);
        }
    }
}

// Finds a head of a sequence, of which `head` is a query head.
fn find(s: Sequence, head: u32) {
    let kv = head / params.group;
    let q_row = head * params.q_head + s.q_first * params.q_row;
    let k_row = kv * params.k_head + s.k_first * params.k_row;
    q_start = params.q_base + q_row * params.quads;
    k_start = params.k_base + k_row * params.quads;
    v_start = params.v_base + k_row * params.quads_v;
    d_o_start = params.d_o_base + q_row * params.quads_v;
    row_data_start = params.row_data_base + q_row;
    q_step = params.q_row * params.quads;
    k_step = params.k_row * params.quads;
    v_step = params.k_row * params.quads_v;
    d_o_step = params.q_row * params.quads_v;
    q_last = max(queries_end(s), 1u) - 1u;
    k_last = max(keys_end(s), 1u) - 1u;
}

// lse, delta, l and the gradient of the slope of query i; lse is 0 where nothing is visible.
fn data_of(i: u32) -> vec4<f32> {
    let data = row_data[row_data_start + min(i, q_last) * params.q_row];
    return select(data, vec4<f32>(), is_minus_infinity(data.x));
}

// What each pair's query contributes: lse, delta and 1 / l.
struct Known {
    lse: Block,
    delta: Block,
    inverse: Block,
}

fn known_rows(row: u32) -> Known {
    let data = data_of(row + x % 8u);
    return Known(splat_rows(gather(data.x)), splat_rows(gather(data.y)), splat_rows(inverse_of(gather(data.z))));
}

fn known_columns(col: u32, end: u32) -> Known {
    var data = array<vec4<f32>, 4>();
    for (var i = 0u; i < columns_before(col, end); i++) {
        data[i] = data_of(col + i);
    }
    let l = vec4(data[0].z, data[1].z, data[2].z, data[3].z);
    let inverse = select(1.0 / l, vec4<f32>(), l == vec4<f32>());
    return Known(
        splat_columns(vec4(data[0].x, data[1].x, data[2].x, data[3].x)),
        splat_columns(vec4(data[0].y, data[1].y, data[2].y, data[3].y)),
        splat_columns(inverse),
    );
}

// A tile's gradients; hidden pairs are marked.
struct Gradient {
    // P, before dropout.
    p: Block,
    // Of the logits.
    d_s: Block,
    // Of scale q.k.
    d_score: Block,
    // What dropout keeps.
    kept: u32,
}

// Of the tile from row0 and col0 on, of which `row` and `col` are this invocation's first.
fn gradient_of(head: Head, kind: u32, row0: u32, col0: u32, known: Known) -> Gradient {
    let row = row0 + 8u * y;
    let col = col0 + 4u * x;
    let guarded = kind == PARTIAL || HIDING;
    var visible = ALL;
    if kind == PARTIAL {
        visible = visible_pairs(head, row, col);
    }
    let kept = kept_pairs(head, row, col);

    var c = Block();
    if TRANSPOSED {
        dot_rows(K, row0, Q, col0, params.quads, &c);
    } else {
        dot_rows(Q, row0, K, col0, params.quads, &c);
    }
    let score = scaled(c, params.scale);
    let s = logits_of(head, row, col, score, &visible);
    var p = product(exponential(difference(s, known.lse)), known.inverse);

    var d = Block();
    if TRANSPOSED {
        dot_rows(V, row0, D_O, col0, params.quads_v, &d);
    } else {
        dot_rows(D_O, row0, V, col0, params.quads_v, &d);
    }
    if EXTRAS && params.threshold > 0u {
        d = product(d, factors_of(kept));
    }
    var d_s = product(p, difference(d, known.delta));
    var d_score = d_s;
    if EXTRAS && params.softcap > 0.0 {
        let t = capped(score);
        d_score = product(d_s, difference(splat(1.0), product(t, t)));
    }
    if guarded {
        p = marked(visible, p);
        d_s = within(visible, d_s, splat(0.0));
        d_score = marked(visible, d_score);
    }
    return Gradient(p, d_s, d_score, kept);
}
