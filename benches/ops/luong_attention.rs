//! A translator's attention in training by each score, and one step of a decoder.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::luong_attention::LuongAttention;

const CASES: &[Case] = &[
    Case::new("small_both", "2,5/12,8/8/11", &[("score", "cosine")]).quick(),
    Case::new("dot_both", "8,32/256,256", &[]),
    Case::new("general_both", "8,32/256,256", &[("score", "general")]),
    Case::new("concat_both", "8,32/256,256,256", &[("score", "concat")]),
    Case::new("cosine_both", "8,32/256,256", &[("score", "cosine")]),
    Case::new("general_decoder_step_forward", "64,1/64,256", &[("score", "general")]).edit(forward),
];

fn main() {
    let mut bench = Bench::new(&LuongAttention);
    bench.cases(CASES);
    bench.timer.finish();
}
