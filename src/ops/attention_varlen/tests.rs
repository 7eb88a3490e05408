//! What packing means, said with `attention`: the gradients and outputs of each sequence are those of `attention` on it alone.

use std::ops::Range;

use super::{AttentionVarlen, Problem, SPEC};
use crate::Array;
use crate::ops::attention::{self, Attention};
use crate::ops::{Arrays, Operation, Precision, References, Request, Settings};

/// `[tokens, heads, width]` as `[1, heads, range, width]`.
fn unpack(array: &Array, range: Range<usize>) -> Array {
    let (heads, width) = (array.shape()[1], array.shape()[2]);
    let x = array.to_f64();
    let at = |h: usize, t: usize| (0..width).map(move |d| (t * heads + h) * width + d);
    let data = (0..heads).flat_map(|h| range.clone().flat_map(move |t| at(h, t))).map(|n| x[n] as f32).collect();
    Array::f32(&[1, heads, range.len(), width], data)
}

fn settings(request: &Request, change: &[(&str, String)]) -> Settings {
    let old = request.settings.names().filter_map(|name| Some((name.to_string(), request.settings.text(name)?.to_string())));
    Settings::new(old.chain(change.iter().map(|(name, value)| (name.to_string(), value.clone()))))
}

/// Compares tokens `first..` of the packed results with those of `attention` on one sequence.
fn compare(case: &str, packed: &References, alone: &References, name: &str, first: usize) {
    let heads = packed[name].shape[1];
    let width = packed[name].shape.get(2).copied().unwrap_or(1);
    let tokens = alone[name].value.len() / (heads * width);
    for (n, expected) in alone[name].value.iter().enumerate() {
        let (h, t, d) = (n / (tokens * width), n / width % tokens, n % width);
        let got = packed[name].value[((first + t) * heads + h) * width + d];
        assert!(got == *expected, "{case}: {name} of token {}, head {h}: {got}, not {expected}", first + t);
    }
}

#[test]
fn sequences_are_independent() {
    for case in AttentionVarlen.cases() {
        let request = case.request(&AttentionVarlen, 1).unwrap();
        // Without dropout, whose random numbers depend on the place among the packed tokens.
        let plain = Request { settings: settings(&request, &[("dropout_p", "0".into())]), ..request };
        let packed = AttentionVarlen.reference(&plain, Precision::Exact).unwrap();
        for sequence in Problem::of(&plain).unwrap().sequences {
            let (queries, keys) = (sequence.queries.clone(), sequence.keys.clone());
            if queries.is_empty() || keys.is_empty() {
                continue;
            }
            let parts = [("q", &queries), ("k", &keys), ("v", &keys), ("d_o", &queries)];
            let tensors: Arrays = parts.map(|(name, range)| (name.to_string(), unpack(&plain.tensors[name], range.clone()))).into();
            let offset = settings(&plain, &[("offset", sequence.offset.to_string())]);
            let alone = Request::new(&attention::SPEC, tensors, offset).unwrap();
            let alone = Attention.reference(&alone, Precision::Exact).unwrap();
            for (name, range) in [("o", &queries), ("lse", &queries), ("d_q", &queries), ("d_k", &keys), ("d_v", &keys)] {
                compare(case.name, &packed, &alone, name, range.start);
            }
        }
    }
}

/// With dropout, packed sequences are one batch element of `attention` under a mask that keeps them apart.
#[test]
fn dropout_counts_packed_tokens() {
    let keys = [("dropout_p".to_string(), "0.4".to_string()), ("seed".to_string(), "5".to_string())];
    let settings = Settings::new(keys);
    let tensors = AttentionVarlen.draw("5/0/17,9/3/20,4/2,8", &settings, 3).unwrap();
    let request = Request::new(&SPEC, tensors, settings.clone()).unwrap();
    let packed = AttentionVarlen.reference(&request, Precision::Exact).unwrap();

    let problem = Problem::of(&request).unwrap();
    let (total_q, total_k) = (problem.total_q, problem.total_k);
    let parts = [("q", total_q), ("k", total_k), ("v", total_k), ("d_o", total_q)];
    let mut tensors: Arrays = parts.map(|(name, total)| (name.to_string(), unpack(&request.tensors[name], 0..total))).into();
    let mut mask = vec![0u8; total_q * total_k];
    for sequence in &problem.sequences {
        for t in sequence.queries.clone() {
            mask[t * total_k..][sequence.keys.clone()].fill(1);
        }
    }
    tensors.insert("mask".into(), Array::u8(&[total_q, total_k], mask));
    let alone = Attention.reference(&Request::new(&attention::SPEC, tensors, settings).unwrap(), Precision::Exact).unwrap();
    for name in ["o", "lse", "d_q", "d_k", "d_v"] {
        compare("dropout", &packed, &alone, name, 0);
    }
}

/// A query of a sequence without keys sees nothing, and what is planted in keys that no query sees reaches nothing.
#[test]
fn results_are_finite() {
    for case in AttentionVarlen.cases() {
        let request = case.request(&AttentionVarlen, 1).unwrap();
        for precision in [Precision::Exact, Precision::Plain, Precision::Magnitude] {
            for (name, values) in AttentionVarlen.reference(&request, precision).unwrap() {
                let finite = |&x: &f64| x.is_finite() || (name == "lse" && x == f64::NEG_INFINITY);
                assert!(values.value.iter().all(finite), "{}: {name}", case.name);
            }
        }
    }
    let request = AttentionVarlen.cases().iter().find(|case| case.name == "empty").unwrap().request(&AttentionVarlen, 1).unwrap();
    let got = AttentionVarlen.reference(&request, Precision::Exact).unwrap();
    assert!(got["lse"].value[..14].iter().all(|&lse| lse == f64::NEG_INFINITY), "the second sequence has no keys");
    assert!(got["o"].value[..14 * 8].iter().all(|&o| o == 0.0));
    assert!(got["d_k"].value[..4 * 2 * 8].iter().all(|&d_k| d_k == 0.0), "the first sequence has no queries");
}

#[test]
fn shapes_of_the_command_line() {
    let drawn = AttentionVarlen.draw("0/3/4,5/0/1,4/2,8/6", &Settings::default(), 0).unwrap();
    assert_eq!(drawn["cu_seqlens_k"], Array::i32(&[4], vec![0, 5, 5, 6]));
    assert_eq!((drawn["q"].shape(), drawn["v"].shape(), drawn["d_o"].shape()), (&[7, 4, 8][..], &[6, 2, 6][..], &[7, 4, 6][..]));
    for shape in ["", "1", "3,4", "0/0,2,8", "3/-1,2,8", "3/4,5,2,8", "3,3,3,2,8", "3,4/3,8", "2147483647/2147483647,1,1", "x,1,1"] {
        assert!(AttentionVarlen.draw(shape, &Settings::default(), 0).is_err(), "{shape}");
    }
}
