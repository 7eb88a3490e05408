use crate::{assert_close, floats, normal, run};
use wattn::Array;

crate::cases!("attention_varlen");

/// Packed sequences get what each gets alone, a sequence without tokens included.
#[test]
fn packed_sequences_are_separate_ones() {
    let (heads, dim) = (2, 8);
    let bounds = [0usize, 5, 5, 38, 40];
    let tokens = bounds[4];
    let [q, k, v] = [1, 2, 3].map(|seed| normal(seed, &[tokens, heads, dim]));
    let cumulative = Array::i32(&[bounds.len()], bounds.map(|b| b as i32).to_vec());
    let tensors = [("q", &q), ("k", &k), ("v", &v), ("cu_seqlens_q", &cumulative), ("cu_seqlens_k", &cumulative)];
    let packed = run("attention_varlen", &tensors, &[("causal", "true")]);
    for pair in bounds.windows(2).filter(|pair| pair[0] < pair[1]) {
        let (from, len) = (pair[0], pair[1] - pair[0]);
        // [tokens, heads, dim] to [1, heads, len, dim]
        let part = |x: &Array| {
            let at = |i: usize| (from + i / dim % len) * heads * dim + i / dim / len * dim + i % dim;
            Array::f32(&[1, heads, len, dim], (0..heads * len * dim).map(|i| floats(x)[at(i)]).collect())
        };
        let alone = run("attention", &[("q", &part(&q)), ("k", &part(&k)), ("v", &part(&v))], &[("causal", "true")]);
        assert_close(floats(&part(&packed["o"])), floats(&alone["o"]), 1e-6);
    }
}
