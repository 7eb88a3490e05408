//! Half of a tensor; the backward writes all of it.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::slice::Slice;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65", &[("axis", "1"), ("start", "3")]).quick(),
    Case::new("columns_forward", "4096,1024", &[("axis", "1"), ("end", "512")]).edit(forward),
    Case::new("columns_both", "4096,1024", &[("axis", "1"), ("end", "512")]),
    Case::new("every_other_forward", "4096,1024", &[("axis", "1"), ("step", "2")]).edit(forward),
];

fn main() {
    let mut bench = Bench::new(&Slice);
    bench.cases(CASES);
    bench.timer.finish();
}
