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
    let hidden: Vec<bool> = tensors.get(mask).map(|mask| mask.to_f64().into_iter().map(|keep| keep == 0.0).collect()).unwrap_or_default();
    for name in names {
        let columns = tensors.get(*name).and_then(|t| t.shape().last().copied()).unwrap_or(1);
        change(tensors, name, |i, x| if hidden[i / columns] { POISON[i % 3] } else { x });
    }
}

/// The same in the gradient of the weights `[B, .., Lk]` of hidden keys, and in that of the context `[B, ..]` of the second batch element, all of
/// whose keys are hidden.
pub(crate) fn poison_upstream(tensors: &mut Arrays, mask: &str, [weights, context]: [&str; 2]) {
    let Some(&[batch, count]) = tensors.get(mask).map(Array::shape) else { return };
    let hidden: Vec<bool> = tensors[mask].to_f64().into_iter().map(|keep| keep == 0.0).collect();
    let of_batch = |name: &str| tensors.get(name).map_or(1, |t| t.len() / batch);
    let (of_weights, of_context) = (of_batch(weights), of_batch(context));
    change(tensors, weights, |i, x| if hidden[i / of_weights * count + i % count] { POISON[i % 3] } else { x });
    change(tensors, context, |i, x| if i / of_context == 1 { POISON[i % 3] } else { x });
}

const POISON: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
