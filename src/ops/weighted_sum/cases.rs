//! The named cases: every edge of tiles of 16, 32 and 64, patterns of broadcasting, masks, values that must reach nothing.

use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1,1", &[]).quick(),
    Case::new("primes", "2,13,7,11", &[]),
    Case::new("tile_16_minus_1", "15,15,15", &[]),
    Case::new("tile_16", "16,16,16", &[]),
    Case::new("tile_16_plus_1", "17,17,17", &[]),
    Case::new("tile_32_mixed", "31,33,32", &[]),
    Case::new("tile_64_minus_1", "63,63,63", &[]),
    Case::new("tile_64", "64,64,64", &[]),
    Case::new("tile_64_plus_1", "65,65,65", &[]),
    Case::new("two_tiles", "128,128,128", &[]).edit(|tensors, rng| mask(tensors, rng, &[128, 128])),
    Case::new("three_ragged_tiles", "131,129,130", &[]).edit(|tensors, rng| mask(tensors, rng, &[131, 129])),
    Case::new("one_query", "3,1,257,65", &[]),
    Case::new("one_key", "3,65,1,33", &[]),
    Case::new("one_column", "65,33,1", &[]),
    Case::new("keys_4096", "3,4096,5", &[]),
    // Cut along the keys on drivers that stop long loops.
    Case::new("keys_40001_hide_nan", "1,2,40001,3", &[]).edit(hidden_nan),
    Case::new("batch_repeats_weights", "1/3,17,19,23", &[]),
    Case::new("batch_repeats_v", "3/1,17,19,23", &[]),
    Case::new("batch_repeats_both", "2/1,1/3,17,33,16", &[]).edit(|tensors, rng| mask(tensors, rng, &[2, 1, 17, 33])).quick(),
    Case::new("batch_repeats_middle", "2,3/1,2,9,17,16", &[]).edit(|tensors, rng| mask(tensors, rng, &[3, 1, 1, 17])),
    Case::new("batch_shorter_v", "3/1,9,17,33", &[]).edit(|tensors, _| {
        if let Some(Data::F32(v)) = tensors.get("v").map(|t| t.data().clone()) {
            tensors.insert("v".into(), Array::f32(&[17, 33], v));
        }
    }),
    Case::new("mask", "2,33,67,31", &[]).edit(|tensors, rng| mask(tensors, rng, &[2, 33, 67])),
    Case::new("mask_keys", "2,33,67,31", &[]).edit(|tensors, rng| mask(tensors, rng, &[2, 1, 67])),
    Case::new("mask_whole_queries", "2,33,67,31", &[]).edit(|tensors, rng| mask(tensors, rng, &[33, 1])),
    Case::new("mask_everything", "17,33,5", &[]).edit(|tensors, _| {
        tensors.insert("mask".into(), Array::u8(&[1], vec![0]));
    }),
    Case::new("mask_hides_nan", "2,19,67,31", &[]).edit(hidden_nan).quick(),
    Case::new("mask_hides_nan_tiles", "1,70,131,65", &[]).edit(hidden_nan),
    Case::new("forward_only", "17,33,65", &[]).edit(|tensors, rng| {
        tensors.remove("d_o");
        mask(tensors, rng, &[33]);
    }),
];

/// A mask of this shape that keeps about two thirds.
fn mask(tensors: &mut Arrays, rng: &mut Rng, shape: &[usize]) {
    let keep = (0..shape.iter().product()).map(|_| u8::from(rng.below(3) > 0)).collect();
    tensors.insert("mask".into(), Array::u8(shape, keep));
}

/// A mask over weights [B, Lq, Lk] that hides one key in three from every query, more keys from some, and everything from the
/// second query; NaN and infinity in every hidden weight, in the values of the keys that nobody sees, and in d_o of the second.
fn hidden_nan(tensors: &mut Arrays, rng: &mut Rng) {
    const POISON: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let Some(&[batches, queries, keys]) = tensors.get("weights").map(|t| t.shape()) else { return };
    let unseen: Vec<bool> = (0..batches * keys).map(|_| rng.below(3) == 0).collect();
    let visible = |at: usize, rng: &mut Rng| {
        let (batch, i, j) = (at / (queries * keys), at / keys % queries, at % keys);
        !unseen[batch * keys + j] && i != 1 && rng.below(5) > 0
    };
    let keep: Vec<u8> = (0..batches * queries * keys).map(|at| u8::from(visible(at, rng))).collect();
    let mut plant = |name: &str, hidden: &dyn Fn(usize) -> bool| {
        if let Some(array) = tensors.get_mut(name) {
            let columns = array.shape()[2];
            if let Data::F32(values) = array.data_mut() {
                let at = |i: usize| if name == "weights" { i } else { i / columns };
                values.iter_mut().enumerate().filter(|(i, _)| hidden(at(*i))).for_each(|(i, x)| *x = POISON[i % 3]);
            }
        }
    };
    plant("weights", &|at| keep[at] == 0);
    plant("v", &|row| unseen[row]);
    plant("d_o", &|row| row % queries == 1);
    tensors.insert("mask".into(), Array::u8(&[batches, queries, keys], keep));
}
