//! How the named cases change their tensors, under whatever names an operation has for its keys, values and mask.

use crate::ops::Arrays;
use crate::ops::philox::Rng;
use crate::{Array, Data};

/// Each element by its index.
pub(crate) fn change(tensors: &mut Arrays, name: &str, f: impl Fn(usize, f32) -> f32) {
    if let Some(Data::F32(values)) = tensors.get_mut(name).map(|t| t.data_mut()) {
        values.iter_mut().enumerate().for_each(|(i, x)| *x = f(i, *x));
    }
}

/// Multiplies tensors by a factor.
pub(crate) fn scale(tensors: &mut Arrays, names: &[&str], by: f32) {
    names.iter().for_each(|name| change(tensors, name, |_, x| by * x));
}

/// Makes weights as small as a layer starts with them, so that what they make of standard-normal rows has this deviation.
pub(crate) fn calm(tensors: &mut Arrays, names: &[&str], deviation: f32) {
    for name in names {
        let columns = tensors.get(*name).and_then(|t| t.shape().last().copied()).unwrap_or(1);
        scale(tensors, &[name], deviation / (columns as f32).sqrt());
    }
}

/// A mask `[B, Lk]` that keeps about two thirds of the keys `[B, Lk, ..]` of each batch element, and nothing of the second.
pub(crate) fn mask(tensors: &mut Arrays, rng: &mut Rng, [mask, keys]: [&str; 2]) {
    let Some(&[batch, count, _]) = tensors.get(keys).map(Array::shape) else { return };
    let keep = (0..batch * count).map(|n| u8::from(rng.below(3) > 0 && n / count != 1)).collect();
    tensors.insert(mask.into(), Array::u8(&[batch, count], keep));
}

/// A mask that keeps nothing.
pub(crate) fn mask_everything(tensors: &mut Arrays, [mask, keys]: [&str; 2]) {
    let Some(&[batch, count, _]) = tensors.get(keys).map(Array::shape) else { return };
    tensors.insert(mask.into(), Array::u8(&[batch, count], vec![0; batch * count]));
}

/// NaN or infinity in every row of `[B, Lk, ..]` tensors that the mask hides.
pub(crate) fn poison(tensors: &mut Arrays, mask: &str, names: &[&str]) {
    let Some(keep) = tensors.get(mask).map(Array::to_f64) else { return };
    for name in names {
        let columns = tensors.get(*name).and_then(|t| t.shape().last().copied()).unwrap_or(1);
        change(tensors, name, |i, x| if keep[i / columns] == 0.0 { POISON[i % 3] } else { x });
    }
}

/// NaN or infinity in the gradient of the weights `[B, .., Lk]` of hidden keys.
pub(crate) fn poison_weights(tensors: &mut Arrays, mask: &str, d_weights: &str) {
    let (Some(mask), Some(d)) = (tensors.get(mask), tensors.get(d_weights)) else { return };
    let &[batch, count] = mask.shape() else { return };
    let (keep, of_batch) = (mask.to_f64(), d.len() / batch);
    change(tensors, d_weights, |i, x| if keep[i / of_batch * count + i % count] == 0.0 { POISON[i % 3] } else { x });
}

/// The same throughout the second batch element of the gradient of the context `[B, Lq, Dv]`: none of its keys is visible.
pub(crate) fn poison_second(tensors: &mut Arrays, d_context: &str) {
    let Some(&[_, queries, columns]) = tensors.get(d_context).map(Array::shape) else { return };
    change(tensors, d_context, |i, x| if i / (queries * columns) == 1 { POISON[i % 3] } else { x });
}

const POISON: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
