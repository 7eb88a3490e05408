//! The reference against the definition, element by element, on every case.

use super::{Attention, Problem};
use crate::Array;
use crate::ops::{Operation, Precision, Request, philox, run_reference};

/// The logit of every pair; −∞ where it is hidden. Written with no thought of speed, strides or rows.
fn logits(problem: &Problem, request: &Request) -> Vec<f64> {
    let options = &problem.options;
    let float = |name: &str| request.tensor(name).map(|array| array.to_float(problem.dtype).to_f64()).unwrap();
    let (q, k) = (float("q"), float("k"));
    let broadcast = |name: &str, [b, h, i, j]: [usize; 4]| {
        request.tensor(name).map(|array| {
            let index = [b, h, i, j];
            let own = array.shape();
            let at = own.iter().zip(&index[4 - own.len()..]).fold(0, |at, (&n, &x)| at * n + if n == 1 { 0 } else { x });
            array.to_f64()[at]
        })
    };
    let mut logits = Vec::new();
    for b in 0..problem.batch {
        for h in 0..problem.heads_q {
            for i in 0..problem.seq_q {
                for j in 0..problem.seq_k {
                    let p = i as i64 + options.offset as i64;
                    let at = [b, h, i, j];
                    let hidden = (options.causal && j as i64 > p)
                        || options.window_left.is_some_and(|left| (j as i64) < p - left as i64)
                        || options.window_right.is_some_and(|right| j as i64 > p + right as i64)
                        || request.tensor("kv_lengths").is_some_and(|lengths| j as f64 >= lengths.to_f64()[b])
                        || broadcast("mask", at) == Some(0.0)
                        || broadcast("bias", at) == Some(f64::NEG_INFINITY);
                    if hidden {
                        logits.push(f64::NEG_INFINITY);
                        continue;
                    }
                    let (query, key) =
                        ((b * problem.heads_q + h) * problem.seq_q + i, b * problem.heads_kv + h / (problem.heads_q / problem.heads_kv));
                    let key = key * problem.seq_k + j;
                    let mut s: f64 = (0..problem.dim).map(|d| q[query * problem.dim + d] * k[key * problem.dim + d]).sum();
                    s *= problem.scale as f64;
                    if options.softcap > 0.0 {
                        s = options.softcap as f64 * (s / options.softcap as f64).tanh();
                    }
                    let slope = request.tensor("alibi_slopes").map_or(0.0, |slopes| slopes.to_f64()[h]);
                    logits.push(s + broadcast("bias", at).unwrap_or(0.0) - slope * (p - j as i64).abs() as f64);
                }
            }
        }
    }
    logits
}

fn close(case: &str, name: &str, got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{case}: {name}");
    for (n, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(got == expected || (got - expected).abs() <= 1e-9 * (1.0 + expected.abs()), "{case}: {name}[{n}] is {got}, not {expected}");
    }
}

#[test]
fn forward_is_the_definition() {
    for case in Attention.cases() {
        let request = case.request(&Attention, 1).unwrap();
        let problem = Problem::of(&request).unwrap();
        let Problem { heads_q, heads_kv, seq_q, seq_k, dim_v, .. } = problem;
        if problem.pairs() > 2e4 {
            continue;
        }
        let v = request.tensor("v").unwrap().to_float(problem.dtype).to_f64();
        let given = request.tensor("dropout_keep").map(Array::to_f64);
        let keep = |n: usize| match &given {
            Some(given) => given[n] != 0.0,
            None => philox::element(problem.options.seed, n as u64) as f64 >= (problem.options.dropout_p as f64 * 4_294_967_296.0).floor(),
        };
        let (mut o, mut lse, mut weights) = (vec![], vec![], vec![]);
        for (row, s) in logits(&problem, &request).chunks(seq_k).enumerate() {
            let m = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let l: f64 = s.iter().filter(|&&s| s > f64::NEG_INFINITY).map(|s| (s - m).exp()).sum();
            lse.push(if l == 0.0 { f64::NEG_INFINITY } else { m + l.ln() });
            let dropped = 1.0 - problem.options.dropout_p as f64;
            let p = |j: usize| if s[j] > f64::NEG_INFINITY && keep(row * seq_k + j) { (s[j] - m).exp() / l / dropped } else { 0.0 };
            weights.extend((0..seq_k).map(p));
            let (b, h) = (row / seq_q / heads_q, row / seq_q % heads_q);
            let value = |j: usize, d: usize| v[((b * heads_kv + h / (heads_q / heads_kv)) * seq_k + j) * dim_v + d];
            o.extend((0..dim_v).map(|d| (0..seq_k).filter(|&j| p(j) > 0.0).map(|j| p(j) * value(j, d)).sum::<f64>()));
        }
        let got = Attention.reference(&request, Precision::Exact).unwrap();
        close(case.name, "o", &got["o"].value, &o);
        close(case.name, "lse", &got["lse"].value, &lse);
        assert_eq!(got.contains_key("weights"), problem.options.weights);
        if let Some(got) = got.get("weights") {
            close(case.name, "weights", &got.value, &weights);
        }
    }
}

/// What is planted in hidden places reaches nothing: every case yields numbers, save the lse of a row with nothing visible,
/// whose output and gradient are 0.
#[test]
fn results_are_finite() {
    for case in Attention.cases() {
        let request = case.request(&Attention, 1).unwrap();
        for precision in [Precision::Exact, Precision::Plain, Precision::Magnitude] {
            let got = Attention.reference(&request, precision).unwrap();
            for (name, values) in &got {
                let finite = |&x: &f64| x.is_finite() || (name == "lse" && x == f64::NEG_INFINITY);
                assert!(values.value.iter().all(finite), "{}: {name}", case.name);
            }
            for name in ["o", "d_q"] {
                let width = got[name].shape[3];
                for (row, &lse) in got["lse"].value.iter().enumerate() {
                    let zero = got[name].value[row * width..][..width].iter().all(|&x| x == 0.0);
                    assert!(lse > f64::NEG_INFINITY || zero, "{}: {name} of row {row}", case.name);
                }
            }
        }
    }
}

/// The plain evaluation is f32, and its distance from f64 is that of rounding: within the magnitude of the terms.
#[test]
fn precisions_agree() {
    for case in Attention.cases() {
        let request = case.request(&Attention, 2).unwrap();
        let exact = Attention.reference(&request, Precision::Exact).unwrap();
        let plain = Attention.reference(&request, Precision::Plain).unwrap();
        let sized = Attention.reference(&request, Precision::Magnitude).unwrap();
        for (name, exact) in &exact {
            assert_eq!(exact.value, sized[name].value, "{}: {name}", case.name);
            let size = sized[name].magnitude.iter().copied().filter(|x| x.is_finite()).fold(0.0, f64::max);
            for (n, (&plain, &exact)) in plain[name].value.iter().zip(&exact.value).enumerate() {
                let error = if plain == exact { 0.0 } else { (plain - exact).abs() };
                assert!(error <= 1e-3 * size, "{}: {name}[{n}] is {plain} in f32, {exact} in f64", case.name);
            }
        }
    }
}

#[test]
fn registry_names_run() {
    let names: Vec<&str> = Attention.cases().iter().map(|case| case.name).collect();
    assert!(names.iter().enumerate().all(|(n, name)| !names[..n].contains(name)), "case names are unique");
    assert!(run_reference(&Attention, &Attention.cases()[0].request(&Attention, 0).unwrap()).is_ok());
    for shape in ["1,2,3", "1/2,2,3,4", "1,2/3/4,5,6", "1,3/2,5,6", "1,1,0,1", "1000000,1000,1000,1", ""] {
        assert!(Attention.draw(shape, &Default::default(), 0).is_err(), "{shape}");
    }
}
