//! The named cases: T,B,I,H, then layers and directions. Tiles are assumed to be of 8, 16, 32 or 64 in B and H, so that sizes lie
//! around these.

use crate::Array;
use crate::ops::philox::Rng;
use crate::ops::recurrent::operation::{lengths, poison, saturate, without};
use crate::ops::{Arrays, Case};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("basic", "5,3,7,11", &[]).quick(),
    Case::new("one", "1,1,1,1", &[]),
    // Sizes.
    Case::new("one_step", "1,5,3,9", &[]),
    Case::new("one_sequence", "7,1,5,8", &[]),
    Case::new("hidden_1", "9,7,3,1", &[]),
    Case::new("input_1", "4,8,1,7", &[]),
    Case::new("tile_8", "3,8,8,8", &[]),
    Case::new("above_tile_8", "3,9,9,9", &[]),
    Case::new("below_tile_32", "3,15,17,31", &[]),
    Case::new("above_tile_32", "3,17,13,33", &[]),
    Case::new("two_tiles_64", "3,4,67,65", &[]),
    Case::new("wide", "3,5,19,129", &[]),
    Case::new("long", "1024,2,3,5", &[]),
    // Layers and directions.
    Case::new("two_layers", "4,3,5,6,2", &[]),
    Case::new("three_layers", "3,2,9,7,3", &[]),
    Case::new("two_directions", "5,3,4,7,1,2", &[]),
    // Lengths.
    Case::new("lengths", "6,5,3,9", &[]).edit(|t, _| lengths(t, &[6, 0, 3, 1, 5])),
    Case::new("lengths_poisoned", "7,9,5,6,2,2", &[]).quick().edit(|t, _| {
        lengths(t, &[2, 7, 0, 1, 6, 7, 3, 3, 1]);
        poison(t);
    }),
    Case::new("lengths_all_zero", "3,2,3,4,1,2", &[]).edit(|t, _| lengths(t, &[0, 0])),
    // What may be left out.
    Case::new("no_initial_state", "4,3,5,7,2,2", &[]).edit(|t, _| without(t, NO_STATE)),
    Case::new("no_bias", "4,3,5,7,2", &[]).edit(|t, _| without(t, &["bias"])),
    Case::new("forward_only", "4,3,5,7,2,2", &[]).edit(|t, _| without(t, &["d_"])),
    Case::new("d_y_only", "4,3,5,7,1,2", &[]).edit(|t, _| without(t, D_Y_ONLY)),
    Case::new("d_hn_only", "4,3,5,7,2,2", &[]).edit(|t, _| {
        lengths(t, &[3, 4, 0]);
        without(t, D_HN_ONLY);
    }),
    // Keys.
    Case::new("dropout", "4,3,5,6,3,2", &[("dropout_p", "0.4"), ("seed", "7")]),
    Case::new("batch_first", "4,3,5,6,2,2", &[("batch_first", "true"), ("dropout_p", "0.3"), ("seed", "8")])
        .edit(|t, _| lengths(t, &[4, 2, 3])),
    Case::new("saturated", "6,4,5,18,2", &[]).edit(|t, _| saturate(t)),
    Case::new("d_cn_only", "4,3,5,7,2,2", &[]).edit(|t, _| {
        lengths(t, &[3, 4, 0]);
        without(t, &["d_y", "d_hn"]);
    }),
    // Projection and peepholes.
    Case::new("projection", "5,3,7,11/5", &[]),
    Case::new("projection_wider", "3,9,5,7/10", &[]),
    Case::new("projection_everything", "5,4,3,9/4,2,2", &[("dropout_p", "0.2"), ("seed", "9")]).edit(|t, rng| {
        lengths(t, &[5, 0, 1, 3]);
        peep(t, rng, "peep", 9);
    }),
    Case::new("projection_tiles", "3,4,9,67/65", &[]),
    Case::new("peep", "5,3,7,11,2,2", &[]).edit(|t, rng| peep(t, rng, "peep", 11)),
    Case::new("peep_of_each", "4,3,5,9,2,2", &[]).edit(|t, rng| {
        lengths(t, &[4, 1, 3]);
        ["peep_l0", "peep_l0_reverse", "peep_l1", "peep_l1_reverse"].iter().for_each(|name| peep(t, rng, name, 9));
    }),
];

const NO_STATE: &[&str] = &["h0", "c0"];
const D_Y_ONLY: &[&str] = &["d_hn", "d_cn"];
const D_HN_ONLY: &[&str] = &["d_y", "d_cn"];

/// Peepholes of the size of the weights.
fn peep(tensors: &mut Arrays, rng: &mut Rng, name: &str, hidden: usize) {
    let size = 1.0 / (hidden as f32).sqrt();
    let data = rng.normals(3 * hidden).into_iter().map(|x| x * size).collect();
    tensors.insert(name.into(), Array::f32(&[3, hidden], data));
}
