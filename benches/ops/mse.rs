//! Many elements: what counts is the memory that is read.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::mse::Mse;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65", &[]).quick(),
    Case::new("4096x1024_forward", "4096,1024", &[]).edit(forward),
    Case::new("4096x1024_both", "4096,1024", &[]),
];

fn main() {
    let mut bench = Bench::new(&Mse);
    bench.cases(CASES);
    bench.timer.finish();
}
