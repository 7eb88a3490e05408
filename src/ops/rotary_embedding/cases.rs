//! The named cases: both layouts, rows that are rotated in part, one head and more than one invocation takes, positions near and far.

use crate::Array;
use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};

const HALF: (&str, &str) = ("layout", "half");

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one_pair", "1,1,1,2", &[]).quick(),
    Case::new("interleaved", "2,3,17,64", &[]).quick(),
    Case::new("half", "2,3,17,64", &[HALF]).quick(),
    Case::new("primes", "3,5,37,26", &[]),
    Case::new("primes_half", "3,5,37,26", &[HALF]),
    Case::new("part", "2,3,17,40", &[("dim", "24")]),
    Case::new("part_half", "2,3,17,40", &[("dim", "24"), HALF]),
    Case::new("odd_row", "2,3,7,5", &[("dim", "2"), HALF]),
    Case::new("heads_8", "2,8,5,16", &[]),
    Case::new("heads_9", "2,9,5,16", &[HALF]),
    Case::new("heads_31", "1,31,3,130", &[HALF]),
    Case::new("long_row", "1,2,3,5200", &[]),
    Case::new("base", "2,2,65,32", &[("base", "500000"), HALF]),
    Case::new("base_one", "2,2,65,6", &[("base", "1")]),
    Case::new("offset", "2,2,65,32", &[("offset", "131007")]),
    Case::new("offset_negative", "2,2,65,32", &[("offset", "-30"), HALF]),
    Case::new("offset_far", "1,2,65,32", &[("offset", "16777000")]),
    Case::new("positions", "3,2,19,32", &[]).edit(|tensors, rng| positions(tensors, rng, &[3, 19], 131_072)).quick(),
    Case::new("positions_shared", "3,9,19,32", &[HALF]).edit(|tensors, rng| positions(tensors, rng, &[19], 131_072)),
    Case::new("positions_near", "3,2,19,32", &[HALF]).edit(|tensors, rng| positions(tensors, rng, &[3, 19], 20)),
    Case::new("positions_part", "3,2,19,33", &[("dim", "8")]).edit(|tensors, rng| positions(tensors, rng, &[3, 19], 131_072)),
    Case::new("sequence", "1,8,512,64", &[HALF]),
    Case::new("forward_only", "2,3,17,64", &[]).edit(|tensors, _| drop(tensors.remove("d_y"))),
];

/// Positions below `most` to either side of 0.
fn positions(tensors: &mut Arrays, rng: &mut Rng, shape: &[usize], most: usize) {
    let drawn = (0..shape.iter().product()).map(|_| rng.below(2 * most - 1) as i32 - (most - 1) as i32).collect();
    tensors.insert("positions".into(), Array::i32(shape, drawn));
}
