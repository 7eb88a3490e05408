//! Two halves of a row, as the directions of a recurrent layer are put together.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::concat::Concat;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65/3", &[("axis", "1")]).quick(),
    Case::new("columns_forward", "4096,512/512", &[("axis", "1")]).edit(forward),
    Case::new("columns_both", "4096,512/512", &[("axis", "1")]),
];

fn main() {
    let mut bench = Bench::new(&Concat);
    bench.cases(CASES);
    bench.timer.finish();
}
