//! Tensors larger than a binding of 128 MiB, WebGPU's default, compared in slices: the first and the last, those where one piece ends and
//! the next begins, and some more. tests/ops runs every case with bindings of 20 KiB; here are the sizes that people have.

use wattn::ops::softmax::{self, SoftmaxOptions};
use wattn::ops::{matmul, sum, weighted_sum};
use wattn::{DType, Error, Gpu, GpuOptions, wgpu};

use super::fill::{Filled, QUERIES, attend_at, compare, places, read_slices};

/// f32 that a binding holds.
const BINDING: usize = (128 << 20) / 4;

fn baseline() -> Gpu {
    let gpu = super::open(GpuOptions { baseline: true, ..Default::default() });
    assert_eq!(gpu.caps().max_binding, 4 * BINDING as u64);
    gpu
}

/// Sizes are rounded up for reuse, but never over what a buffer may have.
#[test]
fn the_largest_buffer() {
    let limits = wgpu::Limits { max_buffer_size: (1 << 20) + 7, max_storage_buffer_binding_size: 1 << 18, ..wgpu::Limits::defaults() };
    let gpu = super::open(GpuOptions { baseline: true, limits: Some(limits), ..Default::default() });
    let most = (1 << 18) + 1;
    let ones = gpu.tensor(&vec![1.0f32; most], &[most]).unwrap();
    let total = sum::forward(&gpu, &ones, &sum::SumOptions::default()).unwrap();
    assert_eq!(total.read_blocking::<f32>().unwrap(), [most as f32]);
    assert!(ones.read_blocking::<f32>().unwrap().iter().all(|&one| one == 1.0));
    let limit = (1 << 20) + 4;
    assert!(matches!(gpu.empty(DType::F32, &[most + 1]), Err(Error::Limit { limit: l, got, .. }) if l == limit && got == limit + 4));
}

fn times(places: &[usize], n: usize) -> Vec<usize> {
    places.iter().map(|place| place * n).collect()
}

#[test]
fn softmax_rows() {
    let gpu = &baseline();
    let [rows, cols] = [32_600, 1031];
    assert!(rows * cols > BINDING);
    let (x, mask) = (Filled::new(gpu, DType::F32, &[rows, cols], 1), Filled::new(gpu, DType::U8, &[rows, cols], 2));
    let options = SoftmaxOptions::default();
    let softmaxed = softmax::forward(gpu, &x.tensor, Some(&mask.tensor), &options).unwrap();
    let d_y = Filled::new(gpu, DType::F32, &[rows, cols], 3);
    let d_x = softmax::backward(gpu, &softmaxed.y, Some(&mask.tensor), &d_y.tensor, &options).unwrap();
    let at = places(rows, (BINDING - 64) / cols);
    let (shape, firsts) = ([at.len(), cols], times(&at, cols));
    let slices = |filled: &Filled| filled.slices(&firsts, cols, &shape);
    let got = [("y", &softmaxed.y), ("d_x", &d_x)].map(|(name, tensor)| (name, read_slices(gpu, tensor, &firsts, cols, &shape)));
    let lse = ("lse", read_slices(gpu, &softmaxed.lse, &at, 1, &[at.len()]));
    let inputs = vec![("x", slices(&x)), ("mask", slices(&mask)), ("d_y", slices(&d_y))];
    compare("softmax", inputs, &[], got.into_iter().chain([lse]).collect());
}

#[test]
fn sums_along_and_across() {
    let gpu = &baseline();
    // Rows of half a binding and more, so that each is cut.
    let [rows, cols] = [3, BINDING / 2 + 4099];
    let x = Filled::new(gpu, DType::F32, &[rows, cols], 1);
    let over = |axis| sum::forward(gpu, &x.tensor, &sum::SumOptions { axes: Some(vec![axis]), keepdim: false }).unwrap();
    let at = places(cols, BINDING / 4);
    let firsts: Vec<usize> = (0..rows).flat_map(|row| at.iter().map(move |col| row * cols + col)).collect();
    let got = vec![("y", read_slices(gpu, &over(0), &at, 1, &[at.len()]))];
    compare("sum", vec![("x", x.slices(&firsts, 1, &[rows, at.len()]))], &[("axes", "0")], got);
    let got = vec![("y", read_slices(gpu, &over(1), &[2], 1, &[1]))];
    compare("sum", vec![("x", x.slices(&[2 * cols], cols, &[1, cols]))], &[("axes", "1")], got);
}

#[test]
fn products() {
    let gpu = &baseline();
    let options = matmul::MatmulOptions::default();
    // From register to register and through workgroup memory.
    for [rows, k, n] in [[500_000, 68, 4], [510_000, 67, 3]] {
        let (a, b) = (Filled::new(gpu, DType::F32, &[rows, k], 1), Filled::new(gpu, DType::F32, &[k, n], 2));
        assert!(a.tensor.len() > BINDING);
        let y = matmul::forward(gpu, &a.tensor, &b.tensor, None, &options).unwrap();
        let at = places(rows, BINDING / k);
        let slices = |filled: &Filled, width: usize| filled.slices(&times(&at, width), width, &[at.len(), width]);
        let got = vec![("y", read_slices(gpu, &y, &times(&at, n), n, &[at.len(), n]))];
        compare("matmul", vec![("a", slices(&a, k)), ("b", b.slices(&[0], k * n, &[k, n]))], &[], got);
    }
}

/// d_a = d_y b^T
#[test]
fn gradients_of_operands() {
    let gpu = &baseline();
    let [rows, k, n] = [34_000, 1000, 4];
    let (a, b) = (Filled::new(gpu, DType::F32, &[rows, k], 1), Filled::new(gpu, DType::F32, &[k, n], 2));
    let d_y = Filled::new(gpu, DType::F32, &[rows, n], 3);
    assert!(a.tensor.len() > BINDING);
    let d = matmul::backward(gpu, &a.tensor, &b.tensor, false, &d_y.tensor, &matmul::MatmulOptions::default()).unwrap();
    let at = places(rows, BINDING / k);
    let slices = |filled: &Filled, width: usize| filled.slices(&times(&at, width), width, &[at.len(), width]);
    let inputs = vec![("a", slices(&a, k)), ("b", b.slices(&[0], k * n, &[k, n])), ("d_y", slices(&d_y, n))];
    compare("matmul", inputs, &[], vec![("d_a", read_slices(gpu, &d.d_a, &times(&at, k), k, &[at.len(), k]))]);
}

#[test]
fn results_of_products() {
    let gpu = &baseline();
    let [rows, k, n] = [65_600, 3, 515];
    let (x, weight) = (Filled::new(gpu, DType::F32, &[rows, k], 1), Filled::new(gpu, DType::F32, &[n, k], 2));
    let y = wattn::ops::linear::forward(gpu, &x.tensor, &weight.tensor, None).unwrap();
    assert!(y.len() > BINDING);
    let at = places(rows, BINDING / n);
    let inputs = vec![("x", x.slices(&times(&at, k), k, &[at.len(), k])), ("weight", weight.slices(&[0], n * k, &[n, k]))];
    compare("linear", inputs, &[], vec![("y", read_slices(gpu, &y, &times(&at, n), n, &[at.len(), n]))]);
}

#[test]
fn weights() {
    let gpu = &baseline();
    let [queries, keys, columns] = [33_000, 1021, 3];
    let weights = Filled::new(gpu, DType::F32, &[queries, keys], 1);
    let (v, mask) = (Filled::new(gpu, DType::F32, &[keys, columns], 2), Filled::new(gpu, DType::U8, &[queries, keys], 3));
    let d_o = Filled::new(gpu, DType::F32, &[queries, columns], 4);
    assert!(weights.tensor.len() > BINDING);
    let o = weighted_sum::forward(gpu, &weights.tensor, &v.tensor, Some(&mask.tensor)).unwrap();
    let d = weighted_sum::backward(gpu, &weights.tensor, &v.tensor, Some(&mask.tensor), &d_o.tensor).unwrap();
    let at = places(queries, BINDING / keys);
    let slices = |filled: &Filled, width: usize| filled.slices(&times(&at, width), width, &[at.len(), width]);
    let inputs = vec![
        ("weights", slices(&weights, keys)),
        ("v", v.slices(&[0], keys * columns, &[keys, columns])),
        ("mask", slices(&mask, keys)),
        ("d_o", slices(&d_o, columns)),
    ];
    let got = [("o", &o, columns), ("d_weights", &d.d_weights, keys)];
    let got = got.map(|(name, tensor, width)| (name, read_slices(gpu, tensor, &times(&at, width), width, &[at.len(), width])));
    compare("weighted_sum", inputs, &[], got.into());
}

/// Keys and values that are each more than a binding: parts of them are attended to one after the other, and joined.
#[test]
fn keys_and_values() {
    let [keys, dim] = [263_000, 128];
    assert!(keys * dim > BINDING);
    attend_at(&baseline(), DType::F32, [keys, dim], &[0, BINDING / dim - QUERIES, BINDING / dim + 100, keys - QUERIES]);
}
