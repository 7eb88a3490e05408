//! The named cases that rnn, gru and lstm share: T,B,I,H, then layers and directions. Tiles are assumed to be of 8, 16, 32 or 64 in B and
//! H, so that sizes lie around these. And the edits that their own cases make too.

use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases. What an operation does not have, a cell state for instance, cannot be left out either.
const COMMON: &[Case] = &[
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
    Case::new("no_initial_state", "4,3,5,7,2,2", &[]).edit(|t, _| without(t, &["h0", "c0"])),
    Case::new("no_bias", "4,3,5,7,2", &[]).edit(|t, _| without(t, &["bias"])),
    Case::new("forward_only", "4,3,5,7,2,2", &[]).edit(|t, _| without(t, &["d_"])),
    Case::new("d_y_only", "4,3,5,7,1,2", &[]).edit(|t, _| without(t, &["d_hn", "d_cn"])),
    Case::new("d_hn_only", "4,3,5,7,2,2", &[]).edit(|t, _| {
        lengths(t, &[3, 4, 0]);
        without(t, &["d_y", "d_cn"]);
    }),
    // Keys.
    Case::new("dropout", "4,3,5,6,3,2", &[("dropout_p", "0.4"), ("seed", "7")]),
    Case::new("batch_first", "4,3,5,6,2,2", &[("batch_first", "true"), ("dropout_p", "0.3"), ("seed", "8")])
        .edit(|t, _| lengths(t, &[4, 2, 3])),
    Case::new("saturated", "6,4,5,18,2", &[]).edit(|t, _| saturate(t)),
];

/// The shared cases, then an operation's own.
pub(crate) fn with(own: &[Case]) -> Vec<Case> {
    [COMMON, own].concat()
}

/// An edit of a case: how many steps each sequence has.
pub(crate) fn lengths(tensors: &mut Arrays, lengths: &[i32]) {
    tensors.insert("lengths".into(), Array::i32(&[lengths.len()], lengths.to_vec()));
}

/// An edit of a case: leaves out the tensors whose names start with one of these.
pub(crate) fn without(tensors: &mut Arrays, prefixes: &[&str]) {
    tensors.retain(|name, _| !prefixes.iter().any(|prefix| name.starts_with(prefix)));
}

/// An edit of a case: NaN and infinities in the steps of x and d_y (time-major) that the lengths leave out.
pub(crate) fn poison(tensors: &mut Arrays) {
    let Some(Data::I32(lengths)) = tensors.get("lengths").map(|array| array.data().clone()) else { return };
    for name in ["x", "d_y"] {
        let Some(array) = tensors.get_mut(name) else { continue };
        let columns = array.shape()[2];
        let Data::F32(values) = array.data_mut() else { continue };
        for (n, row) in values.chunks_mut(columns).enumerate() {
            if n / lengths.len() >= lengths[n % lengths.len()] as usize {
                row.fill([f32::NAN, f32::INFINITY, f32::NEG_INFINITY][n % 3]);
            }
        }
    }
}

/// An edit of a case: every third element of the biases is far out, every ninth on the other side, so that those gates saturate.
pub(crate) fn saturate(tensors: &mut Arrays) {
    for (_, array) in tensors.iter_mut().filter(|(name, _)| name.starts_with("bias_ih")) {
        let Data::F32(values) = array.data_mut() else { continue };
        values.iter_mut().enumerate().filter(|(n, _)| n % 3 == 0).for_each(|(n, x)| *x = if n % 9 == 0 { -40.0 } else { 40.0 });
    }
}
