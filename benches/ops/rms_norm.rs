//! Rows of several lengths, among them those that are read again and those that are too many for one slice.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::rms_norm::RmsNorm;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65", &[]).quick(),
    Case::new("4096x1024_forward", "4096,1024", &[]).edit(forward),
    Case::new("4096x1024_both", "4096,1024", &[]),
    Case::new("short_rows_both", "65536,64", &[]),
    Case::new("long_rows_both", "256,16384", &[]),
];

fn main() {
    let mut bench = Bench::new(&RmsNorm);
    bench.cases(CASES);
    bench.timer.finish();
}
