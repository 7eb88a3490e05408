//! What is moved should decide; with gelu a device with much bandwidth may be slower than that.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::activation::Activation;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65", &[("kind", "gelu")]).quick(),
    Case::new("relu_forward", "4096,1024", &[]).edit(forward),
    Case::new("gelu_forward", "4096,1024", &[("kind", "gelu")]).edit(forward),
    Case::new("gelu_both", "4096,1024", &[("kind", "gelu")]),
    Case::new("silu_both", "4096,1024", &[("kind", "silu")]),
];

fn main() {
    let mut bench = Bench::new(&Activation);
    bench.cases(CASES);
    bench.timer.finish();
}
