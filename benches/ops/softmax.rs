//! Rows of several lengths: short ones waste invocations, long ones are read several times.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::Array;
use wattn::ops::Case;
use wattn::ops::softmax::Softmax;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65", &[]).quick(),
    Case::new("4096x1024_forward", "4096,1024", &[]).edit(forward),
    Case::new("4096x1024_both", "4096,1024", &[]),
    Case::new("4096x1024_log_both", "4096,1024", &[("log", "true")]),
    Case::new("4096x1024_mask_both", "4096,1024", &[]).edit(|tensors, rng| {
        let keep = (0..4096 * 1024).map(|_| u8::from(rng.below(2) > 0)).collect();
        tensors.insert("mask".into(), Array::u8(&[4096, 1024], keep));
    }),
    Case::new("short_rows_forward", "131072,32", &[]).edit(forward),
    Case::new("long_rows_forward", "64,65536", &[]).edit(forward),
];

fn main() {
    let mut bench = Bench::new(&Softmax);
    bench.cases(CASES);
    bench.timer.finish();
}
