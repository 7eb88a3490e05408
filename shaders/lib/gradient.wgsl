// The backward of fused attention, of one tile: from q, k, v, d_o and what the forward knew of each query to the gradient of the logits.
//
//     S   = logits            P = exp(S - lse) / l         d_P' = d_o V^T
//     d_S = P (d_P' keep / (1 - p) - delta)                d_score = d_S (1 - tanh^2)
//
// l is the sum of exp(S - lse), 1 but for the rounding of lse, which huge logits make felt.
//
// The importing kernel declares row_data.

#import operands

// lse, delta, l and the gradient of the slope of query i; lse is 0 where nothing is visible.
fn data_of(i: u32) -> vec4<f32> {
    let data = row_data[params.row_data_base + q_row0 + min(i, q_last) * params.q_row];
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
    return Known(
        splat_columns(vec4(data[0].x, data[1].x, data[2].x, data[3].x)),
        splat_columns(vec4(data[0].y, data[1].y, data[2].y, data[3].y)),
        splat_columns(inverted(l)),
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
