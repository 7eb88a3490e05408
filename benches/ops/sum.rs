//! Sums along rows, along columns and over everything: the order in which memory is read differs.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::sum::Sum;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65", &[("axes", "0")]).quick(),
    Case::new("rows_forward", "4096,1024", &[("axes", "1")]).edit(forward),
    Case::new("columns_forward", "4096,1024", &[("axes", "0")]).edit(forward),
    Case::new("columns_both", "4096,1024", &[("axes", "0")]),
    Case::new("all_forward", "4096,1024", &[]).edit(forward),
    // The gradient of a bias that is repeated along batch and queries.
    Case::new("ends_forward", "64,64,1024", &[("axes", "0,2")]).edit(forward),
];

fn main() {
    let mut bench = Bench::new(&Sum);
    bench.cases(CASES);
    bench.timer.finish();
}
