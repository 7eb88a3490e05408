//! Many elements, with and without weights of each column.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward};
use wattn::Array;
use wattn::ops::Case;
use wattn::ops::binary_cross_entropy::BinaryCrossEntropy;

const CASES: &[Case] = &[
    Case::new("small_both", "7,65", &[]).quick(),
    Case::new("4096x1024_forward", "4096,1024", &[]).edit(forward),
    Case::new("4096x1024_both", "4096,1024", &[]),
    Case::new("4096x1024_weights_both", "4096,1024", &[]).edit(|tensors, rng| {
        for name in ["weight", "pos_weight"] {
            tensors.insert(name.into(), Array::f32(&[1024], (0..1024).map(|_| rng.uniform() as f32).collect()));
        }
    }),
];

fn main() {
    let mut bench = Bench::new(&BinaryCrossEntropy);
    bench.cases(CASES);
    bench.timer.finish();
}
