//! The named cases: rows from one class to several workgroups' worth, every reduction, weights, smoothing, and rows that do not count.

use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1", &[]).quick(),
    Case::new("primes", "7,61", &[]),
    Case::new("columns_63", "3,63", &[]),
    Case::new("columns_64", "3,64", &[("reduction", "sum")]),
    Case::new("columns_65", "3,65", &[("reduction", "none")]),
    Case::new("columns_255", "3,255", &[]),
    Case::new("columns_256", "3,256", &[("reduction", "none")]),
    Case::new("columns_257", "3,257", &[]),
    Case::new("columns_1023", "3,1023", &[]),
    Case::new("columns_1024", "3,1024", &[("label_smoothing", "0.1")]),
    Case::new("columns_1025", "3,1025", &[("reduction", "none"), ("label_smoothing", "0.1")]),
    // Rows that are shared by workgroups, the last of which has fewer columns.
    Case::new("shared_rows", "2,12289", &[]),
    Case::new("shared_rows_smooth", "3,20011", &[("label_smoothing", "0.2")]).edit(weighted),
    Case::new("one_class", "67,1", &[]),
    Case::new("many_rows", "1031,3", &[]),
    Case::new("many_rows_none", "1031,3", &[("reduction", "none")]),
    Case::new("sum", "19,29", &[("reduction", "sum")]).quick(),
    Case::new("smooth", "19,29", &[("label_smoothing", "0.1")]),
    Case::new("smooth_none", "19,29", &[("label_smoothing", "0.1"), ("reduction", "none")]),
    Case::new("all_smooth", "19,29", &[("label_smoothing", "1")]),
    Case::new("weight", "19,29", &[]).edit(weighted),
    Case::new("weight_sum", "19,29", &[("reduction", "sum")]).edit(weighted),
    Case::new("weight_none", "19,29", &[("reduction", "none")]).edit(weighted),
    Case::new("weight_smooth", "19,29", &[("label_smoothing", "0.3")]).edit(|tensors, rng| {
        weighted(tensors, rng);
        ignored(tensors, rng);
    }),
    Case::new("ignored", "37,67", &[]).edit(ignored).quick(),
    Case::new("ignored_smooth", "37,67", &[("label_smoothing", "0.1"), ("reduction", "sum")]).edit(ignored),
    Case::new("ignored_none", "37,67", &[("reduction", "none")]).edit(ignored),
    Case::new("ignored_class", "37,5", &[("ignore_index", "3")]),
    Case::new("ignored_all_sum", "5,7", &[("reduction", "sum")]).edit(ignored_all),
    // The mean of no row is NaN, which has no gradient to compare.
    Case::new("ignored_all_mean", "5,7", &[]).edit(|tensors, rng| {
        ignored_all(tensors, rng);
        tensors.remove("d_loss");
    }),
    Case::new("huge_logits", "9,131", &[]).edit(|tensors, _| change(tensors, "logits", |_, x| x * 1000.0)),
    Case::new("huge_logits_smooth", "9,131", &[("label_smoothing", "0.1")]).edit(|tensors, _| change(tensors, "logits", |_, x| x * 100.0)),
    // Each row far from zero, and one class far above the others.
    Case::new("distant_logits", "9,131", &[("label_smoothing", "0.1")]).edit(|tensors, _| {
        change(tensors, "logits", |i, x| x + 3000.0 + if i % 131 == 17 { 2000.0 } else { 0.0 });
    }),
    Case::new("impossible_classes", "9,131", &[]).edit(impossible),
    Case::new("infinite_losses", "9,131", &[("reduction", "none")]).edit(|tensors, _| {
        change(tensors, "logits", |i, x| if i % 2 == 0 { f32::NEG_INFINITY } else { x });
        tensors.remove("d_loss");
    }),
    Case::new("forward_only", "7,33", &[]).edit(|tensors, _| {
        tensors.remove("d_loss");
    }),
];

fn change(tensors: &mut Arrays, name: &str, f: impl Fn(usize, f32) -> f32) {
    if let Some(Data::F32(values)) = tensors.get_mut(name).map(|t| t.data_mut()) {
        values.iter_mut().enumerate().for_each(|(i, x)| *x = f(i, *x));
    }
}

fn classes(tensors: &Arrays) -> usize {
    tensors["logits"].shape()[1]
}

fn targets(tensors: &mut Arrays) -> &mut [i32] {
    match tensors.get_mut("target").map(|t| t.data_mut()) {
        Some(Data::I32(targets)) => targets,
        _ => &mut [],
    }
}

/// Class weights, one of them 0.
fn weighted(tensors: &mut Arrays, rng: &mut Rng) {
    let count = classes(tensors);
    let weights = (0..count).map(|c| if c == 2 { 0.0 } else { 0.2 + rng.uniform() as f32 }).collect();
    tensors.insert("weight".into(), Array::f32(&[count], weights));
}

/// About a third of the rows ignored, with NaN or infinity in their logits; not the last one.
fn ignored(tensors: &mut Arrays, rng: &mut Rng) {
    let count = classes(tensors);
    let rows = targets(tensors).len();
    let ignored: Vec<bool> = (0..rows).map(|n| n + 1 < rows && rng.below(3) == 0).collect();
    targets(tensors).iter_mut().zip(&ignored).filter(|(_, ignored)| **ignored).for_each(|(t, _)| *t = -100);
    const POISON: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    change(tensors, "logits", |i, x| if ignored[i / count] { POISON[i % 3] } else { x });
}

fn ignored_all(tensors: &mut Arrays, _: &mut Rng) {
    targets(tensors).fill(-100);
}

/// Logits of -inf, of classes that are no target.
fn impossible(tensors: &mut Arrays, rng: &mut Rng) {
    let count = classes(tensors);
    let right: Vec<usize> = targets(tensors).iter().map(|&t| t as usize).collect();
    let hidden: Vec<bool> = (0..right.len() * count).map(|i| rng.below(3) == 0 && right[i / count] != i % count).collect();
    change(tensors, "logits", |i, x| if hidden[i] { f32::NEG_INFINITY } else { x });
}
