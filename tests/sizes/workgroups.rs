//! More workgroups than one dimension of a dispatch holds, 65,535: every operation, whole, against its reference. And more random elements
//! than 32 bits count.

use std::iter::repeat_n;

use wattn::ops::check::{Expected, Outcome};
use wattn::ops::philox::Rng;
use wattn::ops::{Arrays, Case, find};
use wattn::{Array, Gpu, GpuOptions, wgpu};

/// Runs a case under every tuning whose label has `label` in it.
#[track_caller]
fn check(gpu: &Gpu, op: &str, label: &str, case: &Case) {
    let op = find(op).unwrap_or_else(|| panic!("no operation '{op}'"));
    let request = case.request(op, 1).unwrap_or_else(|e| panic!("{e}"));
    let expected = Expected::new(op, &request).unwrap_or_else(|e| panic!("{e}"));
    let tunings: Vec<_> = op.tunings(gpu.caps()).into_iter().filter(|tuning| tuning.label.contains(label)).collect();
    assert!(!tunings.is_empty());
    for tuning in tunings {
        let Outcome::Checked(checks) = expected.verify(gpu, op, &request, &tuning).unwrap_or_else(|e| panic!("{}: {e}", tuning.label))
        else {
            panic!("no case here stores f16")
        };
        let wrong: Vec<String> = checks.iter().filter(|check| !check.ok).map(|check| check.to_string()).collect();
        assert!(wrong.is_empty(), "{} [{}]: {}", case.name, tuning.label, wrong.join("; "));
    }
}

/// A mask broadcast over rows.
fn masked(shape: &[usize]) -> Array {
    let mut rng = Rng::new(3);
    Array::u8(shape, (0..shape.iter().product()).map(|_| u8::from(rng.below(4) > 0)).collect())
}

/// `"1/1/1"`: so many sequences of this length.
fn lengths(length: usize, count: usize) -> String {
    repeat_n(length.to_string(), count).collect::<Vec<_>>().join("/")
}

fn leak(text: String) -> &'static str {
    text.leak()
}

#[test]
fn products() {
    check(super::gpu(), "matmul", "", &Case::new("batches", "65537,2,3,2", &[]));
    // Tiles have 64 rows.
    check(super::gpu(), "matmul", "auto", &Case::new("rows", "4194305,1,1", &[]));
    check(super::gpu(), "matmul", "auto", &Case::new("columns", "1,1,4194305", &[]));
    check(super::gpu(), "linear", "", &Case::new("rows", "4194305,1,1", &[]));
}

#[test]
fn weighted_sums() {
    let masked = |tensors: &mut Arrays, _: &mut Rng| drop(tensors.insert("mask".into(), masked(&[65_537, 1, 3])));
    check(super::gpu(), "weighted_sum", "", &Case::new("batches", "65537,2,3,2", &[]).edit(masked));
}

#[test]
fn rows() {
    check(super::gpu(), "softmax", "", &Case::new("rows", "65537,3", &[]));
    let masked = |tensors: &mut Arrays, _: &mut Rng| drop(tensors.insert("mask".into(), masked(&[1, 2, 3])));
    check(super::gpu(), "softmax", "auto", &Case::new("masked", "65537,2,3", &[]).edit(masked));
    check(super::gpu(), "sum", "", &Case::new("rows", "65537,17", &[("axes", "1")]));
}

#[test]
fn heads() {
    check(super::gpu(), "attention", "", &Case::new("heads", "1,65537,2,4", &[("causal", "true")]));
    check(super::gpu(), "attention", "", &Case::new("batches", "32769,4/2,1/3,4/8", &[]));
}

#[test]
fn sequences() {
    let shape = leak(format!("{},1,4", lengths(1, 65_600)));
    check(super::gpu(), "attention_varlen", "auto", &Case::new("sequences", shape, &[]));
}

/// All sequences get as many tiles as the longest one has: together that may be more than a dispatch holds, here 16 x 16.
#[test]
fn sequences_of_many_tiles() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 16, ..wgpu::Limits::defaults() };
    let gpu = super::open(GpuOptions { baseline: true, limits: Some(limits), ..Default::default() });
    let shape = leak(format!("700/{},1,4", lengths(3, 40)));
    check(&gpu, "attention_varlen", "auto", &Case::new("long_and_short", shape, &[("path", "fused")]));
    check(&gpu, "attention", "auto", &Case::new("heads", "3,50,130,4", &[("path", "fused")]));
}

#[test]
fn recurrent_batches() {
    // Tiles have 8 sequences where a subgroup is one; where they have 64 this is a sixteenth of what would be needed.
    for op in ["rnn", "gru", "lstm"] {
        check(super::gpu(), op, "auto", &Case::new("sequences", "2,262153,1,1,1,2", &[]));
    }
}

/// Dropout draws word h Lq Lk + i Lk + j, which is past 32 bits here though no tensor is large.
#[test]
fn random_elements() {
    let windowed = &[("window_left", "2"), ("window_right", "1"), ("dropout_p", "0.5"), ("seed", "5"), ("path", "fused")];
    check(super::gpu(), "attention", "auto", &Case::new("dropout", "1,2,65600,4", windowed));
    // Element (h Tq + t) Tk + u; the composed path makes matrices of each sequence's own pairs alone.
    let dropped = &[("dropout_p", "0.5"), ("seed", "6")];
    check(super::gpu(), "attention_varlen", "", &Case::new("packed_dropout", "1/65600/3,65600/1/3,2,4", dropped));
}
