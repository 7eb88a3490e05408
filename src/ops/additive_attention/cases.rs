//! The named cases: tiles of 16 queries and keys, panels of 32 features and 64 keys, one query as a decoder has it, masks, and arguments from
//! near zero to where tanh is 1. Drawn weights make large arguments, so most cases shrink them.

use crate::ops::context::cases as context;
use crate::ops::context::cases::scale;
use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};

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
    Case::new("mask_everything", "2,5/9,4,6", &[]).edit(|tensors, _| context::mask_everything(tensors, ["key_mask", "keys"])),
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

/// Arguments of order one.
fn calm(tensors: &mut Arrays, _: &mut Rng) {
    context::calm(tensors, &["wq", "wk"], 0.7);
}

fn mask(tensors: &mut Arrays, rng: &mut Rng) {
    calm(tensors, rng);
    context::mask(tensors, rng, ["key_mask", "keys"]);
}

fn hidden_nan(tensors: &mut Arrays, rng: &mut Rng) {
    mask(tensors, rng);
    context::poison(tensors, "key_mask", &["keys", "values"]);
    context::poison_weights(tensors, "key_mask", "d_weights");
    context::poison_second(tensors, "d_context");
}
