//! The tiled product, and how it compares with a naive one.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward, median, seconds, take, verify};
use wattn::gpu::{Bind, Binding, Kernel, Knobs, Params, Variant, Work};
use wattn::ops::matmul::Matmul;
use wattn::ops::{Arrays, Case, Operation};
use wattn::{Gpu, Result, Tensor};

const CASES: &[Case] = &[
    Case::new("65_forward", "65,67,63", &[]).edit(forward).quick(),
    Case::new("65_both", "65,67,63", &[("trans_a", "true")]).quick(),
    Case::new("512_forward", "512,512,512", &[]).edit(forward),
    Case::new("1024_forward", "1024,1024,1024", &[]).edit(forward),
    Case::new("1024_forward_trans_b", "1024,1024,1024", &[("trans_b", "true")]).edit(forward),
    Case::new("1024_forward_f16", "1024,1024,1024", &[("dtype", "f16")]).edit(forward),
    Case::new("1024_both", "1024,1024,1024", &[]),
    // The logits of 8 heads.
    Case::new("heads_forward", "8,512,64,512", &[("trans_b", "true")]).edit(forward),
    // Many small matrices.
    Case::new("small_batch_forward", "4096,16,16,16", &[]).edit(forward),
    Case::new("small_batch_both", "1024,32,32,32", &[]),
    // A row of a language model's last layer.
    Case::new("row_forward", "1,1024,16384", &[]).edit(forward),
    Case::new("row_forward_trans_b", "1,1024,16384", &[("trans_b", "true")]).edit(forward),
    Case::new("row_both", "1,1024,16384", &[]),
    Case::new("rows_forward", "4,1024,16384", &[]).edit(forward),
    Case::new("column_forward", "16384,1024,1", &[]).edit(forward),
    // The gradient of a small weight over a long batch.
    Case::new("long_sums_forward", "64,65536,64", &[("trans_a", "true")]).edit(forward),
];

const LARGE: &[Case] = &[
    Case::new("130_forward_by_part", "130,64,67", &[]).edit(forward).quick(),
    Case::new("4096_forward", "4096,4096,4096", &[]).edit(forward),
    Case::new("4096_forward_f16", "4096,4096,4096", &[("dtype", "f16")]).edit(forward),
];

/// Some rows of a and of y, of every tile's height.
fn rows(tensors: &Arrays) -> Arrays {
    let some = |(name, array): (&String, &wattn::Array)| {
        let rows = array.shape()[0];
        let spread: Vec<usize> = (0..16).map(|i| i * (rows - 1) / 15).collect();
        (name.clone(), if name == "b" { array.clone() } else { take(array, 0, &spread) })
    };
    tensors.iter().map(some).collect()
}

/// Both sides of a square workgroup, SIDE in the shader.
const SIDE: u32 = 16;

wattn::params! {
    /// As in naive_matmul.wgsl.
    struct NaiveParams { m: u32, n: u32, k: u32, padding: u32 }
}

static NAIVE: Kernel = Kernel {
    name: "bench/naive_matmul",
    source: include_str!("naive_matmul.wgsl"),
    params: NaiveParams::FIELDS,
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::write("y")],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Naive;

impl Variant for Naive {
    fn kernel(&self) -> &'static Kernel {
        &NAIVE
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("SIDE", SIDE)
    }
}

fn naive(gpu: &Gpu, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (&[m, k], &[_, n]) = (a.shape(), b.shape()) else { panic!("the naive product takes two matrices") };
    let y = gpu.empty(wattn::DType::F32, &[m, n])?;
    let params = NaiveParams { m: m as u32, n: n as u32, k: k as u32, padding: 0 };
    let binds = [Bind::Read(a.view()), Bind::Read(b.view()), Bind::Write(y.view())];
    let groups = [params.n.div_ceil(SIDE), params.m.div_ceil(SIDE), 1];
    gpu.dispatch(Naive, &params, &binds, groups, Work { flops: 2.0 * (m * n * k) as f64, bytes: 4.0 * (m * k + k * n + m * n) as f64 })?;
    Ok(y)
}

/// Times the naive product with the tiled one before each of its iterations, and prints how many times faster the tiled one is.
fn against_naive(bench: &mut Bench) -> Result<()> {
    let testing = bench.timer.testing();
    let (name, shape) = if testing { ("65_forward_naive", "65,67,63") } else { ("1024_forward_naive", "1024,1024,1024") };
    let request = bench.request(&Case::new(name, shape, &[]).edit(forward));
    let gpu = bench.timer.gpu.clone();
    let (a, b) = (gpu.upload(&request.tensors["a"])?, gpu.upload(&request.tensors["b"])?);
    let mut run_tiled = Matmul.prepare(&gpu, &request)?;
    let y = ("y".to_string(), naive(&gpu, &a, &b)?);
    let mut tiled = vec![];
    let mut naive = bench.timer.time(name, shape, Matmul.cost(&request)?, || {
        verify(&Matmul, &request, vec![y], None);
        |iterations| {
            let mut seconds_naive = vec![];
            for _ in 0..iterations {
                tiled.extend(seconds(&gpu, 1, || run_tiled().map(drop))?);
                seconds_naive.extend(seconds(&gpu, 1, || naive(&gpu, &a, &b).map(drop))?);
            }
            Ok(seconds_naive)
        }
    });
    if !testing && !tiled.is_empty() {
        let (tiled, naive) = (median(&mut tiled), median(&mut naive));
        let ms = 1e3;
        println!("matmul {shape} f32: tiled {:.1} ms, naive {:.1} ms, {:.1} times as fast", tiled * ms, naive * ms, naive / tiled);
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut bench = Bench::new(&Matmul);
    bench.cases(CASES);
    bench.large(LARGE, rows);
    against_naive(&mut bench)?;
    bench.timer.finish();
    Ok(())
}
