//! Names, shapes and options that are refused, and laws of the references that PyTorch's cases do not show.

use super::*;
use crate::ops::philox;
use crate::ops::{Arrays, Operation, Precision, References, Request, Settings, find};
use crate::{Array, Data, Error, Result};

fn op(name: &str) -> &'static dyn Operation {
    find(name).unwrap()
}

fn request(name: &str, tensors: Arrays, settings: &[(&str, &str)]) -> Result<Request> {
    Request::new(op(name).spec(), tensors, Settings::new(settings.iter().map(|(k, v)| (k.to_string(), v.to_string()))))
}

fn draw(name: &str, shape: &str) -> Arrays {
    op(name).draw(shape, &Settings::default(), 1).unwrap()
}

fn run(name: &str, tensors: &Arrays, settings: &[(&str, &str)]) -> References {
    op(name).reference(&request(name, tensors.clone(), settings).unwrap(), Precision::Exact).unwrap()
}

/// The error for a change of an LSTM's tensors, of two layers and directions.
fn error(change: impl FnOnce(&mut Arrays)) -> String {
    let mut tensors = draw("lstm", "13,3,7,11/5,2,2");
    change(&mut tensors);
    let error = request("lstm", tensors, &[]).and_then(|request| op("lstm").cost(&request)).unwrap_err();
    assert!(error.is_input_fault());
    error.to_string()
}

fn zeros(shape: &[usize]) -> Array {
    Array::f32(shape, vec![0.0; shape.iter().product()])
}

#[test]
fn sizes_are_read_off_names_and_shapes() {
    let mut tensors = draw("lstm", "13,3,7,11/5,2,2");
    let of = |tensors: &Arrays| Problem::of(Cell::Lstm, &request("lstm", tensors.clone(), &[("batch_first", "true")]).unwrap());
    for name in ["x", "d_y"] {
        let columns = tensors[name].shape()[2];
        tensors.insert(name.into(), zeros(&[3, 13, columns]));
    }
    let problem = of(&tensors).unwrap();
    assert_eq!((problem.time, problem.batch, problem.input, problem.hidden, problem.output), (13, 3, 7, 11, 5));
    assert_eq!((problem.layers, problem.directions, problem.bias, problem.projection, problem.peep), (2, 2, true, true, Peep::None));
    assert_eq!((problem.x_shape(), problem.y_shape()), ([3, 13, 7], [3, 13, 10]));
    assert_eq!((problem.h_shape(), problem.c_shape(), problem.row(4, 2)), ([4, 3, 5], [4, 3, 11], 30));
    assert_eq!((problem.layer_input(0), problem.layer_input(1)), (7, 10));
    let suffixes: Vec<String> = problem.places().map(|(layer, direction)| suffix(layer, direction)).collect();
    assert_eq!(suffixes, ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]);
    tensors.insert("peep".into(), zeros(&[3, 11]));
    assert_eq!(of(&tensors).unwrap().peep, Peep::Shared);
}

#[test]
fn missing_weights_are_named() {
    let without = |names: &[&str]| error(|t| names.iter().for_each(|name| drop(t.remove(*name).unwrap())));
    assert!(without(&["weight_hh_l1_reverse"]).starts_with(
        "lstm: tensor 'weight_hh_l1_reverse' is missing; expected for 2 layers in both directions weight_ih_l0, weight_hh_l0, bias_ih_l0, "
    ));
    assert!(without(&["bias_ih_l1", "bias_hh_l1"]).contains("tensors 'bias_ih_l1', 'bias_hh_l1' are missing"));
    assert!(without(&["weight_hr_l0"]).contains("tensor 'weight_hr_l0' is missing"));
    let gap = error(|t| {
        t.retain(|name, _| !name.contains("reverse"));
        for base in ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"] {
            let moved = t.remove(&format!("{base}_l1")).unwrap();
            t.insert(format!("{base}_l2"), moved);
        }
    });
    assert!(
        gap.contains("'weight_ih_l1', 'weight_hh_l1', 'bias_ih_l1', 'bias_hh_l1', 'weight_hr_l1' are missing; expected for 3 layers "),
        "{gap}"
    );
    let reverse = error(|t| t.retain(|name, _| !name.contains("l1_reverse")));
    assert!(reverse.contains("'weight_ih_l1_reverse', 'weight_hh_l1_reverse'"), "{reverse}");
    let far = error(|t| drop(t.insert("weight_ih_l65535".into(), zeros(&[44, 10]))));
    assert!(far.contains("'weight_hh_l2_reverse'") && far.contains("…") && far.len() < 1000, "{far}");
    let one_peep = error(|t| drop(t.insert("peep_l1".into(), zeros(&[3, 11]))));
    assert!(one_peep.contains("'peep_l0', 'peep_l0_reverse', 'peep_l1_reverse' are missing"), "{one_peep}");
    let both = error(|t| ["peep", "peep_l1"].iter().for_each(|name| drop(t.insert(name.to_string(), zeros(&[3, 11])))));
    assert!(both.contains("either 'peep', or 'peep_l0' and so on"), "{both}");
    assert!(error(|t| drop(t.remove("weight_ih_l0"))).contains("'weight_ih_l0' is missing"));
    assert!(error(|t| t.retain(|name, _| !name.starts_with("weight_ih"))).contains("tensor 'weight_ih_l0' [4·H, I]"));
    let unknown = error(|t| drop(t.insert("weight_ih_l00".into(), zeros(&[1]))));
    assert!(unknown.contains("unknown tensor 'weight_ih_l00'; expected x, [h0], [c0], [lengths], weight_ih_l0, "), "{unknown}");
    for name in ["c0", "peep", "weight_hr_l0"] {
        let mut tensors = draw("gru", "2,3,4,5");
        tensors.insert(name.into(), zeros(&[3, 5]));
        assert!(request("gru", tensors, &[]).unwrap_err().to_string().starts_with(&format!("gru: unknown tensor '{name}'")));
    }
}

#[test]
fn shapes_that_do_not_fit() {
    let with = |name: &str, shape: &[usize]| error(|t| drop(t.insert(name.into(), zeros(shape))));
    assert_eq!(with("x", &[13, 3]), "lstm: 'x' has shape [13, 3]; expected [time, batch, inputs]");
    let rows = "lstm: 'weight_ih_l0' has shape [43, 7]; expected [4·hidden, 7], since x is [13, 3, 7]";
    assert_eq!(with("weight_ih_l0", &[43, 7]), rows);
    assert!(with("weight_ih_l0", &[44, 8]).contains("[44, 8]; expected [4·hidden, 7]"));
    assert!(with("weight_ih_l1", &[44, 7]).contains("'weight_ih_l1' has shape [44, 7]; expected [44, 10]"));
    assert!(with("weight_hh_l0", &[44, 11]).contains("expected [44, 5]"));
    assert!(with("weight_hr_l0", &[5, 12]).contains("'weight_hr_l0' has shape [5, 12]; expected [output, 11]"));
    assert!(with("weight_hr_l1", &[6, 11]).contains("expected [5, 11]"));
    assert!(with("bias_hh_l1_reverse", &[11]).contains("'bias_hh_l1_reverse' has shape [11]; expected [44]"));
    assert!(with("peep", &[11]).contains("'peep' has shape [11]; expected [3, 11]"));
    for (name, wrong, right) in [
        ("h0", [4, 3, 11], "[4, 3, 5]"),
        ("c0", [4, 3, 5], "[4, 3, 11]"),
        ("d_y", [13, 3, 5], "[13, 3, 10]"),
        ("d_hn", [2, 3, 5], "[4, 3, 5]"),
        ("d_cn", [4, 13, 11], "[4, 3, 11]"),
    ] {
        assert!(with(name, &wrong).contains(&format!("'{name}' has shape {wrong:?}; expected {right}")));
    }
    let lengths = |values: &[i32]| error(|t| drop(t.insert("lengths".into(), Array::i32(&[values.len()], values.to_vec()))));
    assert_eq!(lengths(&[1, 13]), "lstm: 'lengths' has shape [2]; expected [3]");
    assert_eq!(lengths(&[1, 14, 0]), "lstm: lengths[1] = 14; expected at least 0 and at most 13, the number of steps");
    assert!(lengths(&[0, 13, -1]).contains("lengths[2] = -1"));
    assert!(
        error(|t| drop(t.insert("lengths".into(), Array::i32(&[3, 1], vec![1; 3]))))
            .contains("'lengths' has shape [3, 1]; expected [batch]")
    );
    assert!(error(|t| drop(t.insert("lengths".into(), zeros(&[3])))).contains("'lengths' is f32; expected i32"));
}

#[test]
fn keys_that_are_refused() {
    let error = |name: &str, key: &str, value: &str| {
        let request = request(name, draw(name, "2,2,2,2"), &[(key, value)])?;
        op(name).cost(&request).map(|_| ())
    };
    for (name, key, value) in [
        ("rnn", "nonlinearity", "sigmoid"),
        ("gru", "reset", "never"),
        ("gru", "nonlinearity", "tanh"),
        ("lstm", "dropout_p", "1"),
        ("lstm", "dropout_p", "-0.1"),
        ("lstm", "dropout_p", "nan"),
        ("lstm", "seed", "-1"),
        ("lstm", "batch_first", "yes"),
    ] {
        let error = error(name, key, value).unwrap_err();
        assert!(matches!(&error, Error::Argument { key: k, .. } if k == key), "{error}");
    }
}

/// What only a program can ask for, since names on file would have said so.
#[test]
fn shapes_that_only_programs_have() {
    let cell = CellShapes { weight_ih: &[9, 2], weight_hh: &[9, 3], bias: Some([&[9], &[9]]), weight_hr: None, peep: None };
    let x = [4, 5, 2];
    let new = |directions: usize, cells: &[CellShapes], change: fn(&mut Shapes)| {
        let mut shapes = Shapes::new(&x, cells);
        change(&mut shapes);
        Problem::new(Cell::Gru(Reset::After), &Options { directions, ..Options::default() }, &shapes).map_err(|e| e.to_string())
    };
    let deeper = CellShapes { weight_ih: &[9, 3], ..cell };
    assert_eq!(new(1, &[cell, deeper], |_| {}).unwrap().layers, 2);
    assert_eq!(new(2, &[cell, cell], |_| {}).unwrap().y_shape(), [4, 5, 6]);
    assert!(new(2, &[cell], |_| {}).unwrap_err().contains("1 sets of weights"));
    assert!(new(1, &[], |_| {}).is_err());
    assert!(new(3, &[cell], |_| {}).unwrap_err().contains("directions = 3; expected 1 or 2"));
    let bare = CellShapes { bias: None, ..deeper };
    assert!(new(1, &[cell, bare], |_| {}).unwrap_err().contains("tensor 'bias_ih_l1' is missing"));
    assert!(new(2, &[CellShapes { bias: None, ..cell }, cell], |_| {}).unwrap_err().contains("tensor 'bias_ih_l0_reverse' is given"));
    assert!(new(1, &[cell], |s| s.c0 = Some(&[1, 5, 3])).unwrap_err().contains("unknown tensor 'c0'"));
    assert!(new(1, &[CellShapes { weight_hr: Some(&[3, 3]), ..cell }], |_| {}).unwrap_err().contains("unknown tensor 'weight_hr'"));
    assert!(new(1, &[CellShapes { weight_ih: &[0, 2], ..cell }], |_| {}).is_err());
}

/// Every name of one run is that of another, up to `to`, with values within rounding.
fn assert_alike(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (i, (x, y)) in ours.iter().zip(theirs).enumerate() {
        assert!((x - y).abs() <= 1e-12 * (1.0 + y.abs()), "{what}[{i}]: {x} and {y}");
    }
}

/// Exchanges the first two dimensions.
fn transposed(shape: &[usize], values: &[f64]) -> Vec<f64> {
    let [outer, inner, columns] = *shape else { panic!("{shape:?}") };
    (0..inner * outer).flat_map(|n| values[(n % outer * inner + n / outer) * columns..][..columns].to_vec()).collect()
}

/// batch_first is another order in memory, dropout included.
#[test]
fn batch_first_is_an_order_in_memory() {
    let tensors = draw("lstm", "4,3,2,5,2,2");
    let mut swapped = tensors.clone();
    for name in ["x", "d_y"] {
        let shape = tensors[name].shape();
        let values = transposed(shape, &tensors[name].to_f64()).into_iter().map(|x| x as f32).collect();
        swapped.insert(name.into(), Array::f32(&[shape[1], shape[0], shape[2]], values));
    }
    let theirs = run("lstm", &tensors, &[("dropout_p", "0.5")]);
    for (name, ours) in run("lstm", &swapped, &[("dropout_p", "0.5"), ("batch_first", "true")]) {
        let values = if ["y", "d_x"].contains(&name.as_str()) { transposed(&ours.shape, &ours.value) } else { ours.value };
        assert_alike(&values, &theirs[&name].value, &name);
    }
}

/// With lengths each sequence is what it would be alone and cut off.
#[test]
fn a_length_cuts_a_sequence_off() {
    let mut tensors = draw("gru", "5,3,2,4,2,2");
    let lengths = [3usize, 5, 1];
    tensors.insert("lengths".into(), Array::i32(&[3], lengths.map(|n| n as i32).to_vec()));
    let all = run("gru", &tensors, &[]);
    // Element [i, b, column] of a tensor whose second dimension is the batch, for all i below n.
    let of = |values: &[f64], columns: usize, n: usize, b: usize| -> Vec<f64> {
        (0..n).flat_map(|i| values[(i * 3 + b) * columns..][..columns].to_vec()).collect()
    };
    let mut sums: Vec<f64> = vec![0.0; 24];
    for (b, &length) in lengths.iter().enumerate() {
        let mut alone = tensors.clone();
        alone.remove("lengths");
        for (name, columns, n) in [("x", 2, length), ("d_y", 8, length), ("h0", 4, 4), ("d_hn", 4, 4)] {
            let values = of(&tensors[name].to_f64(), columns, n, b).into_iter().map(|x| x as f32).collect();
            alone.insert(name.into(), Array::f32(&[n, 1, columns], values));
        }
        let one = run("gru", &alone, &[]);
        for (name, columns, n) in [("y", 8, length), ("d_x", 2, length), ("hn", 4, 4), ("d_h0", 4, 4)] {
            assert_alike(&of(&all[name].value, columns, n, b), &one[name].value, name);
        }
        sums.iter_mut().zip(&one["d_weight_ih_l0_reverse"].value).for_each(|(sum, x)| *sum += x);
    }
    assert_alike(&all["d_weight_ih_l0_reverse"].value, &sums, "d_weight_ih_l0_reverse");
    assert!(of(&all["y"].value, 8, 5, 0)[24..].iter().all(|&x| x == 0.0));
}

/// Dropout by hand, between two runs of one layer each.
#[test]
fn dropout_acts_between_layers() {
    let (time, batch, hidden) = (4, 3, 5);
    let tensors = draw("rnn", "4,3,2,5,2,2");
    let layer = |n: usize, x: Array| {
        let mut one = Arrays::from([("x".to_string(), x)]);
        for (name, array) in tensors.iter().filter(|(name, _)| name.contains(&format!("_l{n}"))) {
            one.insert(name.replace(&format!("_l{n}"), "_l0"), array.clone());
        }
        let half = tensors["h0"].to_f64()[n * 2 * batch * hidden..][..2 * batch * hidden].iter().map(|&x| x as f32).collect();
        one.insert("h0".into(), Array::f32(&[2, batch, hidden], half));
        run("rnn", &one, &[])["y"].clone()
    };
    let first = layer(0, tensors["x"].clone());
    let threshold = philox::drop_threshold(0.5);
    // Time-major, so the element's place in memory is its index. Dividing by 1/2 is exact, but f32 holds no f64: hence the tolerance.
    let keep = |(n, &y): (usize, &f64)| if philox::element(9, n as u64) >= threshold { (2.0 * y) as f32 } else { 0.0 };
    let dropped = Array::f32(&[time, batch, 2 * hidden], first.value.iter().enumerate().map(keep).collect());
    let zeros = dropped.to_f64().iter().filter(|&&x| x == 0.0).count();
    assert!((30..90).contains(&zeros), "{zeros} of 120 dropped");
    let expected = layer(1, dropped);
    let got = run("rnn", &tensors, &[("dropout_p", "0.5"), ("seed", "9")]);
    assert!(got["y"].value.iter().zip(&expected.value).all(|(x, y)| (x - y).abs() < 1e-6));
}

/// Peepholes that all share are those of each layer and direction, and d_peep is the sum of theirs; peepholes of 0 and an identity
/// as projection change nothing.
#[test]
fn shared_peepholes_are_equal_ones() {
    let plain = draw("lstm", "4,3,2,5,2,2");
    let (mut shared, mut each, mut neutral) = (plain.clone(), plain.clone(), plain.clone());
    let peep = Array::f32(&[3, 5], philox::Rng::new(3).normals(15));
    shared.insert("peep".into(), peep.clone());
    neutral.insert("peep".into(), zeros(&[3, 5]));
    for place in ["_l0", "_l0_reverse", "_l1", "_l1_reverse"] {
        each.insert(format!("peep{place}"), peep.clone());
        let identity = (0..25).map(|n| f32::from(u8::from(n % 6 == 0))).collect();
        neutral.insert(format!("weight_hr{place}"), Array::f32(&[5, 5], identity));
    }
    let (shared, each) = (run("lstm", &shared, &[]), run("lstm", &each, &[]));
    let mut sum = vec![0.0; 15];
    each.iter().filter(|(name, _)| name.starts_with("d_peep")).for_each(|(_, d)| sum.iter_mut().zip(&d.value).for_each(|(s, x)| *s += x));
    assert_alike(&shared["d_peep"].value, &sum, "d_peep");
    for name in ["y", "hn", "cn", "d_x", "d_c0", "d_weight_hh_l1"] {
        assert_alike(&shared[name].value, &each[name].value, name);
    }
    let neutral = run("lstm", &neutral, &[]);
    for (name, theirs) in run("lstm", &plain, &[]) {
        assert_alike(&neutral[&name].value, &theirs.value, &name);
    }
}

/// Magnitudes measure a step's sums and not their growth over time: over a thousand steps they stay near the values.
#[test]
fn magnitudes_do_not_compound() {
    let request = request("lstm", draw("lstm", "1000,1,3,5"), &[]).unwrap();
    for (name, values) in op("lstm").reference(&request, Precision::Magnitude).unwrap() {
        let largest = |v: &[f64]| v.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let (value, magnitude) = (largest(&values.value), largest(&values.magnitude));
        assert!(magnitude.is_finite() && magnitude < 1000.0 * (1.0 + value), "{name}: {magnitude} for {value}");
    }
}

#[test]
fn what_is_past_a_length_reaches_nothing() {
    for name in ["rnn", "gru", "lstm"] {
        let case = op(name).cases().into_iter().find(|case| case.name == "lengths_poisoned").unwrap();
        let request = case.request(op(name), 1).unwrap();
        assert!(matches!(request.tensors["x"].data(), Data::F32(x) if x.iter().any(|x| x.is_nan())));
        for (tensor, values) in op(name).reference(&request, Precision::Plain).unwrap() {
            assert!(values.value.iter().all(|x| x.is_finite()), "{name} {tensor}");
        }
    }
}
