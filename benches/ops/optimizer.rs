//! One step on many parameters: what is moved decides.

#[path = "../common/mod.rs"]
mod common;

use common::Bench;
use wattn::ops::Case;
use wattn::ops::optimizer::Optimize;

const CASES: &[Case] = &[
    Case::new("small_adam", "1,7,65", &[("kind", "adam")]).quick(),
    Case::new("sgd_1m", "1,1024,1024", &[]),
    Case::new("sgd_momentum_1m", "1,1024,1024", &[("momentum", "0.9")]),
    Case::new("adam_1m", "1,1024,1024", &[("kind", "adam")]),
    Case::new("adamw_amsgrad_1m", "1,1024,1024", &[("kind", "adamw"), ("amsgrad", "true"), ("weight_decay", "0.01")]),
    Case::new("adam_clip_1m", "1,1024,1024", &[("kind", "adam"), ("clip_grad_norm", "1")]),
];

fn main() {
    let mut bench = Bench::new(&Optimize);
    bench.cases(CASES);
    bench.timer.finish();
}
