use crate::{Device, assert_close, bits, floats, normal, run};
use wattn::Array;
use wattn::ops::additive_attention::{Inputs, backward, forward};

crate::cases!("additive_attention");

/// Sizes and parameters of a small layer: query [2, Lq, 5], keys and values [2, Lk, 6], 9 features.
fn tensors(queries: usize, keys: usize) -> Vec<(&'static str, Array)> {
    let shapes: [(&str, &[usize]); 7] = [
        ("query", &[2, queries, 5]),
        ("keys", &[2, keys, 6]),
        ("values", &[2, keys, 6]),
        ("wq", &[9, 5]),
        ("wk", &[9, 6]),
        ("b", &[9]),
        ("v", &[9]),
    ];
    (1..).zip(shapes).map(|(seed, (name, shape))| (name, normal(seed, shape))).collect()
}

fn by_name<'a>(tensors: &'a [(&'static str, Array)], more: &[(&'static str, &'a Array)]) -> Vec<(&'static str, &'a Array)> {
    tensors.iter().map(|(name, array)| (*name, array)).chain(more.iter().copied()).collect()
}

/// The weights of a query sum to one, and the context is their sum over the values.
#[test]
fn weights_sum_to_one() {
    let tensors = tensors(7, 70);
    let out = run("additive_attention", &by_name(&tensors, &[]), &[]);
    let sums: Vec<f32> = floats(&out["weights"]).chunks(70).map(|row| row.iter().sum()).collect();
    assert_close(&sums, &[1.0; 14], 2e-6);
    let o = run("weighted_sum", &[("weights", &out["weights"]), ("v", &tensors[2].1)], &[]);
    assert_close(floats(&out["context"]), floats(&o["o"]), 2e-6);
}

/// A query alone gets what it gets among others: a decoder that asks step by step sees what it was trained with.
#[test]
fn queries_do_not_see_each_other() {
    let mut all = tensors(7, 33);
    let together = run("additive_attention", &by_name(&all, &[]), &[]);
    let query = floats(&all[0].1).to_vec();
    for i in 0..7 {
        let row = |b: usize| &query[(b * 7 + i) * 5..][..5];
        all[0].1 = Array::f32(&[2, 1, 5], [row(0), row(1)].concat());
        let alone = run("additive_attention", &by_name(&all, &[]), &[]);
        for (name, columns) in [("weights", 33), ("context", 6)] {
            let row = |b: usize| &floats(&together[name])[(b * 7 + i) * columns..][..columns];
            assert_close(floats(&alone[name]), &[row(0), row(1)].concat(), 1e-6);
        }
    }
}

/// Masked keys at the end are as good as none.
#[test]
fn masked_keys_are_no_keys() {
    let (long, keys) = (tensors(5, 40), 31);
    let cut = |array: &Array| {
        let rows: Vec<f32> = floats(array).chunks(40 * 6).flat_map(|batch| batch[..keys * 6].to_vec()).collect();
        Array::f32(&[2, keys, 6], rows)
    };
    let mut short = long.clone();
    (short[1].1, short[2].1) = (cut(&long[1].1), cut(&long[2].1));
    let mask = Array::u8(&[2, 40], (0..80).map(|n| u8::from(n % 40 < keys)).collect());
    let d_context = normal(9, &[2, 5, 6]);
    let masked = run("additive_attention", &by_name(&long, &[("key_mask", &mask), ("d_context", &d_context)]), &[]);
    let none = run("additive_attention", &by_name(&short, &[("d_context", &d_context)]), &[]);
    for name in ["context", "d_query", "d_wq", "d_wk", "d_b", "d_v"] {
        assert_close(floats(&masked[name]), floats(&none[name]), 1e-4);
    }
    for (b, batch) in floats(&masked["d_keys"]).chunks(40 * 6).enumerate() {
        assert_close(&batch[..keys * 6], &floats(&none["d_keys"])[b * keys * 6..][..keys * 6], 1e-5);
        assert_eq!(bits(&batch[keys * 6..]), [0; 9 * 6]);
    }
}

/// Nothing that grows as queries times keys times features is ever stored, forward or backward.
#[test]
fn memory_does_not_hold_the_tanh() {
    let gpu = Device::Default.open();
    let (batch, queries, keys, dim, features) = (8, 32, 256, 256, 256);
    let draw = |seed, shape: &[usize], scale: f32| {
        let values: Vec<f32> = floats(&normal(seed, shape)).iter().map(|x| scale * x).collect();
        gpu.tensor(&values, shape).unwrap()
    };
    let (query, keys_tensor) = (draw(1, &[batch, queries, dim], 1.0), draw(2, &[batch, keys, dim], 1.0));
    let (values, d_context) = (draw(3, &[batch, keys, dim], 1.0), draw(4, &[batch, queries, dim], 1.0));
    let (wq, wk) = (draw(5, &[features, dim], 0.05), draw(6, &[features, dim], 0.05));
    let (b, v, d_weights) = (draw(7, &[features], 1.0), draw(8, &[features], 0.1), draw(9, &[batch, queries, keys], 1.0));
    let inputs = Inputs { query: &query, keys: &keys_tensor, values: &values, wq: &wq, wk: &wk, b: &b, v: &v, key_mask: None };
    let before = gpu.memory().in_use;
    gpu.reset_peak();
    let attended = forward(&gpu, &inputs).unwrap();
    let gradients = backward(&gpu, &inputs, &attended, Some(&d_context), Some(&d_weights)).unwrap();
    gpu.finish().unwrap();
    let taken = gpu.memory().peak - before;
    let tanh = (batch * queries * keys * features * 4) as u64;
    // The results, the projections and their gradients, and a few matrices like the weights.
    let results = [&attended.context, &attended.weights, &attended.projected.query, &attended.projected.keys];
    let gradients = [&gradients.d_query, &gradients.d_keys, &gradients.d_values, &gradients.d_wq, &gradients.d_wk];
    let kept: u64 = results.into_iter().chain(gradients).map(|tensor| tensor.bytes()).sum();
    println!("{taken} bytes at the peak, {kept} in results, {tanh} of tanh");
    assert!(taken < 2 * kept && taken < tanh / 4, "{taken} bytes at the peak, {kept} in results");
}
