//! Tensors as large as the device allows, up to the 2³¹ elements that operations take, compared in slices. They need gigabytes and minutes,
//! so plain `cargo test` leaves them out: scripts/test-sizes.sh runs them one after the other.
//!
//! A test for which there is too little memory says so by name. Software drivers use the machine's memory, which is looked at before; a
//! GPU's own is not, and running out of it fails the test.

#[path = "../common/mod.rs"]
mod common;
mod fill;

use wattn::ops::attention::{self, AttentionOptions};
use wattn::ops::recurrent::{Inputs, Options, Upstream, Weights};
use wattn::ops::softmax::{self, SoftmaxOptions};
use wattn::ops::{linear, lstm, matmul, sum, weighted_sum};
use wattn::{DType, Gpu, GpuOptions};

use fill::{Filled, QUERIES, attend_at, compare, places, read_slices};

/// The most elements that an operation takes.
const MOST: u64 = 1 << 31;

/// The device, unless it uses the machine's memory and `wanted` bytes and a gibibyte more are not free.
fn device(test: &str, wanted: impl Fn(&Gpu) -> u64) -> Option<Gpu> {
    let gpu = common::open(GpuOptions::default());
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let wanted = wanted(&gpu);
    match free().filter(|&free| gpu.caps().software && free < wanted + (1 << 30)) {
        Some(free) => {
            println!("NOT RUN: {test} needs {:.1} GiB, and {:.1} GiB are free", gib(wanted), gib(free));
            None
        }
        None => {
            println!("{test}: {:.1} GiB", gib(wanted));
            Some(gpu)
        }
    }
}

/// Bytes of memory that can be had, where the system says so.
fn free() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// The most elements of a tensor on this device.
fn most(gpu: &Gpu, dtype: DType) -> usize {
    MOST.min(gpu.caps().max_buffer / dtype.bytes() as u64) as usize
}

/// The rows that the largest tensor has.
fn rows(gpu: &Gpu, dtype: DType, columns: usize) -> usize {
    let rows = most(gpu, dtype) / columns;
    println!("  {rows} x {columns} {dtype}: {} of 2^31 elements", rows * columns);
    rows
}

/// f16 where the device has it: twice as many elements.
fn float(gpu: &Gpu) -> DType {
    if gpu.caps().f16 { DType::F16 } else { DType::F32 }
}

/// Bytes of the largest tensor.
fn largest(gpu: &Gpu, dtype: DType) -> u64 {
    (most(gpu, dtype) * dtype.bytes()) as u64
}

fn times(places: &[usize], n: usize) -> Vec<usize> {
    places.iter().map(|place| place * n).collect()
}

/// Rows that are compared: a binding holds so many of this width.
fn sampled(gpu: &Gpu, dtype: DType, rows: usize, columns: usize) -> Vec<usize> {
    places(rows, gpu.caps().max_binding as usize / dtype.bytes() / columns)
}

#[test]
fn sums() {
    let Some(gpu) = &device("sums", |gpu| largest(gpu, float(gpu))) else { return };
    let (dtype, columns) = (float(gpu), 32_771);
    let rows = rows(gpu, dtype, columns);
    let x = Filled::new(gpu, dtype, &[rows, columns], 1);
    let over = |axis| sum::forward(gpu, &x.tensor, &sum::SumOptions { axes: Some(vec![axis]), keepdim: false }).unwrap();
    let at = sampled(gpu, dtype, rows, columns);
    let got = vec![("y", read_slices(gpu, &over(1), &at, 1, &[at.len()]))];
    compare("sum", vec![("x", x.slices(&times(&at, columns), columns, &[at.len(), columns]))], &[("axes", "1")], got);
    let at = places(columns, columns);
    let firsts: Vec<usize> = (0..rows).flat_map(|row| at.iter().map(move |column| row * columns + column)).collect();
    let got = vec![("y", read_slices(gpu, &over(0), &at, 1, &[at.len()]))];
    compare("sum", vec![("x", x.slices(&firsts, 1, &[rows, at.len()]))], &[("axes", "0")], got);
}

#[test]
fn softmax_rows() {
    let Some(gpu) = &device("softmax", |gpu| largest(gpu, DType::F32) / 4 * 13) else { return };
    let columns = 4099;
    let rows = rows(gpu, DType::F32, columns);
    let mask = Filled::new(gpu, DType::U8, &[rows, columns], 2);
    let options = SoftmaxOptions::default();
    let at = sampled(gpu, DType::F32, rows, columns);
    let (firsts, shape) = (times(&at, columns), [at.len(), columns]);
    let slices = |filled: &Filled| filled.slices(&firsts, columns, &shape);
    let x = Filled::new(gpu, DType::F32, &[rows, columns], 1);
    let softmaxed = softmax::forward(gpu, &x.tensor, Some(&mask.tensor), &options).unwrap();
    let mut inputs = vec![("x", slices(&x)), ("mask", slices(&mask))];
    // d_y takes the memory that x leaves.
    drop(x);
    let d_y = Filled::new(gpu, DType::F32, &[rows, columns], 3);
    let d_x = softmax::backward(gpu, &softmaxed.y, Some(&mask.tensor), &d_y.tensor, &options).unwrap();
    inputs.push(("d_y", slices(&d_y)));
    let got = [("y", &softmaxed.y), ("d_x", &d_x)].map(|(name, tensor)| (name, read_slices(gpu, tensor, &firsts, columns, &shape)));
    let lse = ("lse", read_slices(gpu, &softmaxed.lse, &at, 1, &[at.len()]));
    compare("softmax", inputs, &[], got.into_iter().chain([lse]).collect());
}

#[test]
fn operands_of_products() {
    let Some(gpu) = &device("matmul", |gpu| largest(gpu, float(gpu))) else { return };
    let (dtype, k, n) = (float(gpu), 4093, 3);
    let rows = rows(gpu, dtype, k);
    let (a, b) = (Filled::new(gpu, dtype, &[rows, k], 1), Filled::new(gpu, dtype, &[k, n], 2));
    let y = matmul::forward(gpu, &a.tensor, &b.tensor, None, &matmul::MatmulOptions::default()).unwrap();
    let at = sampled(gpu, dtype, rows, k);
    let inputs = vec![("a", a.slices(&times(&at, k), k, &[at.len(), k])), ("b", b.slices(&[0], k * n, &[k, n]))];
    let name = dtype.to_string();
    compare("matmul", inputs, &[("dtype", &name)], vec![("y", read_slices(gpu, &y, &times(&at, n), n, &[at.len(), n]))]);
}

#[test]
fn results_of_products() {
    let Some(gpu) = &device("linear", |gpu| largest(gpu, DType::F32) / 8 * 9) else { return };
    let (k, n) = (8, 64);
    let rows = rows(gpu, DType::F32, n);
    let (x, weight) = (Filled::new(gpu, DType::F32, &[rows, k], 1), Filled::new(gpu, DType::F32, &[n, k], 2));
    let y = linear::forward(gpu, &x.tensor, &weight.tensor, None).unwrap();
    let at = sampled(gpu, DType::F32, rows, n);
    let inputs = vec![("x", x.slices(&times(&at, k), k, &[at.len(), k])), ("weight", weight.slices(&[0], n * k, &[n, k]))];
    compare("linear", inputs, &[], vec![("y", read_slices(gpu, &y, &times(&at, n), n, &[at.len(), n]))]);
}

#[test]
fn weights() {
    let Some(gpu) = &device("weighted_sum", |gpu| largest(gpu, DType::F32) / 4 * 5) else { return };
    let (keys, columns) = (4099, 3);
    let queries = rows(gpu, DType::F32, keys);
    let weights = Filled::new(gpu, DType::F32, &[queries, keys], 1);
    let (v, mask) = (Filled::new(gpu, DType::F32, &[keys, columns], 2), Filled::new(gpu, DType::U8, &[queries, keys], 3));
    let o = weighted_sum::forward(gpu, &weights.tensor, &v.tensor, Some(&mask.tensor)).unwrap();
    let at = sampled(gpu, DType::F32, queries, keys);
    let slices = |filled: &Filled| filled.slices(&times(&at, keys), keys, &[at.len(), keys]);
    let inputs = vec![("weights", slices(&weights)), ("v", v.slices(&[0], keys * columns, &[keys, columns])), ("mask", slices(&mask))];
    compare("weighted_sum", inputs, &[], vec![("o", read_slices(gpu, &o, &times(&at, columns), columns, &[at.len(), columns]))]);
}

#[test]
fn keys_and_values() {
    let Some(gpu) = &device("attention", |gpu| 2 * largest(gpu, float(gpu))) else { return };
    let (dtype, dim) = (float(gpu), 128);
    let keys = rows(gpu, dtype, dim);
    // Not at every binding's end: each place is a call.
    let places = sampled(gpu, dtype, keys - QUERIES, dim).into_iter().step_by(7).chain([keys - QUERIES]).collect::<Vec<_>>();
    attend_at(gpu, dtype, [keys, dim], &places);
}

/// A mask of as many pairs, of which each query sees a window; and dropout, whose random elements are counted over all pairs.
#[test]
fn pairs() {
    let Some(gpu) = &device("attention's mask", |gpu| largest(gpu, DType::U8) / 8 * 9) else { return };
    let (side, dim, window, each) = (most(gpu, DType::U8).isqrt(), 8, 50, 8);
    println!("  {side} x {side} u8: {} of 2^31 elements", side * side);
    let mask = Filled::new(gpu, DType::U8, &[side, side], 4);
    let [q, k, v] = [1, 2, 3].map(|seed| Filled::new(gpu, DType::F32, &[1, 1, side, dim], seed));
    let inputs = attention::Inputs { mask: Some(&mask.tensor), ..attention::Inputs::new(&q.tensor, &k.tensor, &v.tensor) };
    let (left, right) = (Some(window as u32), Some(window as u32));
    let options = AttentionOptions { window_left: left, window_right: right, ..Default::default() };
    let attended = attention::forward(gpu, &inputs, &options).unwrap();
    for row in sampled(gpu, DType::U8, side - each + 1, side) {
        let first = row.saturating_sub(window);
        let seen = (row + each + window).min(side) - first;
        let rows = |filled: &Filled, from: usize, count: usize| filled.slices(&[from * dim], count * dim, &[1, 1, count, dim]);
        let pairs: Vec<usize> = (row..row + each).map(|i| i * side + first).collect();
        let inputs = vec![
            ("q", rows(&q, row, each)),
            ("k", rows(&k, first, seen)),
            ("v", rows(&v, first, seen)),
            ("mask", mask.slices(&pairs, seen, &[each, seen])),
        ];
        let (offset, window) = ((row - first).to_string(), window.to_string());
        let settings = [("offset", offset.as_str()), ("window_left", &window), ("window_right", &window)];
        let got = vec![
            ("o", read_slices(gpu, &attended.o, &[row * dim], each * dim, &[1, 1, each, dim])),
            ("lse", read_slices(gpu, &attended.lse, &[row], each, &[1, 1, each])),
        ];
        compare("attention", inputs, &settings, got);
    }
}

/// The gates of all steps are the largest tensor: four for each unit.
#[test]
fn recurrent_steps() {
    let Some(gpu) = &device("lstm", |gpu| largest(gpu, DType::F32) / 4 * 8) else { return };
    // A step of the backward binds the gates of two times, which must fit a binding.
    let (time, hidden) = (64, 16);
    let batch = rows(gpu, DType::F32, 4 * hidden) / time;
    let x = Filled::new(gpu, DType::F32, &[time, batch, 1], 1);
    let weights = [("weight_ih_l0", 1), ("weight_hh_l0", hidden)].map(|(name, columns)| {
        let weight = Filled::new(gpu, DType::F32, &[4 * hidden, columns], columns as u64);
        (name, weight.slices(&[0], 4 * hidden * columns, &[4 * hidden, columns]), weight)
    });
    let own = [Weights { weight_ih: &weights[0].2.tensor, weight_hh: &weights[1].2.tensor, bias: None, weight_hr: None, peep: None }];
    let inputs = Inputs::new(&x.tensor, &own);
    let d_y = Filled::new(gpu, DType::F32, &[time, batch, hidden], 3);
    let (outputs, saved) = lstm::forward_saving(gpu, &inputs, &Options::default()).unwrap();
    let d = lstm::backward(gpu, &inputs, saved, &Upstream { d_y: Some(&d_y.tensor), ..Default::default() }).unwrap();
    let at = places(batch, batch / 5);
    let steps = |columns: usize| (0..time).flat_map(|t| at.iter().map(move |b| (t * batch + b) * columns)).collect::<Vec<_>>();
    let mut given =
        vec![("x", x.slices(&steps(1), 1, &[time, at.len(), 1])), ("d_y", d_y.slices(&steps(hidden), hidden, &[time, at.len(), hidden]))];
    given.extend(weights.iter().map(|(name, array, _)| (*name, array.clone())));
    let got = vec![
        ("y", read_slices(gpu, &outputs.y, &steps(hidden), hidden, &[time, at.len(), hidden])),
        ("hn", read_slices(gpu, &outputs.hn, &times(&at, hidden), hidden, &[1, at.len(), hidden])),
        ("d_x", read_slices(gpu, &d.d_x, &steps(1), 1, &[time, at.len(), 1])),
    ];
    compare("lstm", given, &[], got);
}
