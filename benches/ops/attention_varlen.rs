//! Packed sequences: the padding that they save, and what many short ones cost.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::ops::Case;
use wattn::ops::attention_varlen::AttentionVarlen;

const CAUSAL: &[(&str, &str)] = &[("causal", "true")];
const UNEVEN: &str = "512/64/130/17/301,8,64";
const SHORT: &str = "31/29/37/23/41/19/43/17/47/13/53/11/59/7/61/5/32/32/32/32/32/32/32/32/32/32/32/32/32/32/32/32,8,64";

const CASES: &[Case] = &[
    Case::new("small_both", "17/0/33,2,16", CAUSAL).quick(),
    Case::new("uneven_forward", UNEVEN, CAUSAL).edit(forward),
    Case::new("uneven_both", UNEVEN, CAUSAL),
    Case::new("short_forward", SHORT, CAUSAL).edit(forward),
    Case::new("short_both", SHORT, CAUSAL),
];

fn main() {
    let mut bench = Bench::new(&AttentionVarlen);
    bench.cases(CASES);
    bench.timer.finish();
}
