//! The named cases: rows from one element to many workgroups' worth, masks of every shape, values that must reach nothing.

use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1", &[]).quick(),
    Case::new("primes", "7,5,61", &[]),
    Case::new("columns_15", "3,15", &[]),
    Case::new("columns_16", "3,16", &[]),
    Case::new("columns_17", "3,17", &[]),
    Case::new("columns_31", "5,31", &[]),
    Case::new("columns_32", "5,32", &[]),
    Case::new("columns_33", "5,33", &[]),
    Case::new("columns_63", "2,3,63", &[]),
    Case::new("columns_64", "2,3,64", &[]),
    Case::new("columns_65", "2,3,65", &[]),
    Case::new("columns_255", "4,255", &[]),
    Case::new("columns_256", "4,256", &[]),
    Case::new("columns_257", "4,257", &[]),
    Case::new("columns_1025", "3,1025", &[("scale", "0.125")]),
    Case::new("columns_20011", "2,20011", &[]),
    Case::new("columns_20011_log", "2,20011", &[("log", "true")]),
    Case::new("vector", "97", &[]),
    Case::new("many_short_rows", "4099,3", &[]),
    Case::new("one_column", "67,1", &[]),
    Case::new("one_column_log", "67,1", &[("log", "true")]),
    Case::new("log", "13,130", &[("log", "true")]).quick(),
    Case::new("scale", "13,67", &[("scale", "0.088388346")]),
    Case::new("scale_negative_log", "13,67", &[("scale", "-1.5"), ("log", "true")]),
    Case::new("scale_zero", "5,17", &[("scale", "0")]),
    Case::new("huge_logits", "9,131", &[("scale", "100")]),
    Case::new("huge_logits_log", "9,131", &[("scale", "100"), ("log", "true")]),
    Case::new("huge_values", "9,131", &[]).edit(|tensors, _| {
        change(tensors, "x", |_, x| x * 1000.0);
    }),
    Case::new("mask", "3,7,67", &[]).edit(|tensors, rng| mask(tensors, rng, &[3, 7, 67])),
    Case::new("mask_log", "3,7,67", &[("log", "true")]).edit(|tensors, rng| mask(tensors, rng, &[3, 7, 67])),
    Case::new("mask_one_row", "3,7,67", &[]).edit(|tensors, rng| mask(tensors, rng, &[67])),
    Case::new("mask_repeats_middle", "3,7,67", &[("scale", "0.5")]).edit(|tensors, rng| mask(tensors, rng, &[3, 1, 67])),
    Case::new("mask_whole_rows", "3,7,67", &[]).edit(|tensors, rng| mask(tensors, rng, &[3, 7, 1])).quick(),
    Case::new("mask_whole_rows_log", "3,7,67", &[("log", "true")]).edit(|tensors, rng| mask(tensors, rng, &[7, 1])),
    Case::new("mask_everything", "5,33", &[]).edit(|tensors, _| {
        tensors.insert("mask".into(), Array::u8(&[1], vec![0]));
    }),
    Case::new("mask_one_visible", "5,129", &[]).edit(|tensors, _| {
        tensors.insert("mask".into(), Array::u8(&[129], (0..129).map(|c| u8::from(c == 77)).collect()));
    }),
    Case::new("mask_hides_nan", "6,131", &[]).edit(hidden_nan),
    Case::new("mask_hides_nan_log", "6,131", &[("log", "true")]).edit(hidden_nan).quick(),
    Case::new("infinite_logits", "6,131", &[("scale", "0.5")]).edit(infinite),
    Case::new("infinite_logits_log", "6,131", &[("log", "true")]).edit(infinite),
    Case::new("forward_only", "7,33", &[]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
];

fn change(tensors: &mut Arrays, name: &str, f: impl Fn(usize, f32) -> f32) {
    if let Some(Data::F32(values)) = tensors.get_mut(name).map(|t| t.data_mut()) {
        values.iter_mut().enumerate().for_each(|(i, x)| *x = f(i, *x));
    }
}

/// A mask of this shape that keeps about two thirds.
fn mask(tensors: &mut Arrays, rng: &mut Rng, shape: &[usize]) {
    let keep = (0..shape.iter().product()).map(|_| u8::from(rng.below(3) > 0)).collect();
    tensors.insert("mask".into(), Array::u8(shape, keep));
}

/// A full mask whose second row is all hidden, and NaN or infinity in x and d_y wherever it hides.
fn hidden_nan(tensors: &mut Arrays, rng: &mut Rng) {
    let keep: Vec<u8> = (0..6 * 131).map(|i| u8::from(rng.below(3) > 0 && i / 131 != 1)).collect();
    const POISON: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    change(tensors, "x", |i, x| if keep[i] == 0 { POISON[i % 3] } else { x });
    change(tensors, "d_y", |i, x| if keep[i] == 0 { POISON[(i + 1) % 3] } else { x });
    tensors.insert("mask".into(), Array::u8(&[6, 131], keep));
}

/// Some logits of -inf, and a first row of nothing else.
fn infinite(tensors: &mut Arrays, rng: &mut Rng) {
    let hidden: Vec<bool> = (0..6 * 131).map(|i| rng.below(4) == 0 || i < 131).collect();
    change(tensors, "x", |i, x| if hidden[i] { f32::NEG_INFINITY } else { x });
}
