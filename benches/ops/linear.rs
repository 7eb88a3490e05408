//! The first layer of a feed-forward block: a batch of tokens, and a single one.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::linear::Linear;

const CASES: &[Case] = &[
    Case::new("small_both", "5,37,29", &[]).quick(),
    Case::new("512_tokens_forward", "512,512,2048", &[]).edit(forward),
    Case::new("512_tokens_both", "512,512,2048", &[]),
    Case::new("one_token_forward", "1,512,2048", &[]).edit(forward),
];

fn main() {
    let mut bench = Bench::new(&Linear);
    bench.cases(CASES);
    bench.timer.finish();
}
