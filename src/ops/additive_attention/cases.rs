//! The named cases: tiles of 16 queries and keys, panels of 32 features and 64 keys, one query as a decoder has it, masks, and arguments from
//! near zero to where tanh is 1. Drawn weights make large arguments, so most cases shrink them.

use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1,1,1", &[]).quick(),
    Case::new("one_key", "2,3/1,5,7", &[]).edit(calm),
    Case::new("one_query", "3,1/70,5/6/7,33", &[]).edit(calm),
    Case::new("two_queries", "2,2/65,5/6/7,65", &[]).edit(mask),
    Case::new("three_queries", "2,3/64,8,64", &[]).edit(calm),
    Case::new("one_feature", "2,5/7,3,1", &[]).edit(calm),
    Case::new("primes", "2,7/19,11/13/17,23", &[]).edit(calm).quick(),
    Case::new("below_tiles", "1,15/15,15,31", &[]).edit(calm),
    Case::new("tiles", "1,16/16,16,32", &[]).edit(calm),
    Case::new("above_tiles", "1,17/17,17,33", &[]).edit(calm),
    Case::new("two_panels", "1,33/63,16,63", &[]).edit(calm),
    Case::new("three_panels", "1,5/131,7/9/65,129", &[]).edit(calm),
    Case::new("many_keys", "1,2/1031,3,5", &[]).edit(calm),
    Case::new("many_features", "1,3/5,2,1027", &[]).edit(calm),
    Case::new("large_arguments", "2,9/21,40,30", &[]),
    Case::new("huge_arguments", "2,5/9,40,30", &[]).edit(|tensors, _| scale(tensors, &["query", "keys"], 100.0)),
    Case::new("small_arguments", "2,9/21,12,30", &[]).edit(|tensors, _| scale(tensors, &["wq", "wk", "b"], 0.01)),
    Case::new("huge_scores", "2,9/21,12,30", &[]).edit(|tensors, rng| {
        calm(tensors, rng);
        scale(tensors, &["v"], 50.0);
    }),
    Case::new("mask", "3,7/33,8/12/20,40", &[]).edit(mask),
    Case::new("mask_hides_nan", "3,6/67,8/12/20,40", &[]).edit(hidden_nan).quick(),
    Case::new("mask_hides_nan_one_query", "3,1/67,8/12/20,70", &[]).edit(hidden_nan),
    Case::new("mask_everything", "2,5/9,4,6", &[]).edit(|tensors, _| {
        tensors.insert("key_mask".into(), Array::u8(&[2, 9], vec![0; 18]));
    }),
    Case::new("context_only", "2,7/19,8,24", &[]).edit(|tensors, rng| {
        calm(tensors, rng);
        tensors.remove("d_weights");
    }),
    Case::new("weights_only", "2,7/19,8,24", &[]).edit(|tensors, rng| {
        mask(tensors, rng);
        tensors.remove("d_context");
    }),
    Case::new("forward_only", "2,7/19,8,24", &[]).edit(|tensors, rng| {
        calm(tensors, rng);
        tensors.retain(|name, _| !name.starts_with("d_"));
    }),
];

fn floats(tensors: &mut Arrays, name: &str, f: impl Fn(usize, f32) -> f32) {
    if let Some(Data::F32(values)) = tensors.get_mut(name).map(|t| t.data_mut()) {
        values.iter_mut().enumerate().for_each(|(i, x)| *x = f(i, *x));
    }
}

fn scale(tensors: &mut Arrays, names: &[&str], by: f32) {
    names.iter().for_each(|name| floats(tensors, name, |_, x| by * x));
}

/// Weights as a layer starts with them: arguments of order one.
fn calm(tensors: &mut Arrays, _: &mut Rng) {
    for name in ["wq", "wk"] {
        let columns = tensors.get(name).and_then(|t| t.shape().last().copied()).unwrap_or(1);
        scale(tensors, &[name], 0.7 / (columns as f32).sqrt());
    }
}

/// A mask that keeps about two thirds of the keys of each batch element, and nothing of the second.
fn mask(tensors: &mut Arrays, rng: &mut Rng) {
    calm(tensors, rng);
    let Some(&[batch, count, _]) = tensors.get("keys").map(|t| t.shape()) else { return };
    let keep = (0..batch * count).map(|n| u8::from(rng.below(3) > 0 && n / count != 1)).collect();
    tensors.insert("key_mask".into(), Array::u8(&[batch, count], keep));
}

/// The same, and NaN or infinity in the hidden keys and values, in their gradients, and in the gradients of queries that see nothing.
fn hidden_nan(tensors: &mut Arrays, rng: &mut Rng) {
    mask(tensors, rng);
    const POISON: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let shape = |tensors: &Arrays, name: &str| tensors.get(name).map(|t| t.shape().to_vec()).unwrap_or_default();
    let (query, keys) = (shape(tensors, "query"), shape(tensors, "keys"));
    let hidden: Vec<bool> = tensors["key_mask"].to_f64().into_iter().map(|keep| keep == 0.0).collect();
    for name in ["keys", "values"] {
        let columns = shape(tensors, name)[2];
        floats(tensors, name, |i, x| if hidden[i / columns] { POISON[i % 3] } else { x });
    }
    let (queries, count) = (query[1], keys[1]);
    floats(tensors, "d_weights", |i, x| if hidden[i / count / queries * count + i % count] { POISON[i % 3] } else { x });
    let columns = shape(tensors, "d_context")[2];
    floats(tensors, "d_context", |i, x| if i / columns / queries == 1 { POISON[i % 3] } else { x });
}
