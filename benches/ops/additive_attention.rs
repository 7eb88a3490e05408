//! A translator's attention: a batch of sentences in training, and one step of a decoder.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::additive_attention::AdditiveAttention;

const CASES: &[Case] = &[
    Case::new("small_both", "2,7/19,12/18/14,21", &[]).quick(),
    Case::new("training_forward", "8,32/256,256,256", &[]).edit(forward),
    Case::new("training_both", "8,32/256,256,256", &[]),
    Case::new("decoder_step_forward", "64,1/64,256,256", &[]).edit(forward),
    Case::new("decoder_step_both", "64,1/64,256,256", &[]),
];

fn main() {
    let mut bench = Bench::new(&AdditiveAttention);
    bench.cases(CASES);
    bench.timer.finish();
}
