//! A language model's vocabulary, few rows of one, and many rows of few classes.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::cross_entropy::CrossEntropy;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65", &[]).quick(),
    Case::new("512x50000_forward", "512,50000", &[]).edit(forward),
    Case::new("512x50000_both", "512,50000", &[]),
    Case::new("512x50000_smooth_both", "512,50000", &[("label_smoothing", "0.1")]),
    Case::new("few_rows_both", "4,100000", &[]),
    Case::new("few_classes_both", "65536,10", &[]),
];

fn main() {
    let mut bench = Bench::new(&CrossEntropy);
    bench.cases(CASES);
    bench.timer.finish();
}
