//! The named cases: the four scores at sizes around the tiles of products and pairs, masks, and lengths at either side of the bound of cosine.

use crate::ops::context::cases as context;
use crate::ops::context::cases::scale;
use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};

const DOT: &[(&str, &str)] = &[("score", "dot")];
const GENERAL: &[(&str, &str)] = &[("score", "general")];
const CONCAT: &[(&str, &str)] = &[("score", "concat")];
const COSINE: &[(&str, &str)] = &[("score", "cosine")];

/// The cases. A score of zero vectors has no derivative, so they are in tests/ops/luong_attention.rs.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1,1", &[]),
    Case::new("dot", "2,5/12,8/8/11", DOT).quick(),
    Case::new("dot_tiles", "1,65/63,16/16/65", &[]),
    Case::new("dot_one_query", "3,1/129,20/20/9", DOT),
    Case::new("dot_many_keys", "1,3/1031,4", DOT),
    Case::new("dot_mask", "3,7/33,12/12/20", DOT).edit(mask),
    Case::new("dot_mask_hides_nan", "3,6/67,8/8/20", DOT).edit(hidden_nan),
    Case::new("dot_huge_scores", "2,9/21,12", DOT).edit(|tensors, _| scale(tensors, &["query"], 30.0)),
    Case::new("general", "2,9/21,14/10/12", GENERAL).edit(calm),
    Case::new("general_one_query", "3,1/70,5/6/7", GENERAL).edit(calm),
    Case::new("general_tiles", "1,33/65,64/65/63", GENERAL).edit(calm),
    Case::new("general_mask_hides_nan", "3,6/67,9/12/20", GENERAL).edit(hidden_nan).quick(),
    Case::new("concat", "2,7/19,11/13/17,23", CONCAT).edit(calm).quick(),
    Case::new("concat_one_query", "3,1/70,5/6/7,33", CONCAT).edit(calm),
    Case::new("concat_tiles", "1,17/33,16/16/16,65", CONCAT).edit(calm),
    Case::new("concat_mask_hides_nan", "3,6/67,8/12/20,40", CONCAT).edit(hidden_nan),
    Case::new("cosine_one", "1,1,1", COSINE),
    Case::new("cosine", "2,5/12,8/8/11", COSINE).quick(),
    Case::new("cosine_one_query", "3,1/129,65/65/9", COSINE),
    Case::new("cosine_wide", "2,3/7,1025/1025/5", COSINE),
    Case::new("cosine_tiles", "1,65/257,16/16/33", COSINE),
    Case::new("cosine_large", "2,9/21,12", COSINE).edit(|tensors, _| scale(tensors, &["query", "keys"], 1000.0)),
    // Every product of lengths is below the bound, which then divides.
    Case::new("cosine_tiny", "2,9/21,12", COSINE).edit(|tensors, _| scale(tensors, &["query", "keys"], 1e-5)),
    Case::new("cosine_mask_hides_nan", "3,6/67,9/9/20", COSINE).edit(hidden_nan).quick(),
    Case::new("mask_everything", "2,5/9,4", COSINE).edit(|tensors, _| context::mask_everything(tensors, ["key_mask", "keys"])),
    Case::new("context_only", "2,7/19,8", COSINE).edit(|tensors, _| {
        tensors.remove("d_weights");
    }),
    Case::new("weights_only", "2,7/19,8", GENERAL).edit(|tensors, rng| {
        calm(tensors, rng);
        tensors.remove("d_context");
    }),
    Case::new("forward_only", "2,7/19,8", COSINE).edit(|tensors, rng| {
        mask(tensors, rng);
        tensors.retain(|name, _| !name.starts_with("d_"));
    }),
];

/// Scores of order one.
fn calm(tensors: &mut Arrays, _: &mut Rng) {
    context::calm(tensors, &["w"], 1.0);
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
