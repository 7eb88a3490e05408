//! The queries of a model, in both layouts, and one step of decoding.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::rotary_embedding::RotaryEmbedding;

const CASES: &[Case] = &[
    Case::new("small_both", "2,3,17,64", &[]).quick(),
    Case::new("b4_h32_l1024_d128_forward", "4,32,1024,128", &[]).edit(forward),
    Case::new("b4_h32_l1024_d128_half_forward", "4,32,1024,128", &[("layout", "half")]).edit(forward),
    Case::new("b1_h8_l4096_d64_half_both", "1,8,4096,64", &[("layout", "half")]),
    Case::new("b16_h32_l1_d128_half_forward", "16,32,1,128", &[("layout", "half"), ("offset", "5000")]).edit(forward),
];

fn main() {
    let mut bench = Bench::new(&RotaryEmbedding);
    bench.cases(CASES);
    bench.timer.finish();
}
