//! Heads of 64, by the fused and by the composed path: with and without causality, windows, masks, forward alone and with the backward; decoding;
//! and the memory that forward and backward take at lengths from 1k to 16k.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward, take};
use wattn::ops::attention::{self, Attention, AttentionOptions, Inputs};
use wattn::ops::philox::Rng;
use wattn::ops::{Arrays, Case};
use wattn::{Array, Result};

const CAUSAL: &[(&str, &str)] = &[("causal", "true")];
const COMPOSED: &[(&str, &str)] = &[("path", "composed")];
const CAUSAL_COMPOSED: &[(&str, &str)] = &[("causal", "true"), ("path", "composed")];
const WINDOW: &[(&str, &str)] = &[("causal", "true"), ("window_left", "127")];

const CASES: &[Case] = &[
    Case::new("small_both", "1,2,17/33,16", CAUSAL).quick(),
    Case::new("small_composed_both", "1,2,17/33,16", CAUSAL_COMPOSED).quick(),
    Case::new("1024_forward", "1,8,1024,64", &[]).edit(forward),
    Case::new("1024_causal_forward", "1,8,1024,64", CAUSAL).edit(forward),
    Case::new("1024_composed_forward", "1,8,1024,64", COMPOSED).edit(forward),
    Case::new("1024_both", "1,8,1024,64", &[]),
    Case::new("1024_causal_both", "1,8,1024,64", CAUSAL),
    Case::new("1024_composed_both", "1,8,1024,64", COMPOSED),
    Case::new("1024_causal_composed_both", "1,8,1024,64", CAUSAL_COMPOSED),
    Case::new("1024_everything_both", "1,8,1024,64", CAUSAL).edit(everything),
    Case::new("1024_dim_128_both", "1,4,1024,128", &[]),
    Case::new("4096_forward", "1,2,4096,64", &[]).edit(forward),
    Case::new("4096_window_forward", "1,2,4096,64", WINDOW).edit(forward),
    Case::new("4096_both", "1,1,4096,64", &[]),
    Case::new("4096_window_both", "1,1,4096,64", WINDOW),
    Case::new("decode_forward", "8,8,1/2048,64", &[]).edit(forward),
    Case::new("decode_composed_forward", "8,8,1/2048,64", COMPOSED).edit(forward),
];

/// A mask, a bias with a gradient, slopes and key lengths.
fn everything(tensors: &mut Arrays, rng: &mut Rng) {
    let keep = (0..1024 * 1024).map(|_| u8::from(rng.uniform() < 0.9)).collect();
    tensors.insert("mask".into(), Array::u8(&[1024, 1024], keep));
    tensors.insert("bias".into(), Array::f32(&[8, 1, 1024], rng.normals(8 * 1024)));
    tensors.insert("alibi_slopes".into(), Array::f32(&[8], (1..=8).map(|h| (-h as f32).exp2()).collect()));
    tensors.insert("kv_lengths".into(), Array::i32(&[1], vec![1000]));
}

const LARGE: &[Case] = &[
    Case::new("small_by_part", "2,3,17/33,16", CAUSAL).quick(),
    Case::new("4096_causal_forward", "2,16,4096,128", CAUSAL).edit(forward),
    Case::new("4096_causal_both", "2,16,4096,128", CAUSAL),
];

/// The last head of the last batch.
fn one_head(tensors: &Arrays) -> Arrays {
    let last = |array: &Array| take(&take(array, 0, &[array.shape()[0] - 1]), 1, &[array.shape()[1] - 1]);
    tensors.iter().map(|(name, array)| (name.clone(), last(array))).collect()
}

/// Prints the device memory of forward and backward, beside what inputs, outputs and gradients take. The longer lengths take minutes on a
/// driver that runs on the CPU.
fn memory(bench: &Bench) {
    let (gpu, options) = (&bench.timer.gpu, AttentionOptions { causal: true, ..Default::default() });
    let longest = if bench.timer.testing() { 256 } else { 16_384 };
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    if wanted.is_some_and(|filter| !"attention/memory".contains(&filter)) {
        return;
    }
    for seq in (8..15).map(|n| 1 << n).filter(|&seq| seq <= longest && (seq >= 1024 || bench.timer.testing())) {
        let shape = [1, 4, seq, 64];
        let draw = |seed| gpu.tensor(&Rng::new(seed).normals(4 * seq * 64), &shape);
        let run = || -> Result<(u64, u64)> {
            let (q, k, v, d_o) = (draw(1)?, draw(2)?, draw(3)?, draw(4)?);
            let inputs = Inputs::new(&q, &k, &v);
            gpu.reset_peak();
            let attended = attention::forward(gpu, &inputs, &options)?;
            let d = attention::backward(gpu, &inputs, &attended, &d_o, &options)?;
            gpu.finish()?;
            let tensors = [&q, &k, &v, &d_o, &attended.o, &attended.lse, &d.d_q, &d.d_k, &d.d_v];
            Ok((gpu.memory().peak, tensors.iter().map(|tensor| tensor.bytes()).sum()))
        };
        match run() {
            Ok((peak, tensors)) => {
                let beyond = 100.0 * (peak as f64 / tensors as f64 - 1.0);
                println!("attention/memory/{seq}: {peak} bytes at the peak, {tensors} in tensors, {beyond:.1} % beyond");
            }
            Err(error) => panic!("attention/memory/{seq}: {error}"),
        }
    }
}

fn main() {
    let mut bench = Bench::new(&Attention);
    bench.cases(CASES);
    bench.large(LARGE, one_head);
    memory(&bench);
    bench.timer.finish();
}
