//! Random numbers for each element: four share a counter.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::dropout::Dropout;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65", &[]).quick(),
    Case::new("4m_forward", "4096,1024", &[("p", "0.1")]).edit(forward),
    Case::new("4m_both", "4096,1024", &[("p", "0.1")]),
];

fn main() {
    let mut bench = Bench::new(&Dropout);
    bench.cases(CASES);
    bench.timer.finish();
}
