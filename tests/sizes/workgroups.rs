//! More workgroups than one dimension of a dispatch holds, 65,535: every kernel against its reference. And more random elements than 32
//! bits count. Small cases are compared whole, large ones in slices.

use std::iter::repeat_n;

use wattn::ops::check::{Expected, Outcome, wrong};
use wattn::ops::lstm;
use wattn::ops::matmul::{self, MatmulOptions};
use wattn::ops::philox::Rng;
use wattn::ops::recurrent::{Inputs, Options, Weights};
use wattn::ops::{Arrays, Case, find, sum};
use wattn::{Array, DType, Gpu, GpuOptions, wgpu};

use super::fill::{Filled, compare, places, read_slices};

/// What one dimension holds, and one more.
const MANY: usize = 65_536;

/// Runs a case under the tunings with these labels.
#[track_caller]
fn check(gpu: &Gpu, op: &str, labels: &[&str], case: &Case) {
    let op = find(op).unwrap_or_else(|| panic!("no operation '{op}'"));
    let request = case.request(op, 1).unwrap_or_else(|e| panic!("{e}"));
    let expected = Expected::new(op, &request).unwrap_or_else(|e| panic!("{e}"));
    for label in labels {
        let tuning = op.tunings(gpu.caps()).into_iter().find(|tuning| tuning.label == *label).unwrap_or_else(|| panic!("no {label}"));
        let Outcome::Checked(checks) = expected.verify(gpu, op, &request, &tuning).unwrap_or_else(|e| panic!("{label}: {e}")) else {
            panic!("no case here stores f16")
        };
        assert_eq!(wrong(&checks), None, "{} [{label}]", case.name);
    }
}

fn with_mask(tensors: &mut Arrays, shape: &[usize]) {
    let mut rng = Rng::new(3);
    let mask = (0..shape.iter().product()).map(|_| u8::from(rng.below(4) > 0)).collect();
    tensors.insert("mask".into(), Array::u8(shape, mask));
}

fn forward_only(tensors: &mut Arrays, _: &mut Rng) {
    tensors.retain(|name, _| !name.starts_with("d_"));
}

/// A shape with so many sequences of a length.
fn sequences(first: &str, length: usize, count: usize, rest: &str) -> &'static str {
    let lengths = repeat_n(length.to_string(), count).collect::<Vec<_>>().join("/");
    format!("{first}{lengths},{rest}").leak()
}

#[test]
fn products_of_many_batches() {
    check(super::gpu(), "matmul", &["auto"], &Case::new("batches", "65536,2,3,2", &[]).edit(forward_only));
    let masked = Case::new("batches", "65536,2,3,2", &[]).edit(|tensors, rng| {
        with_mask(tensors, &[MANY, 1, 3]);
        forward_only(tensors, rng);
    });
    check(super::gpu(), "weighted_sum", &["auto"], &masked);
}

/// Tiles have 64 rows and columns.
#[test]
fn products_of_many_tiles() {
    let gpu = super::gpu();
    let tall = 64 * MANY - 63;
    let long = Filled::new(gpu, DType::F32, &[tall, 1], 1);
    let one = Filled::new(gpu, DType::F32, &[1, 1], 2);
    let at = places(tall, 64 * (MANY - 1));
    let factors = |a: &Filled, a_at: &[usize], b: &Filled, b_at: &[usize]| {
        vec![("a", a.slices(a_at, 1, &[a_at.len(), 1])), ("b", b.slices(b_at, 1, &[1, b_at.len()]))]
    };
    let rows = matmul::forward(gpu, &long.tensor, &one.tensor, None, &MatmulOptions::default()).unwrap();
    let got = vec![("y", read_slices(gpu, &rows, &at, 1, &[at.len(), 1]))];
    compare("matmul", factors(&long, &at, &one, &[0]), &[], got);
    let wide = long.tensor.reshape(&[1, tall]).unwrap();
    let columns = matmul::forward(gpu, &one.tensor, &wide, None, &MatmulOptions::default()).unwrap();
    let got = vec![("y", read_slices(gpu, &columns, &at, 1, &[1, at.len()]))];
    compare("matmul", factors(&one, &[0], &long, &at), &[], got);
}

#[test]
fn rows() {
    let case = Case::new("masked", "32768,2,3", &[]).edit(|tensors, _| with_mask(tensors, &[1, 2, 3]));
    check(super::gpu(), "softmax", &["auto", "lanes=256"], &case);
    check(super::gpu(), "sum", &["auto", "width=1"], &Case::new("rows", "65536,17", &[("axes", "1")]));
}

/// Kernels with an invocation for each element have 256 of them in a workgroup: the gradient of a sum is one.
#[test]
fn elements() {
    let gpu = super::gpu();
    let shape = [3, 128, MANY];
    let d_y = Filled::new(gpu, DType::F32, &[shape[0], shape[2]], 1);
    let d_x = sum::backward(gpu, &shape, &d_y.tensor, &sum::SumOptions { axes: Some(vec![1]), keepdim: false }).unwrap();
    let rows = places(shape[0] * shape[1], 255);
    let starts: Vec<usize> = rows.iter().map(|row| row * MANY).collect();
    let expected: Vec<f32> = rows.iter().flat_map(|row| d_y.at(row / shape[1] * MANY, MANY)).collect();
    assert!(read_slices(gpu, &d_x, &starts, MANY, &[expected.len()]) == Array::f32(&[expected.len()], expected));
}

#[test]
fn heads() {
    check(super::gpu(), "attention", &["auto"], &Case::new("batches", "32768,2,1,4", &[]));
    let case = Case::new("heads", "1,65536,1/2,4", &[]).edit(forward_only);
    check(super::gpu(), "attention", &["composed lanes=64"], &case);
}

#[test]
fn packed_sequences() {
    check(super::gpu(), "attention_varlen", &["auto"], &Case::new("sequences", sequences("", 1, MANY, "1,4"), &[]).edit(forward_only));
}

/// All sequences get as many tiles as the longest one has: together that may be more than a dispatch holds, here 16 x 16.
#[test]
fn sequences_of_many_tiles() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 16, ..wgpu::Limits::defaults() };
    let gpu = super::open(GpuOptions { baseline: true, limits: Some(limits), ..Default::default() });
    let fused = &[("path", "fused")];
    check(&gpu, "attention_varlen", &["auto"], &Case::new("packed", sequences("700/", 3, 40, "1,4"), fused));
    check(&gpu, "attention", &["auto"], &Case::new("heads", "3,50,65,4", fused));
}

/// What walks steps is the same for all three kinds of cell. Where a subgroup is a team a workgroup has 8 sequences, and up to 64 elsewhere.
#[test]
fn recurrent_sequences() {
    let gpu = super::gpu();
    let batch = 8 * MANY;
    let x = Filled::new(gpu, DType::F32, &[2, batch, 1], 1);
    let weights = [("weight_ih_l0", Filled::new(gpu, DType::F32, &[4, 1], 2)), ("weight_hh_l0", Filled::new(gpu, DType::F32, &[4, 1], 3))];
    let own = [Weights { weight_ih: &weights[0].1.tensor, weight_hh: &weights[1].1.tensor, bias: None, weight_hr: None, peep: None }];
    let outputs = lstm::forward(gpu, &Inputs::new(&x.tensor, &own), &Options::default()).unwrap();
    let at = places(batch, 8 * (MANY - 1));
    let both = [&at[..], &at.iter().map(|b| batch + b).collect::<Vec<_>>()].concat();
    let mut inputs = vec![("x", x.slices(&both, 1, &[2, at.len(), 1]))];
    inputs.extend(weights.iter().map(|(name, weight)| (*name, weight.slices(&[0], 4, &[4, 1]))));
    let got = vec![("y", read_slices(gpu, &outputs.y, &both, 1, &[2, at.len(), 1]))];
    compare("lstm", inputs, &[], got);
}

/// Dropout draws word h Lq Lk + i Lk + j, which is past 32 bits here though no tensor is large.
#[test]
fn random_elements() {
    let windowed = &[("window_left", "1"), ("window_right", "0"), ("dropout_p", "0.5"), ("seed", "5"), ("path", "fused")];
    check(super::gpu(), "attention", &["auto"], &Case::new("dropout", "1,2,65600,4", windowed));
    // Element (h Tq + t) Tk + u; the composed path makes matrices of each sequence's own pairs alone.
    let dropped = &[("dropout_p", "0.5"), ("seed", "6")];
    let case = Case::new("packed_dropout", "1/65600/3,65600/1/3,2,4", dropped).edit(forward_only);
    check(super::gpu(), "attention_varlen", &["auto", "composed lanes=64"], &case);
}

/// Normalized rows are workgroups, and so are blocks of 32 columns for each slice of rows.
#[test]
fn normalized_rows() {
    check(super::gpu(), "layer_norm", &["auto", "lanes=256"], &Case::new("rows", "65537,5", &[]));
    check(super::gpu(), "rms_norm", &["auto"], &Case::new("rows", "65537,5", &[]));
}
