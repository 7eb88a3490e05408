//! Sequences of 64 and 512 steps, one of them and many at once, with hidden sizes from 64 to 1024.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/recurrent.rs"]
mod recurrent;

use common::Bench;
use recurrent::{last_sequence, upstream_of_last};
use wattn::ops::Case;
use wattn::ops::gru::Gru;

const BEFORE: &[(&str, &str)] = &[("reset", "before")];

const CASES: &[Case] = &[
    Case::new("small_both", "5,3,7,11,2,2", &[]).quick(),
    Case::new("small_before_both", "5,3,7,11,2,2", BEFORE).quick(),
    Case::new("t64_b16_h64_both", "64,16,64,64", &[]),
    Case::new("t64_b16_h256_both", "64,16,256,256", &[]),
    Case::new("t64_b16_h256_before_both", "64,16,256,256", BEFORE),
];

const LARGE: &[Case] = &[
    Case::new("small_by_part", "5,3,7,11,2,2", &[]).quick().edit(upstream_of_last),
    Case::new("t512_b64_h256_both", "512,64,256,256", &[]).edit(upstream_of_last),
    Case::new("t64_b64_h1024_both", "64,64,1024,1024", &[]).edit(upstream_of_last),
];

fn main() {
    let mut bench = Bench::new(&Gru);
    bench.cases(CASES);
    bench.large(LARGE, last_sequence);
    bench.timer.finish();
}
