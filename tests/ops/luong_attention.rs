use crate::{Device, assert_close, bits, check, floats, gpu, normal, run, try_run};
use wattn::ops::check::Expected;
use wattn::ops::luong_attention::{Inputs, LuongOptions, Score, backward, forward};
use wattn::ops::{Case, Tuning, find};
use wattn::{Array, Data, Error};

crate::cases!("luong_attention");

/// concat is additive attention with the columns of w as its weights and a bias of 0, to the bit.
#[test]
fn concat_is_additive_attention() {
    let (query, keys, values, v) = (normal(1, &[2, 7, 5]), normal(2, &[2, 19, 6]), normal(3, &[2, 19, 4]), normal(5, &[9]));
    let (wq, wk) = (normal(6, &[9, 5]), normal(7, &[9, 6]));
    let rows = floats(&wq).chunks(5).zip(floats(&wk).chunks(6));
    let w = Array::f32(&[9, 11], rows.flat_map(|(q, k)| [q, k].concat()).collect());
    let (d_context, d_weights, b) = (normal(8, &[2, 7, 4]), normal(9, &[2, 7, 19]), Array::f32(&[9], vec![0.0; 9]));
    let shared = [("query", &query), ("keys", &keys), ("values", &values), ("v", &v), ("d_context", &d_context), ("d_weights", &d_weights)];
    let concat = run("luong_attention", &[&shared[..], &[("w", &w)]].concat(), &[("score", "concat")]);
    let additive = run("additive_attention", &[&shared[..], &[("wq", &wq), ("wk", &wk), ("b", &b)]].concat(), &[]);
    for name in ["context", "weights", "d_query", "d_keys", "d_values", "d_v"] {
        assert_eq!(bits(floats(&concat[name])), bits(floats(&additive[name])), "{name}");
    }
    let (d_wq, d_wk) = (floats(&additive["d_wq"]).chunks(5), floats(&additive["d_wk"]).chunks(6));
    let side_by_side: Vec<f32> = d_wq.zip(d_wk).flat_map(|(q, k)| [q, k].concat()).collect();
    assert_close(floats(&concat["d_w"]), &side_by_side, 1e-5);
}

/// general with the identity is dot.
#[test]
fn general_with_the_identity_is_dot() {
    let (query, keys, values) = (normal(1, &[2, 7, 5]), normal(2, &[2, 19, 5]), normal(3, &[2, 19, 4]));
    let identity = Array::f32(&[5, 5], (0..25).map(|i| f32::from(u8::from(i % 6 == 0))).collect());
    let shared = [("query", &query), ("keys", &keys), ("values", &values)];
    let general = run("luong_attention", &[&shared[..], &[("w", &identity)]].concat(), &[("score", "general")]);
    let dot = run("luong_attention", &shared, &[]);
    assert_close(floats(&general["weights"]), floats(&dot["weights"]), 1e-6);
}

/// A cosine does not change with the lengths; powers of two leave it the same to the bit.
#[test]
fn cosine_ignores_lengths() {
    let (query, keys, values) = (normal(1, &[2, 7, 5]), normal(2, &[2, 19, 5]), normal(3, &[2, 19, 4]));
    let scaled = |array: &Array, by: f32| Array::f32(array.shape(), floats(array).iter().map(|x| by * x).collect());
    let of = |query: &Array, keys: &Array| {
        let out = run("luong_attention", &[("query", query), ("keys", keys), ("values", &values)], &[("score", "cosine")]);
        bits(floats(&out["weights"]))
    };
    assert_eq!(of(&query, &keys), of(&scaled(&query, 64.0), &scaled(&keys, 0.125)));
}

/// A zero vector has a score of 0, and a gradient as if lengths were the constant that then divides. There the score has no derivative, so
/// this is no named case: differences would not agree.
#[test]
fn zero_vectors_have_gradients() {
    let op = find("luong_attention").unwrap();
    let case = Case::new("zeros", "2,5/9,6", &[("score", "cosine")]).edit(|tensors, _| {
        for (name, rows) in [("query", [1, 7]), ("keys", [0, 12])] {
            let Some(Data::F32(values)) = tensors.get_mut(name).map(Array::data_mut) else { continue };
            rows.iter().for_each(|row| values[row * 6..][..6].fill(0.0));
        }
    });
    let request = case.request(op, 1).unwrap();
    let expected = Expected::new(op, &request).unwrap();
    for device in [Device::Default, Device::SmallBindings] {
        let checked = check(&device.open(), op, &(request.clone(), expected.clone()), &Tuning::default(), device);
        assert_eq!(checked, Ok(None), "{device:?}");
    }
    let out = run(
        "luong_attention",
        &request.tensors.iter().map(|(name, array)| (name.as_str(), array)).collect::<Vec<_>>(),
        &[("score", "cosine")],
    );
    // All scores of the zero query are alike.
    assert_close(&floats(&out["weights"])[9..18], &[1.0 / 9.0; 9], 1e-7);
    assert!(floats(&out["d_query"])[6..12].iter().any(|d| d.abs() > 1e5), "the constant divides");
}

/// What a score lacks, or has no use for, is an error; so is a backward of another forward.
#[test]
fn what_does_not_belong_together_is_refused() {
    let (query, keys, w) = (normal(1, &[1, 2, 3]), normal(2, &[1, 4, 3]), normal(3, &[3, 3]));
    let shared = [("query", &query), ("keys", &keys), ("values", &keys)];
    let error = |more: &[(&str, &Array)], score| {
        try_run(gpu(), "luong_attention", &[&shared[..], more].concat(), &[("score", score)]).unwrap_err().to_string()
    };
    assert!(error(&[], "general").contains("tensor 'w' is missing"));
    assert!(error(&[("w", &w)], "dot").contains("tensor 'w' has no use here"));
    assert!(error(&[], "scaled").contains("score = 'scaled'; expected dot, general, concat or cosine"));

    let [query, keys, w] = [&query, &keys, &w].map(|array| gpu().upload(array).unwrap());
    let inputs = Inputs { query: &query, keys: &keys, values: &keys, w: None, v: None, key_mask: None };
    let attended = forward(gpu(), &inputs, &LuongOptions::default()).unwrap();
    let general = Inputs { w: Some(&w), ..inputs };
    let error = backward(gpu(), &general, &attended, None, None, &LuongOptions { score: Score::General }).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
    // Without any upstream gradient all gradients are 0.
    let d = backward(gpu(), &inputs, &attended, None, None, &LuongOptions::default()).unwrap();
    assert!([&d.d_query, &d.d_keys, &d.d_values].iter().all(|d| d.read_blocking::<f32>().unwrap().iter().all(|&x| x == 0.0)));
}
