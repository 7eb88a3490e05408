//! The named cases: vocabularies of one to three digits, ids of one block to many, rows that none, few or nearly all ids name.

use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1,1", &[]).quick(),
    Case::new("primes", "7,13,23,17", &[]),
    Case::new("one_id", "11,5", &[]).edit(|tensors, _| {
        tensors.insert("ids".into(), Array::i32(&[], vec![10]));
    }),
    Case::new("ids_255", "255,31,3", &[]),
    Case::new("ids_256", "256,31,3", &[]),
    Case::new("ids_257", "257,31,3", &[]),
    Case::new("vocabulary_255", "300,255,5", &[]),
    Case::new("vocabulary_256", "300,256,5", &[]).quick(),
    Case::new("vocabulary_257", "300,257,5", &[]),
    Case::new("three_digits", "40,65537,1", &[]),
    Case::new("columns_63", "2,31,9,63", &[]),
    Case::new("columns_64", "2,31,9,64", &[]),
    Case::new("columns_65", "2,31,9,65", &[]),
    Case::new("long_columns", "9,4,4100", &[]),
    // More ids than one of the smallest bindings sorts.
    Case::new("many_ids", "50,101,700,3", &[]),
    Case::new("tiny_vocabulary", "20,101,2,31", &[]).quick(),
    Case::new("all_alike", "5,331,7,3", &[]).edit(|tensors, _| change_ids(tensors, |_, _| 4)),
    Case::new("in_order", "1500,700,3", &[]).edit(|tensors, _| change_ids(tensors, |i, _| (i / 3) as i32)),
    Case::new("backwards", "1500,700,3", &[]).edit(|tensors, _| change_ids(tensors, |i, _| 699 - (i / 3) as i32)),
    // One row has whole slices with a part before and after them.
    Case::new("a_long_run", "1500,7,3", &[]).edit(|tensors, _| change_ids(tensors, |i, id| if i % 5 == 0 { id } else { 3 })),
    Case::new("padding", "9,37,11,17", &[("padding_idx", "3")]).edit(|tensors, _| padded(tensors, 3)).quick(),
    Case::new("padding_from_the_end", "9,37,11,17", &[("padding_idx", "-1")]).edit(|tensors, _| padded(tensors, 10)),
    Case::new("nothing_but_padding", "300,5,3", &[("padding_idx", "0")]).edit(|tensors, _| {
        change_ids(tensors, |_, _| 0);
        padded(tensors, 0);
    }),
    Case::new("forward_only", "7,23,17", &[]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
];

fn change_ids(tensors: &mut Arrays, f: impl Fn(usize, i32) -> i32) {
    if let Some(Data::I32(ids)) = tensors.get_mut("ids").map(|t| t.data_mut()) {
        ids.iter_mut().enumerate().for_each(|(i, id)| *id = f(i, *id));
    }
}

/// NaN in the upstream gradient of each padding: y does depend on the padding's row, so differences would find the gradient that is left out.
fn padded(tensors: &mut Arrays, padding: i32) {
    let ids = tensors["ids"].to_f64();
    let columns = tensors["weight"].shape()[1];
    if let Some(Data::F32(d_y)) = tensors.get_mut("d_y").map(|t| t.data_mut()) {
        let rows = d_y.chunks_exact_mut(columns).zip(ids);
        rows.filter(|(_, id)| *id == f64::from(padding)).for_each(|(row, _)| row.fill(f32::NAN));
    }
}
