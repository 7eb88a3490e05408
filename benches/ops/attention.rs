//! 8 heads of 64, with and without causality, forward alone and with the backward.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward, take};
use wattn::ops::attention::Attention;
use wattn::ops::{Arrays, Case};

const CAUSAL: &[(&str, &str)] = &[("causal", "true")];

const CASES: &[Case] = &[
    Case::new("small_both", "1,2,17/33,16", CAUSAL).quick(),
    Case::new("512_forward", "1,8,512,64", &[]).edit(forward),
    Case::new("512_causal_forward", "1,8,512,64", CAUSAL).edit(forward),
    Case::new("512_both", "1,8,512,64", &[]),
    Case::new("512_causal_both", "1,8,512,64", CAUSAL),
    Case::new("1024_forward", "1,8,1024,64", &[]).edit(forward),
    Case::new("1024_causal_forward", "1,8,1024,64", CAUSAL).edit(forward),
    Case::new("1024_both", "1,8,1024,64", &[]),
    Case::new("1024_causal_both", "1,8,1024,64", CAUSAL),
    Case::new("decode_forward", "8,8,1/2048,64", &[]).edit(forward),
];

const LARGE: &[Case] = &[
    Case::new("small_by_part", "2,3,17/33,16", CAUSAL).quick(),
    Case::new("4096_causal_forward", "2,16,4096,128", CAUSAL).edit(forward),
    Case::new("4096_causal_both", "2,16,4096,128", CAUSAL),
];

/// The last head of the last batch.
fn one_head(tensors: &Arrays) -> Arrays {
    let last = |array: &wattn::Array| take(&take(array, 0, &[array.shape()[0] - 1]), 1, &[array.shape()[1] - 1]);
    tensors.iter().map(|(name, array)| (name.clone(), last(array))).collect()
}

fn main() {
    let mut bench = Bench::new(&Attention);
    bench.cases(CASES);
    bench.large(LARGE, one_head);
    bench.finish();
}
