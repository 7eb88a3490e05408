//! Sequences of 64 and 512 steps, one of them and many at once, with hidden sizes from 64 to 1024.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/recurrent.rs"]
mod recurrent;

use common::{Bench, forward};
use recurrent::{last_sequence, upstream_of_last};
use wattn::ops::Case;
use wattn::ops::lstm::Lstm;

const CASES: &[Case] = &[
    Case::new("small_both", "5,3,7,11/5,2,2", &[]).quick(),
    Case::new("t64_b1_h64_forward", "64,1,64,64", &[]).edit(forward),
    Case::new("t64_b1_h256_forward", "64,1,256,256", &[]).edit(forward),
    Case::new("t64_b16_h256_forward", "64,16,256,256", &[]).edit(forward),
    Case::new("t64_b1_h1024_forward", "64,1,1024,1024", &[]).edit(forward),
];

/// Sequences are independent, so one of them is verified.
const BY_PART: &[Case] = &[
    Case::new("small_by_part", "5,3,7,11,2,2", &[]).quick().edit(upstream_of_last),
    Case::new("t64_b1_h64_both", "64,1,64,64", &[]).edit(upstream_of_last),
    Case::new("t64_b16_h64_both", "64,16,64,64", &[]).edit(upstream_of_last),
    Case::new("t64_b64_h64_both", "64,64,64,64", &[]).edit(upstream_of_last),
    Case::new("t64_b1_h256_both", "64,1,256,256", &[]).edit(upstream_of_last),
    Case::new("t64_b16_h256_both", "64,16,256,256", &[]).edit(upstream_of_last),
    Case::new("t64_b64_h256_both", "64,64,256,256", &[]).edit(upstream_of_last),
    Case::new("t512_b1_h64_both", "512,1,64,64", &[]).edit(upstream_of_last),
    Case::new("t512_b16_h64_both", "512,16,64,64", &[]).edit(upstream_of_last),
    Case::new("t512_b64_h64_both", "512,64,64,64", &[]).edit(upstream_of_last),
    Case::new("t512_b1_h256_both", "512,1,256,256", &[]).edit(upstream_of_last),
    Case::new("t512_b16_h256_both", "512,16,256,256", &[]).edit(upstream_of_last),
];

/// More than a software driver does in seconds.
const LARGE: &[Case] = &[
    Case::new("t64_b1_h1024_both", "64,1,1024,1024", &[]).edit(upstream_of_last),
    Case::new("t64_b16_h1024_both", "64,16,1024,1024", &[]).edit(upstream_of_last),
    Case::new("t64_b64_h1024_forward", "64,64,1024,1024", &[]).edit(forward),
    Case::new("t64_b64_h1024_both", "64,64,1024,1024", &[]).edit(upstream_of_last),
    Case::new("t512_b64_h256_forward", "512,64,256,256", &[]).edit(forward),
    Case::new("t512_b64_h256_both", "512,64,256,256", &[]).edit(upstream_of_last),
    Case::new("t512_b1_h1024_both", "512,1,1024,1024", &[]).edit(upstream_of_last),
    Case::new("t512_b16_h1024_both", "512,16,1024,1024", &[]).edit(upstream_of_last),
    Case::new("t512_b64_h1024_both", "512,64,1024,1024", &[]).edit(upstream_of_last),
];

fn main() {
    let mut bench = Bench::new(&Lstm);
    bench.cases(CASES);
    bench.parts(BY_PART, last_sequence);
    bench.large(LARGE, last_sequence);
    bench.timer.finish();
}
