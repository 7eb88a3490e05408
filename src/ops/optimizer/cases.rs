//! The named cases: every kind and option, sizes around a workgroup and a stretch of the norm, gradients that are zero, tiny and huge.

use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1", &[]).quick(),
    Case::new("sgd", "5,13,7", &[("lr", "0.1")]),
    Case::new("sgd_decay", "5,13,7", &[("lr", "0.1"), ("weight_decay", "0.05")]),
    Case::new("sgd_momentum", "6,13,7", &[("lr", "0.1"), ("momentum", "0.9"), ("weight_decay", "0.01")]).quick(),
    Case::new("sgd_nesterov", "6,13,7", &[("lr", "0.1"), ("momentum", "0.8"), ("nesterov", "true"), ("weight_decay", "0.01")]),
    Case::new("sgd_clip", "3,13,7", &[("lr", "0.1"), ("clip_grad_norm", "0.5")]),
    Case::new("sgd_no_rate", "2,5", &[("lr", "0")]),
    Case::new("adam", "6,13,7", &[("kind", "adam"), ("lr", "0.01")]).quick(),
    Case::new("adam_default", "1,3,5,7", &[("kind", "adam")]),
    Case::new("adam_decay", "4,3,5,7", &[("kind", "adam"), ("lr", "0.01"), ("weight_decay", "0.1")]),
    Case::new("adam_long", "60,5", &[("kind", "adam"), ("lr", "0.05")]),
    Case::new("adam_betas_zero", "3,11", &[("kind", "adam"), ("beta1", "0"), ("beta2", "0")]),
    Case::new("adam_large_eps", "3,11", &[("kind", "adam"), ("eps", "1"), ("lr", "0.3")]),
    Case::new("adamw", "4,3,5,7", &[("kind", "adamw"), ("lr", "0.01"), ("weight_decay", "0.05"), ("beta2", "0.98")]),
    Case::new("adamw_amsgrad", "6,13,7", &[("kind", "adamw"), ("lr", "0.01"), ("weight_decay", "0.05"), ("amsgrad", "true")]).edit(fading),
    Case::new("amsgrad_clip", "5,3,43", &[("kind", "adam"), ("lr", "0.01"), ("amsgrad", "true"), ("clip_grad_norm", "1")])
        .edit(fading)
        .quick(),
    Case::new("elements_63", "2,63", &[("kind", "adam")]),
    Case::new("elements_64", "2,64", &[("kind", "adam")]),
    Case::new("elements_65", "2,65", &[("kind", "adam")]),
    Case::new("elements_255", "2,255", &[("kind", "adam"), ("clip_grad_norm", "2")]),
    Case::new("elements_256", "2,256", &[("kind", "adam"), ("clip_grad_norm", "2")]),
    Case::new("elements_257", "2,257", &[("kind", "adam"), ("clip_grad_norm", "2")]),
    Case::new("elements_4096", "1,4096", &[("clip_grad_norm", "0.1"), ("lr", "1")]),
    Case::new("elements_4097", "1,17,241", &[("clip_grad_norm", "0.1"), ("lr", "1")]),
    Case::new("several_stretches", "2,131,157", &[("kind", "adamw"), ("clip_grad_norm", "1"), ("weight_decay", "0.1")]),
    Case::new("clip_not_reached", "2,13,7", &[("lr", "0.1"), ("clip_grad_norm", "100")]),
    Case::new("clip_to_nothing", "2,13,7", &[("lr", "0.1"), ("clip_grad_norm", "0")]),
    Case::new("clip_infinity", "2,13,7", &[("lr", "0.1"), ("clip_grad_norm", "3e38")]),
    Case::new("gradients_zero", "3,67", &[("kind", "adam"), ("clip_grad_norm", "1")]).edit(|tensors, _| scale(tensors, 0.0)),
    Case::new("gradients_tiny", "2,67", &[("kind", "adam"), ("clip_grad_norm", "1")]).edit(|tensors, _| scale(tensors, 1e-30)),
    Case::new("gradients_huge", "2,67", &[("kind", "adam"), ("lr", "0.01")]).edit(|tensors, _| scale(tensors, 1e15)),
    Case::new("parameters_zero", "3,67", &[("kind", "adam"), ("lr", "0.01")]).edit(|tensors, _| {
        tensors.insert("p0".into(), Array::f32(&[67], vec![0.0; 67]));
    }),
    Case::new("scalar", "2,1", &[("kind", "adam")]).edit(|tensors, _| {
        for array in tensors.values_mut() {
            *array = Array::f32(&[], array.to_f64().into_iter().map(|x| x as f32).collect());
        }
    }),
];

fn scale(tensors: &mut Arrays, factor: f32) {
    for (_, array) in tensors.iter_mut().filter(|(name, _)| name.starts_with('g')) {
        if let Data::F32(values) = array.data_mut() {
            values.iter_mut().for_each(|x| *x *= factor);
        }
    }
}

/// Later gradients are smaller, so that the largest mean of squares is not the last.
fn fading(tensors: &mut Arrays, _: &mut Rng) {
    for (t, array) in tensors.values_mut().enumerate() {
        if let Data::F32(values) = array.data_mut() {
            values.iter_mut().for_each(|x| *x *= 0.2f32.powi(t as i32));
        }
    }
}
