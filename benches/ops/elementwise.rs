//! What is moved decides; an operand that is repeated is read from a cache.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::elementwise::Elementwise;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65/1", &[("kind", "mul")]).quick(),
    Case::new("add_forward", "4096,1024", &[]).edit(forward),
    Case::new("mul_both", "4096,1024", &[("kind", "mul")]),
    Case::new("bias_both", "4096/1,1024", &[]),
];

fn main() {
    let mut bench = Bench::new(&Elementwise);
    bench.cases(CASES);
    bench.timer.finish();
}
