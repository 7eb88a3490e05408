//! The named cases: heads of several widths, with and without probabilities, and masked keys. Drawn weights make huge logits, so most
//! cases shrink them.

use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};
use crate::{Array, Data};

const FUSED: &[(&str, &str)] = &[("heads", "4"), ("probs", "false")];
const FOUR: &[(&str, &str)] = &[("heads", "4")];

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1,1", &[]),
    Case::new("one_head", "2,5/9,12", &[]).edit(calm),
    Case::new("heads", "2,11/13,24", FOUR).edit(calm).quick(),
    Case::new("heads_fused", "2,11/13,24", FUSED).edit(calm).quick(),
    Case::new("heads_of_one", "2,5/7,6", &[("heads", "6")]).edit(calm),
    Case::new("heads_of_one_fused", "2,5/7,6", &[("heads", "6"), ("probs", "false")]).edit(calm),
    Case::new("tiles", "1,33/65,64", FOUR).edit(calm),
    Case::new("tiles_fused", "2,33/65,64", FUSED).edit(calm),
    Case::new("one_query", "3,1/70,40", FOUR).edit(calm),
    Case::new("one_query_fused", "3,1/70,40", FUSED).edit(calm),
    Case::new("wide_head", "1,5/9,260", &[("heads", "1"), ("probs", "false")]).edit(calm),
    Case::new("large_logits", "2,9/17,12", &[("heads", "3")]),
    Case::new("large_logits_fused", "2,9/17,12", &[("heads", "3"), ("probs", "false")]),
    Case::new("mask", "3,7/33,20", FOUR).edit(mask),
    Case::new("mask_hides_nan", "3,6/67,24", FOUR).edit(hidden_nan).quick(),
    Case::new("mask_hides_nan_fused", "3,6/67,24", FUSED).edit(hidden_nan).quick(),
    Case::new("mask_everything", "2,5/9,8", &[("heads", "2")]).edit(|tensors, _| {
        tensors.insert("key_keep".into(), Array::u8(&[2, 9], vec![0; 18]));
    }),
    Case::new("no_biases", "2,7/19,12", &[("heads", "2")]).edit(no_biases),
    Case::new("no_biases_fused", "2,7/19,12", &[("heads", "2"), ("probs", "false")]).edit(no_biases),
    Case::new("o_only", "2,7/19,12", &[("heads", "3")]).edit(|tensors, rng| {
        mask(tensors, rng);
        tensors.remove("d_probs");
    }),
    Case::new("probs_only", "2,7/19,12", &[("heads", "3")]).edit(|tensors, rng| {
        mask(tensors, rng);
        tensors.remove("d_o");
    }),
    Case::new("forward_only", "2,7/19,12", &[("heads", "3")]).edit(forward),
    Case::new("forward_only_fused", "2,7/19,12", &[("heads", "3"), ("probs", "false")]).edit(forward),
];

fn floats(tensors: &mut Arrays, name: &str, f: impl Fn(usize, f32) -> f32) {
    if let Some(Data::F32(values)) = tensors.get_mut(name).map(|t| t.data_mut()) {
        values.iter_mut().enumerate().for_each(|(i, x)| *x = f(i, *x));
    }
}

/// Weights as a layer starts with them: logits of order one.
fn calm(tensors: &mut Arrays, _: &mut Rng) {
    for name in ["in_proj_weight", "out_proj_weight"] {
        let columns = tensors.get(name).and_then(|t| t.shape().last().copied()).unwrap_or(1);
        floats(tensors, name, |_, x| x / (columns as f32).sqrt());
    }
}

fn no_biases(tensors: &mut Arrays, rng: &mut Rng) {
    calm(tensors, rng);
    tensors.retain(|name, _| !name.ends_with("_bias"));
}

fn forward(tensors: &mut Arrays, rng: &mut Rng) {
    mask(tensors, rng);
    tensors.retain(|name, _| !name.starts_with("d_"));
}

/// A mask that keeps about two thirds of the keys of each batch element, and nothing of the second.
fn mask(tensors: &mut Arrays, rng: &mut Rng) {
    calm(tensors, rng);
    let Some(&[batch, count, _]) = tensors.get("key").map(|t| t.shape()) else { return };
    let keep = (0..batch * count).map(|n| u8::from(rng.below(3) > 0 && n / count != 1)).collect();
    tensors.insert("key_keep".into(), Array::u8(&[batch, count], keep));
}

/// The same, and NaN or infinity in the hidden keys and values.
fn hidden_nan(tensors: &mut Arrays, rng: &mut Rng) {
    mask(tensors, rng);
    const POISON: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let hidden: Vec<bool> = tensors["key_keep"].to_f64().into_iter().map(|keep| keep == 0.0).collect();
    for name in ["key", "value"] {
        let columns = tensors.get(name).and_then(|t| t.shape().last().copied()).unwrap_or(1);
        floats(tensors, name, |i, x| if hidden[i / columns] { POISON[i % 3] } else { x });
    }
}
