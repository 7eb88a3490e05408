//! Taggers of a few tags over sentences, many tags, and one long sequence.

#[path = "../common/mod.rs"]
mod common;

use common::{Bench, forward, take};
use wattn::ops::crf::Crf;
use wattn::ops::{Arrays, Case};

const CASES: &[Case] = &[
    Case::new("small_both", "3,11,5", &[]).quick(),
    Case::new("b64_t64_k9_forward", "64,64,9", &[]).edit(forward),
    Case::new("b64_t64_k9_both", "64,64,9", &[]),
    Case::new("b32_t128_k48_both", "32,128,48", &[]),
    Case::new("b1_t4096_k17_both", "1,4096,17", &[]),
];

/// Sequences do not depend on each other, so one of them is verified: of what each has for itself.
const LARGE: &[Case] = &[
    Case::new("small_by_part", "5,3,4", &[]).quick().edit(forward),
    Case::new("b64_t512_k64_forward", "64,512,64", &[]).edit(forward),
    Case::new("b256_t512_k256_forward", "256,512,256", &[]).edit(forward),
    Case::new("b1_t4096_k256_forward", "1,4096,256", &[]).edit(forward),
];

/// A part: the last sequence. Its nll is the loss.
fn last_sequence(tensors: &Arrays) -> Arrays {
    let shared = |name: &str| ["transitions", "start", "end"].contains(&name);
    let own = tensors.iter().filter(|(name, _)| *name != "loss");
    let own = own.map(|(name, array)| (name.clone(), if shared(name) { array.clone() } else { take_last(array) }));
    let loss = tensors.get("nll").map(|nll| ("loss".into(), scalar(&take_last(nll))));
    own.chain(loss).collect()
}

fn take_last(array: &wattn::Array) -> wattn::Array {
    let last = array.shape()[0] - 1;
    match array.data() {
        wattn::Data::I32(values) => {
            let row = values.len() / array.shape()[0];
            wattn::Array::i32(&[&[1], &array.shape()[1..]].concat(), values[last * row..].to_vec())
        }
        _ => take(array, 0, &[last]),
    }
}

fn scalar(array: &wattn::Array) -> wattn::Array {
    wattn::Array::f32(&[], array.to_f64().into_iter().map(|x| x as f32).collect())
}

fn main() {
    let mut bench = Bench::new(&Crf);
    bench.cases(CASES);
    bench.large(LARGE, last_sequence);
    bench.timer.finish();
}
