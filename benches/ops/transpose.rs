//! Orders that keep neighbours together, and those that do not.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::transpose::Transpose;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65", &[]).quick(),
    Case::new("matrix_forward", "4096,1024", &[]).edit(forward),
    Case::new("heads_forward", "8,512,16,64", &[("axes", "0,2,1,3")]).edit(forward),
    Case::new("heads_both", "8,512,16,64", &[("axes", "0,2,1,3")]),
];

fn main() {
    let mut bench = Bench::new(&Transpose);
    bench.cases(CASES);
    bench.timer.finish();
}
