use crate::{Device, assert_close, bits, floats, gpu, normal, run, try_run};
use wattn::ops::Case;
use wattn::ops::attention::{AttentionOptions, Inputs, backward, forward};
use wattn::{Array, Data};

crate::cases!("attention");

/// q, k and v `[1, 2, seq, 8]`.
fn inputs(seq: usize) -> [Array; 3] {
    [1, 2, 3].map(|seed| normal(seed, &[1, 2, seq, 8]))
}

fn attend([q, k, v]: &[Array; 3], settings: &[(&str, &str)]) -> Vec<f32> {
    floats(&run("attention", &[("q", q), ("k", k), ("v", v)], settings)["o"]).to_vec()
}

/// Other values in the keys and values from position `from` on.
fn change_future(array: &mut Array, seq: usize, from: usize) {
    let Data::F32(values) = array.data_mut() else { unreachable!("drawn as f32") };
    for (i, x) in values.iter_mut().enumerate().filter(|(i, _)| i / 8 % seq >= from) {
        *x = if i % 3 == 0 { f32::NAN } else { -7.0 * *x };
    }
}

/// With `causal`, what a query gets does not depend on later keys, to the bit.
/// Heads of each width of tile, and dropout with a factor that takes from what f16 can hold. Here and not among the cases, since kernels
/// without matrix units have been through all of it in f32, and lavapipe 25 would compile for minutes.
const ON_MATRIX_UNITS: &[Case] = &[
    Case::new("f16_dim_32", "1,2,40/70,32", &[("dtype", "f16")]),
    Case::new("f16_dim_64", "2,2,33/65,64", &[("dtype", "f16")]),
    Case::new("f16_dim_128", "1,2,33/65,128/100", &[("dtype", "f16"), ("causal", "true"), ("offset", "32")]),
    Case::new("f16_dim_256", "1,1,35/70,256", &[("dtype", "f16")]),
    Case::new("f16_dropout", "1,2,40/70,16", &[("dtype", "f16"), ("dropout_p", "0.95"), ("seed", "5")]),
];

#[test]
fn the_forward_of_f16_runs_on_matrix_units() {
    crate::run_on_matrix_units("attention", ON_MATRIX_UNITS, "attention/fused_forward");
}

#[test]
fn the_future_does_not_matter() {
    let (seq, from) = (70, 41);
    let mut tensors = inputs(seq);
    let before = attend(&tensors, &[("causal", "true")]);
    change_future(&mut tensors[1], seq, from);
    change_future(&mut tensors[2], seq, from);
    let after = attend(&tensors, &[("causal", "true")]);
    for (at, (before, after)) in before.chunks(8).zip(after.chunks(8)).enumerate() {
        assert_eq!(bits(before) == bits(after), at % seq < from, "row {at}");
    }
}

/// Queries that share keys and values get what they would with copies of them.
#[test]
fn grouped_heads_are_repeated_heads() {
    let (q, k, v) = (normal(1, &[1, 4, 33, 8]), normal(2, &[1, 2, 67, 8]), normal(3, &[1, 2, 67, 8]));
    let repeat = |x: &Array| {
        let heads: Vec<&[f32]> = floats(x).chunks(67 * 8).collect();
        Array::f32(&[1, 4, 67, 8], [heads[0], heads[0], heads[1], heads[1]].concat())
    };
    let copies = [q.clone(), repeat(&k), repeat(&v)];
    assert_eq!(bits(&attend(&[q, k, v], &[])), bits(&attend(&copies, &[])));
}

/// The weights of a row sum to one, and o is their sum over v.
#[test]
fn weights_sum_to_one() {
    let [q, k, v] = inputs(67);
    let out = run("attention", &[("q", &q), ("k", &k), ("v", &v)], &[("weights", "true"), ("causal", "true")]);
    let sums: Vec<f32> = floats(&out["weights"]).chunks(67).map(|row| row.iter().sum()).collect();
    assert_close(&sums, &[1.0; 2 * 67], 2e-6);
    let o = run("weighted_sum", &[("weights", &out["weights"]), ("v", &v)], &[]);
    assert_close(floats(&out["o"]), floats(&o["o"]), 2e-6);
}

/// One seed, one mask; another seed, another mask.
#[test]
fn the_seed_decides_what_is_dropped() {
    let tensors = inputs(35);
    let with = |seed: &str| bits(&attend(&tensors, &[("dropout_p", "0.3"), ("seed", seed)]));
    assert_eq!(with("5"), with("5"));
    assert_ne!(with("5"), with("6"));
    // Seeds have 64 bits, and all of them count.
    assert_ne!(with("5"), with("4294967301"));
}

/// What is kept is scaled up, so that with values of one the mean over many queries is one.
#[test]
fn dropout_keeps_the_mean() {
    let seq = 257;
    let [q, k, _] = inputs(seq);
    let ones = Array::f32(&[1, 2, seq, 8], vec![1.0; 2 * seq * 8]);
    for p in [0.1, 0.5, 0.9] {
        let out = run("attention", &[("q", &q), ("k", &k), ("v", &ones)], &[("dropout_p", &p.to_string()), ("weights", "true")]);
        let rows = (2 * seq) as f64;
        let mean: f64 = floats(&out["o"]).iter().map(|&x| f64::from(x)).sum::<f64>() / (rows * 8.0);
        // A kept weight P becomes P/(1-p): its variance is P² p/(1-p), and Σ P² is a few hundredths here.
        let deviation = (0.1 * p / (1.0 - p) / rows).sqrt();
        assert!((mean - 1.0).abs() < 5.0 * deviation, "p = {p}: mean {mean}, standard deviation below {deviation:.1e}");
        let dropped = floats(&out["weights"]).iter().filter(|&&w| w == 0.0).count() as f64 / (rows * seq as f64);
        let deviation = (p * (1.0 - p) / (rows * seq as f64)).sqrt();
        assert!((dropped - p).abs() < 5.0 * deviation, "p = {p}: {dropped} were dropped");
    }
}

/// The backward drops what the forward dropped: o is linear in v, so <d_o, o> = <d_v, v>.
#[test]
fn the_backward_draws_the_same_mask() {
    let [q, k, v] = inputs(67);
    let d_o = normal(4, &[1, 2, 67, 8]);
    let out = run("attention", &[("q", &q), ("k", &k), ("v", &v), ("d_o", &d_o)], &[("dropout_p", "0.4"), ("seed", "9")]);
    let dot = |a: &Array, b: &Array| floats(a).iter().zip(floats(b)).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let (forward, backward) = (dot(&d_o, &out["o"]), dot(&out["d_v"], &v));
    assert!((forward - backward).abs() < 1e-4 * forward.abs().max(1.0), "{forward} and {backward}");
}

/// The fused and the composed path draw one mask and agree, and `auto` is the fused path.
#[test]
fn the_paths_agree() {
    let (q, k, v) = (normal(1, &[2, 4, 37, 12]), normal(2, &[2, 2, 75, 12]), normal(3, &[2, 2, 75, 20]));
    let d_o = normal(4, &[2, 4, 37, 20]);
    let on = |path: &str| {
        let settings = [("dropout_p", "0.4"), ("seed", "9"), ("causal", "true"), ("offset", "30"), ("path", path)];
        run("attention", &[("q", &q), ("k", &k), ("v", &v), ("d_o", &d_o)], &settings)
    };
    let (auto, fused, composed) = (on("auto"), on("fused"), on("composed"));
    for name in ["o", "d_q", "d_k", "d_v"] {
        assert_eq!(bits(floats(&auto[name])), bits(floats(&fused[name])), "{name}");
        assert_close(floats(&fused[name]), floats(&composed[name]), 2e-5);
    }
}

/// What the fused path takes beyond its tensors grows with the length, not with its square.
#[test]
fn memory_is_linear_in_the_length() {
    let gpu = Device::Default.open();
    let of = |seq: usize| {
        let draw = |seed| gpu.tensor(floats(&normal(seed, &[1, 4, seq, 64])), &[1, 4, seq, 64]).unwrap();
        let [q, k, v, d_o] = [1, 2, 3, 4].map(draw);
        let options = AttentionOptions { causal: true, ..Default::default() };
        let inputs = Inputs::new(&q, &k, &v);
        gpu.reset_peak();
        let attended = forward(&gpu, &inputs, &options).unwrap();
        let gradients = backward(&gpu, &inputs, &attended, &d_o, &options).unwrap();
        gpu.finish().unwrap();
        let tensors = [&q, &k, &v, &d_o, &attended.o, &attended.lse, &gradients.d_q, &gradients.d_k, &gradients.d_v];
        (gpu.memory().peak as f64, tensors.iter().map(|tensor| tensor.bytes() as f64).sum::<f64>())
    };
    for seq in [512, 1024] {
        let (peak, tensors) = of(seq);
        assert!(peak <= 1.1 * tensors, "at {seq}: {peak} bytes at the peak, {tensors} in tensors");
    }
}

/// A path that does not serve a call is an error that says what would.
#[test]
fn the_fused_path_says_what_it_does_not_serve() {
    let fails = |q: &Array, settings: &[(&str, &str)], words: &str| {
        let settings = [settings, &[("path", "fused")]].concat();
        let got = try_run(gpu(), "attention", &[("q", q), ("k", q), ("v", q)], &settings).unwrap_err().to_string();
        assert!(got.contains(words) && got.contains("expected auto or composed"), "{got}");
    };
    fails(&normal(1, &[1, 1, 2, 257]), &[], "a head dimension of 257, only up to 256");
    fails(&normal(1, &[1, 1, 2, 4]), &[("weights", "true")], "weights");
}
