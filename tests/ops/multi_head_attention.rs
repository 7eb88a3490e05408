use crate::{Device, assert_close, floats, gpu, normal, run, try_run};
use wattn::Array;
use wattn::ops::multi_head_attention::{Inputs, MultiHeadOptions, backward, forward};

crate::cases!("multi_head_attention");

/// The tensors of a layer of 12 elements, with weights that make logits of order one.
fn tensors(queries: usize, keys: usize) -> Vec<(&'static str, Array)> {
    let shapes: [(&str, &[usize]); 7] = [
        ("query", &[2, queries, 12]),
        ("key", &[2, keys, 12]),
        ("value", &[2, keys, 12]),
        ("in_proj_weight", &[36, 12]),
        ("in_proj_bias", &[36]),
        ("out_proj_weight", &[12, 12]),
        ("out_proj_bias", &[12]),
    ];
    let scale = |name: &str| if name.ends_with("_weight") { 0.3 } else { 1.0 };
    let scaled = |array: Array, by: f32| Array::f32(array.shape(), floats(&array).iter().map(|x| by * x).collect());
    (1..).zip(shapes).map(|(seed, (name, shape))| (name, scaled(normal(seed, shape), scale(name)))).collect()
}

fn by_name<'a>(tensors: &'a [(&'static str, Array)], more: &[(&'static str, &'a Array)]) -> Vec<(&'static str, &'a Array)> {
    tensors.iter().map(|(name, array)| (*name, array)).chain(more.iter().copied()).collect()
}

/// With and without probabilities it is the same layer, gradients included.
#[test]
fn probabilities_change_nothing() {
    let (tensors, d_o) = (tensors(9, 33), normal(9, &[2, 9, 12]));
    let keep = Array::u8(&[2, 33], (0..66).map(|n| u8::from(n % 5 != 2)).collect());
    let of =
        |probs| run("multi_head_attention", &by_name(&tensors, &[("d_o", &d_o), ("key_keep", &keep)]), &[("heads", "3"), ("probs", probs)]);
    let (with, without) = (of("true"), of("false"));
    assert!(with.contains_key("probs") && !without.contains_key("probs"));
    for (name, array) in &without {
        assert_close(floats(array), floats(&with[name]), 2e-5);
    }
}

/// The projections are linear layers, and between them is attention: heads are slices of the elements.
#[test]
fn it_is_linear_layers_around_attention() {
    let tensors = tensors(5, 8);
    let out = run("multi_head_attention", &by_name(&tensors, &[]), &[("heads", "4")]);
    let block = |array: &Array, n: usize, shape: &[usize]| {
        let size = shape.iter().product::<usize>();
        Array::f32(shape, floats(array)[n * size..][..size].to_vec())
    };
    // [2, count, 12] to [2, 4, count, 3]
    let project = |n: usize| {
        let (weight, bias) = (block(&tensors[3].1, n, &[12, 12]), block(&tensors[4].1, n, &[12]));
        let y = &run("linear", &[("x", &tensors[n].1), ("weight", &weight), ("bias", &bias)], &[])["y"];
        let (count, y) = (y.shape()[1], floats(y));
        let at = |i: usize| ((i / (12 * count) * count + i / 3 % count) * 4 + i / (3 * count) % 4) * 3 + i % 3;
        Array::f32(&[2, 4, count, 3], (0..y.len()).map(|i| y[at(i)]).collect())
    };
    let attended = run("attention", &[("q", &project(0)), ("k", &project(1)), ("v", &project(2))], &[("weights", "true")]);
    assert_close(floats(&out["probs"]), floats(&attended["weights"]), 2e-6);
    let o = floats(&attended["o"]);
    let at = |i: usize| ((i / 60 * 4 + i / 3 % 4) * 5 + i / 12 % 5) * 3 + i % 3;
    let heads = Array::f32(&[2, 5, 12], (0..o.len()).map(|i| o[at(i)]).collect());
    let y = run("linear", &[("x", &heads), ("weight", &tensors[5].1), ("bias", &tensors[6].1)], &[]);
    assert_close(floats(&out["o"]), floats(&y["y"]), 5e-6);
}

/// Without probabilities nothing of their size is in memory, forward or backward.
#[test]
fn memory_is_linear_in_the_length() {
    let gpu = Device::Default.open();
    let (seq, embed) = (1024, 64);
    let draw = |seed, shape: &[usize], scale: f32| {
        let values: Vec<f32> = floats(&normal(seed, shape)).iter().map(|x| scale * x).collect();
        gpu.tensor(&values, shape).unwrap()
    };
    let x = draw(1, &[1, seq, embed], 1.0);
    let (in_weight, out_weight, d_o) = (draw(2, &[3 * embed, embed], 0.1), draw(3, &[embed, embed], 0.1), draw(4, &[1, seq, embed], 1.0));
    let inputs = Inputs {
        query: &x,
        key: &x,
        value: &x,
        in_proj_weight: &in_weight,
        in_proj_bias: None,
        out_proj_weight: &out_weight,
        out_proj_bias: None,
        key_keep: None,
    };
    let options = MultiHeadOptions { heads: 8, probs: false };
    let before = gpu.memory().in_use;
    gpu.reset_peak();
    let attended = forward(&gpu, &inputs, &options).unwrap();
    let gradients = backward(&gpu, &inputs, &attended, Some(&d_o), None, &options).unwrap();
    gpu.finish().unwrap();
    drop(gradients);
    let (taken, tensor) = (gpu.memory().peak - before, x.bytes());
    assert!(taken < 20 * tensor, "{taken} bytes at the peak, where a tensor has {tensor} and the probabilities {}", 8 * seq * seq * 4);
}

/// A gradient of probabilities that nobody asked for is refused, by name and in programs; so is a backward of other options.
#[test]
fn a_gradient_of_nothing_is_refused() {
    let (tensors, d_probs) = (tensors(2, 3), normal(9, &[2, 1, 2, 3]));
    let error = try_run(gpu(), "multi_head_attention", &by_name(&tensors, &[("d_probs", &d_probs)]), &[("probs", "false")]).unwrap_err();
    assert!(error.to_string().contains("'d_probs' is given with probs=false"), "{error}");

    let held: Vec<wattn::Tensor> = tensors.iter().map(|(_, array)| gpu().upload(array).unwrap()).collect();
    let [query, key, value, in_weight, in_bias, out_weight, out_bias] = &held[..] else { unreachable!("seven tensors") };
    let inputs = Inputs {
        query,
        key,
        value,
        in_proj_weight: in_weight,
        in_proj_bias: Some(in_bias),
        out_proj_weight: out_weight,
        out_proj_bias: Some(out_bias),
        key_keep: None,
    };
    let options = MultiHeadOptions::default();
    let attended = forward(gpu(), &inputs, &options).unwrap();
    let d_probs = gpu().upload(&d_probs).unwrap();
    for (d_probs, options) in [(Some(&d_probs), options), (None, options), (None, MultiHeadOptions { probs: true, ..options })] {
        let error = backward(gpu(), &inputs, &attended, None, d_probs, &options).unwrap_err();
        assert!(matches!(error, wattn::Error::Argument { .. }), "{error}");
    }
}
