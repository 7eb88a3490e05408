//! The named cases: heads of several widths, with and without probabilities, and masked keys. Drawn weights make huge logits, so most
//! cases shrink them.

use crate::ops::context::cases as context;
use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};

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
    Case::new("mask_everything", "2,5/9,8", &[("heads", "2")]).edit(|tensors, _| context::mask_everything(tensors, ["key_keep", "key"])),
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

/// Logits of order one.
fn calm(tensors: &mut Arrays, _: &mut Rng) {
    context::calm(tensors, &["in_proj_weight", "out_proj_weight"], 1.0);
}

fn no_biases(tensors: &mut Arrays, rng: &mut Rng) {
    calm(tensors, rng);
    tensors.retain(|name, _| !name.ends_with("_bias"));
}

fn forward(tensors: &mut Arrays, rng: &mut Rng) {
    mask(tensors, rng);
    tensors.retain(|name, _| !name.starts_with("d_"));
}

fn mask(tensors: &mut Arrays, rng: &mut Rng) {
    calm(tensors, rng);
    context::mask(tensors, rng, ["key_keep", "key"]);
}

fn hidden_nan(tensors: &mut Arrays, rng: &mut Rng) {
    mask(tensors, rng);
    context::poison(tensors, "key_keep", &["key", "value"]);
    context::poison_weights(tensors, "key_keep", "d_probs");
}
