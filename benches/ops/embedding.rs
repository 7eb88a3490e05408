//! A language model's vocabulary, and one so small that nearly all ids are alike.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::embedding::Embedding;

const CASES: &[Case] = &[
    Case::new("small_both", "7,13,23,17", &[]).quick(),
    Case::new("16384_of_50000x256_forward", "16384,50000,256", &[]).edit(forward),
    Case::new("16384_of_50000x256_both", "16384,50000,256", &[]),
    Case::new("16384_of_2x256_both", "16384,2,256", &[]),
];

fn main() {
    let mut bench = Bench::new(&Embedding);
    bench.cases(CASES);
    bench.timer.finish();
}
