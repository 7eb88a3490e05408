//! The attention-weighted sum of 8 heads, with and without a mask, and of one query as in decoding.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::Array;
use wattn::ops::philox::Rng;
use wattn::ops::weighted_sum::WeightedSum;
use wattn::ops::{Arrays, Case};

const CASES: &[Case] = &[
    Case::new("small_both", "2,17,65,9", &[]).quick(),
    Case::new("heads_forward", "8,512,512,64", &[]).edit(forward),
    Case::new("heads_mask_forward", "8,512,512,64", &[]).edit(|tensors, rng| {
        forward(tensors, rng);
        mask(tensors, rng);
    }),
    Case::new("heads_both", "8,512,512,64", &[]),
    Case::new("heads_mask_both", "8,512,512,64", &[]).edit(mask),
    Case::new("one_query_forward", "64,1,4096,64", &[]).edit(forward),
];

/// Hides half of the pairs, the same for every head.
fn mask(tensors: &mut Arrays, rng: &mut Rng) {
    let keep = (0..512 * 512).map(|_| u8::from(rng.below(2) > 0)).collect();
    tensors.insert("mask".into(), Array::u8(&[512, 512], keep));
}

fn main() {
    let mut bench = Bench::new(&WeightedSum);
    bench.cases(CASES);
    bench.timer.finish();
}
