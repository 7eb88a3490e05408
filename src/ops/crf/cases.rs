//! The named cases, B,T,K: tags around the sizes of workgroups, lengths, what is forbidden, and paths that tie.

use crate::ops::philox::Rng;
use crate::ops::recurrent::cases::{lengths, without};
use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("primes", "3,11,5", &[]).quick(),
    Case::new("one", "1,1,1", &[]),
    Case::new("one_step", "5,1,7", &[]),
    Case::new("one_tag", "3,7,1", &[]),
    Case::new("two_steps", "2,2,2", &[]),
    Case::new("tags_63", "2,7,63", &[]),
    Case::new("tags_64", "2,7,64", &[]),
    Case::new("tags_65", "2,7,65", &[]).quick(),
    Case::new("tags_256", "2,3,256", &[]),
    Case::new("many_sequences", "519,5,3", &[("reduction", "mean")]),
    Case::new("long", "2,1031,3", &[]),
    // More rounds of loops than some drivers allow at once (`Caps::max_rounds`).
    Case::new("long_of_many_tags", "2,301,70", &[]),
    // Lengths and reductions.
    Case::new("lengths", "5,9,6", &[("reduction", "mean")]).edit(|t, _| lengths(t, &[9, 0, 4, 1, 8])),
    Case::new("lengths_poisoned", "7,13,11", &[("reduction", "token_mean")]).quick().edit(|t, _| {
        lengths(t, &[2, 13, 0, 1, 12, 13, 3]);
        poison(t);
    }),
    Case::new("lengths_all_zero", "3,4,5", &[("reduction", "token_mean")]).edit(|t, _| {
        lengths(t, &[0, 0, 0]);
        poison(t);
    }),
    Case::new("token_mean", "3,7,4", &[("reduction", "token_mean")]),
    // Scores.
    Case::new("forbidden_moves", "4,17,9", &[]).edit(forbid_moves),
    Case::new("forbidden_tags", "3,12,7", &[]).edit(forbid_tags),
    Case::new("forbidden_by_the_lowest_number", "3,9,8", &[]).edit(|t, rng| {
        without(t, &["d_"]);
        forbid_moves(t, rng);
        change(t, "transitions", |_, x| x.max(f32::MIN));
    }),
    Case::new("impossible_tags", "3,5,4", &[]).edit(|t, _| {
        without(t, &["d_"]);
        let first = t["tags"].to_f64()[0] as usize;
        change(t, "emissions", |n, x| if n == first { f32::NEG_INFINITY } else { x });
    }),
    Case::new("no_path", "4,6,3", &[]).edit(|t, _| {
        without(t, &["d_"]);
        lengths(t, &[6, 3, 0, 5]);
        // All tags of the second sequence's step 1 and of the last one's step 0.
        change(t, "emissions", |n, x| if (21..24).contains(&n) || (54..57).contains(&n) { f32::NEG_INFINITY } else { x });
    }),
    Case::new("huge_scores", "3,19,9", &[]).edit(|t, _| change(t, "emissions", |_, x| 1000.0 * x)),
    Case::new("penalties", "3,19,9", &[]).edit(|t, _| {
        change(t, "transitions", |n, x| if n % 4 == 1 { -10_000.0 } else { x });
        change(t, "emissions", |n, x| if n % 7 == 3 { -10_000.0 } else { x });
    }),
    Case::new("all_scores_equal", "2,70,5", &[]).edit(|t, _| {
        for name in ["emissions", "transitions", "start", "end"] {
            change(t, name, |_, _| 0.0);
        }
    }),
    Case::new("many_ties", "3,40,6", &[]).edit(|t, _| {
        for name in ["emissions", "transitions", "start", "end"] {
            change(t, name, |_, x| x.round());
        }
    }),
    Case::new("forward_only", "3,7,5", &[]).edit(|t, _| without(t, &["d_"])),
];

fn change(tensors: &mut Arrays, name: &str, f: impl Fn(usize, f32) -> f32) {
    if let Some(Data::F32(values)) = tensors.get_mut(name).map(|t| t.data_mut()) {
        values.iter_mut().enumerate().for_each(|(n, x)| *x = f(n, *x));
    }
}

/// NaN, infinities and tags that there are not, past each sequence's length.
fn poison(tensors: &mut Arrays) {
    let Some(Data::I32(lengths)) = tensors.get("lengths").map(|array| array.data().clone()) else { return };
    let (time, columns) = (tensors["emissions"].shape()[1], tensors["emissions"].shape()[2]);
    let past = |row: usize| row % time >= lengths[row / time] as usize;
    const POISON: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    change(tensors, "emissions", |n, x| if past(n / columns) { POISON[n % 3] } else { x });
    if let Some(Data::I32(tags)) = tensors.get_mut("tags").map(Array::data_mut) {
        tags.iter_mut().enumerate().filter(|(row, _)| past(*row)).for_each(|(row, tag)| *tag = [-100, i32::MAX, -1][row % 3]);
    }
}

/// About a third of the moves, one start and one end are forbidden; the tags make none of them.
fn forbid_moves(tensors: &mut Arrays, rng: &mut Rng) {
    let (time, columns) = (tensors["emissions"].shape()[1], tensors["emissions"].shape()[2]);
    let forbidden = |n: usize| (n / columns + n % columns) % 3 == 2;
    change(tensors, "transitions", |n, x| if forbidden(n) { f32::NEG_INFINITY } else { x });
    change(tensors, "start", |n, x| if n == 1 { f32::NEG_INFINITY } else { x });
    change(tensors, "end", |n, x| if n == 1 { f32::NEG_INFINITY } else { x });
    let Some(Data::I32(tags)) = tensors.get_mut("tags").map(Array::data_mut) else { return };
    let mut tag = 0;
    for (row, to) in tags.iter_mut().enumerate() {
        let ends = row % time == 0 || row % time == time - 1;
        let fits = |next: usize, before: usize| (row.is_multiple_of(time) || !forbidden(before * columns + next)) && !(ends && next == 1);
        let choices: Vec<usize> = (0..columns).filter(|&next| fits(next, tag)).collect();
        tag = choices[rng.below(choices.len())];
        *to = tag as i32;
    }
}

/// Each step has tags that are forbidden there, and one step all but one. The tags are others.
fn forbid_tags(tensors: &mut Arrays, _: &mut Rng) {
    let columns = tensors["emissions"].shape()[2];
    let Some(Data::I32(tags)) = tensors.get("tags").map(|array| array.data().clone()) else { return };
    change(tensors, "emissions", |n, x| {
        let (row, column) = (n / columns, n % columns);
        let hidden = column != tags[row] as usize && (row == 5 || (row + column) % 3 == 0);
        if hidden { f32::NEG_INFINITY } else { x }
    });
}
