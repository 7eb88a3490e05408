//! A layer of a small transformer, with probabilities and without, and one query as in decoding.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::multi_head_attention::MultiHeadAttention;

const WITH: &[(&str, &str)] = &[("heads", "8")];
const WITHOUT: &[(&str, &str)] = &[("heads", "8"), ("probs", "false")];

const CASES: &[Case] = &[
    Case::new("small_both", "2,11/13,24", &[("heads", "4"), ("probs", "false")]).quick(),
    Case::new("layer_forward", "2,256,256", WITHOUT).edit(forward),
    Case::new("layer_both", "2,256,256", WITHOUT),
    Case::new("layer_with_probs_both", "2,256,256", WITH),
    Case::new("one_query_forward", "16,1/256,256", WITHOUT).edit(forward),
];

fn main() {
    let mut bench = Bench::new(&MultiHeadAttention);
    bench.cases(CASES);
    bench.timer.finish();
}
