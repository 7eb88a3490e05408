//! The named cases beside those of src/ops/recurrent/cases.rs: cell states, projection and peepholes.

use crate::Array;
use crate::ops::philox::Rng;
use crate::ops::recurrent::cases::{lengths, without};
use crate::ops::{Arrays, Case};

/// The cases.
pub static CASES: &[Case] = &[
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

/// Peepholes of the size of the weights.
fn peep(tensors: &mut Arrays, rng: &mut Rng, name: &str, hidden: usize) {
    let size = 1.0 / (hidden as f32).sqrt();
    let data = rng.normals(3 * hidden).into_iter().map(|x| x * size).collect();
    tensors.insert(name.into(), Array::f32(&[3, hidden], data));
}
