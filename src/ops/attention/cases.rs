//! The named cases. Tiles are assumed to have 16, 32 or 64 rows, so that lengths lie around these; 97 and 113 divide by
//! nothing.

use crate::Array;
use crate::Data;
use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};

pub(super) static CASES: &[Case] = &[
    Case::new("basic", "2,3,17,16", &[]).quick(),
    // Sizes.
    Case::new("one", "1,1,1,1", &[]),
    Case::new("one_key", "2,2,5/1,8", &[]),
    Case::new("one_query", "2,2,1/33,16", &[]),
    Case::new("below_small_tile", "1,2,15/31,16", &[]),
    Case::new("small_tile", "1,2,16/32,16", &[]),
    Case::new("above_small_tile", "1,2,17/33,16", &[]),
    Case::new("below_tile", "1,2,63,16", &[]),
    Case::new("tile", "1,2,64,16", &[]),
    Case::new("above_tile", "1,2,65,16", &[]),
    Case::new("two_tiles_and_one", "1,1,129,16", &[]),
    Case::new("primes", "1,2,97/113,5", &[]),
    Case::new("many_tiles", "1,2,129/193,64", &[]),
    Case::new("many_tiles_causal", "1,4/2,150/193,64", &[("causal", "true"), ("offset", "43")]),
    Case::new("many_tiles_window", "1,2,161/225,24", &[("window_left", "40"), ("window_right", "9"), ("offset", "50")]),
    Case::new("many_tiles_mask", "2,2,161/193,16", &[]).edit(|t, rng| {
        mask(t, &[2, 1, 161, 193], 0.5, rng);
        // Tiles that are hidden, tiles that are visible, and both beside partial ones.
        let bits = bytes(t, "mask");
        bits.iter_mut().enumerate().for_each(|(n, bit)| match (n / 193 % 161 / 64, n % 193 / 64) {
            (0, 0) | (1, 1) => *bit = 0,
            (0, 1) | (2, 0) => *bit = 1,
            _ => {}
        });
    }),
    Case::new("many_tiles_everything", "2,4/2,131/201,36/28", EVERYTHING).edit(|t, rng| {
        mask(t, &[1, 4, 131, 201], 0.7, rng);
        bias(t, &[2, 1, 131, 201], rng);
        kv_lengths(t, &[201, 140]);
        alibi(t);
        plant(t, &["k", "v"], |b, j| b == 1 && j >= 140);
    }),
    Case::new("many_tiles_f16", "1,4/2,129/193,64", &[("dtype", "f16"), ("causal", "true"), ("offset", "64")]),
    // Few queries against many keys.
    Case::new("decode", "2,4/2,1/1027,16", &[("causal", "true"), ("offset", "1026")]).quick(),
    Case::new("decode_wide", "1,2,1/600,100", &[]),
    Case::new("decode_several", "1,4/2,16/1300,24", &[("causal", "true"), ("offset", "1284"), ("window_left", "700")]),
    Case::new("decode_masked", "2,2,3/800,16", &[("softcap", "4"), ("dropout_p", "0.2"), ("seed", "3")]).edit(|t, rng| {
        mask(t, &[2, 1, 3, 800], 0.3, rng);
        hide_rows(t, 800, &[1, 5]);
        bias(t, &[2, 1, 800], rng);
        kv_lengths(t, &[800, 300]);
        plant(t, &["k", "v"], |b, j| b == 1 && j >= 300);
    }),
    Case::new("decode_f16", "1,4/1,5/700,40", &[("dtype", "f16")]),
    // Head dimensions.
    Case::new("dim_1", "1,2,9/19,1", &[]),
    Case::new("dim_5", "1,2,9/19,5", &[]),
    Case::new("dim_40", "1,2,9/19,40", &[]),
    Case::new("dim_59", "1,2,17/33,59", &[]),
    Case::new("dim_64", "1,2,17/33,64", &[]),
    Case::new("dim_80", "1,2,17/33,80", &[]),
    Case::new("dim_111", "1,2,17/33,111", &[]),
    Case::new("dim_128", "1,2,33/65,128", &[]),
    Case::new("dim_200", "1,4/2,33/65,200/136", &[("causal", "true"), ("offset", "32")]),
    Case::new("dim_256", "1,1,9/19,256", &[]),
    // Where products pass operands from register to register, with values among them that must reach nothing.
    Case::new("dim_72_lengths", "2,2,20/36,72", &[]).edit(|t, _| {
        kv_lengths(t, &[36, 17]);
        plant(t, &["k", "v"], |b, j| b == 1 && j >= 17);
    }),
    Case::new("dim_260", "1,1,9/19,260/3", &[]),
    Case::new("values_wider", "1,2,19/23,8/37", &[]),
    Case::new("values_of_one", "1,2,19/23,16/1", &[]),
    // Heads.
    Case::new("grouped", "1,6/2,37/53,40/24", &[]).quick(),
    Case::new("multi_query", "2,8/1,17/33,16", &[]),
    // Scale.
    Case::new("scale", "1,2,17,16", &[("scale", "0.3")]),
    Case::new("scale_negative", "1,2,17,16", &[("scale", "-0.5")]),
    Case::new("scale_zero", "1,2,17,16", &[("scale", "0")]),
    // Causality: the offset moves the diagonal, as far as leaving rows or everything hidden.
    Case::new("causal", "2,3,33,20", &[("causal", "true")]).quick(),
    Case::new("causal_longer_keys", "1,4/2,21/45,32", &[("causal", "true"), ("offset", "24")]),
    Case::new("causal_hidden_rows", "1,2,45/21,16", &[("causal", "true"), ("offset", "-24")]),
    Case::new("causal_hidden_tile", "1,2,80/30,16", &[("causal", "true"), ("offset", "-66")]),
    Case::new("causal_nothing_visible", "1,2,9/11,8", &[("causal", "true"), ("offset", "-100")]),
    Case::new("causal_everything_visible", "1,2,9/11,8", &[("causal", "true"), ("offset", "200")]),
    // Windows.
    Case::new("window_causal", "1,2,70,16", &[("causal", "true"), ("window_left", "7")]),
    Case::new("window_right", "1,2,40/33,16", &[("window_right", "3")]),
    Case::new("window_both", "1,2,70/80,16", &[("window_left", "5"), ("window_right", "2"), ("offset", "3")]),
    Case::new("window_itself", "1,2,33,16", &[("window_left", "0"), ("window_right", "0")]),
    Case::new("window_hidden_rows", "1,2,33/17,16", &[("window_left", "4"), ("window_right", "1"), ("offset", "-9")]),
    Case::new("window_wide", "1,2,17,16", &[("window_left", "4294967295"), ("window_right", "2147483648"), ("offset", "-2147483648")]),
    // Key lengths.
    Case::new("kv_lengths", "3,2/1,9/53,24", &[]).edit(|t, _| kv_lengths(t, &[0, 53, 20])),
    Case::new("kv_lengths_causal", "3,2,40/65,16", &[("causal", "true"), ("offset", "25")]).edit(|t, _| kv_lengths(t, &[64, 1, 33])),
    // Masks, in the shapes that broadcasting allows.
    Case::new("mask_scalar", "2,2,9/17,8", &[]).edit(|t, rng| mask(t, &[], 1.0, rng)),
    Case::new("mask_keys", "2,2,13/70,16", &[]).edit(|t, rng| mask(t, &[70], 0.6, rng)),
    Case::new("mask_queries", "2,2,13/17,16", &[]).edit(|t, rng| mask(t, &[13, 1], 0.6, rng)),
    Case::new("mask_matrix", "2,2,13/70,16", &[]).edit(|t, rng| mask(t, &[13, 70], 0.6, rng)),
    Case::new("mask_batch_keys", "3,2,13/33,16", &[]).edit(|t, rng| mask(t, &[3, 1, 1, 33], 0.6, rng)),
    Case::new("mask_heads", "2,6/3,9/17,8", &[]).edit(|t, rng| mask(t, &[6, 1, 1], 0.5, rng)),
    Case::new("mask_full", "2,4/2,17/65,16", &[]).edit(|t, rng| mask(t, &[2, 4, 17, 65], 0.5, rng)),
    Case::new("mask_hidden_rows", "2,3,27/41,16", &[]).quick().edit(|t, rng| {
        mask(t, &[2, 1, 27, 41], 0.5, rng);
        hide_rows(t, 41, &[0, 5, 26, 27 + 3]);
    }),
    Case::new("mask_sparse", "1,2,65/130,16", &[]).edit(|t, rng| mask(t, &[65, 130], 0.01, rng)),
    Case::new("mask_nothing_visible", "1,2,9/17,8", &[]).edit(|t, rng| mask(t, &[9, 17], 0.0, rng)),
    // Every byte but 0 keeps.
    Case::new("mask_bytes", "1,2,9/17,8", &[]).edit(|t, rng| {
        let bytes = (0..9 * 17).map(|_| [0, 1, 2, 128, 255][rng.below(5)]).collect();
        t.insert("mask".into(), Array::u8(&[9, 17], bytes));
    }),
    // Biases, likewise; each has a gradient of its own shape.
    Case::new("bias_scalar", "2,2,9/17,8", &[]).edit(|t, rng| bias(t, &[1], rng)),
    Case::new("bias_keys", "2,2,9/17,8", &[]).edit(|t, rng| bias(t, &[17], rng)),
    Case::new("bias_queries", "2,2,9/17,8", &[]).edit(|t, rng| bias(t, &[9, 1], rng)),
    Case::new("bias_matrix", "3,4/2,33/23,16", &[]).edit(|t, rng| bias(t, &[1, 1, 33, 23], rng)),
    Case::new("bias_batch_keys", "3,2,9/65,8", &[]).edit(|t, rng| bias(t, &[3, 1, 1, 65], rng)),
    Case::new("bias_batch_queries", "3,2,9/65,8", &[]).edit(|t, rng| bias(t, &[3, 1, 9, 1], rng)),
    Case::new("bias_heads", "3,4/2,9/17,8", &[]).edit(|t, rng| bias(t, &[1, 4, 1, 1], rng)),
    Case::new("bias_batch_heads", "3,4,9/17,8", &[]).edit(|t, rng| bias(t, &[3, 4, 1, 1], rng)),
    Case::new("bias_keys_lengths", "2,2,40/65,8", &[]).edit(|t, rng| {
        bias(t, &[65], rng);
        kv_lengths(t, &[33, 64]);
    }),
    Case::new("bias_matrix_lengths", "2,4/2,40/65,8", &[("causal", "true"), ("offset", "25")]).edit(|t, rng| {
        bias(t, &[40, 65], rng);
        kv_lengths(t, &[33, 64]);
    }),
    Case::new("bias_head_matrices", "3,4/2,15/23,16", &[]).quick().edit(|t, rng| bias(t, &[1, 4, 15, 23], rng)),
    Case::new("bias_full", "2,2,65/70,16", &[("causal", "true")]).edit(|t, rng| bias(t, &[2, 2, 65, 70], rng)),
    Case::new("bias_negative_infinity", "2,2,18/26,16", &[]).edit(|t, rng| {
        bias(t, &[2, 2, 18, 26], rng);
        fill(t, "bias", f32::NEG_INFINITY, |n| n % 3 == 0 || [0, 4, 18 + 7].contains(&(n / 26)));
    }),
    Case::new("bias_hidden_keys", "2,2,18/26,16", &[]).edit(|t, rng| {
        bias(t, &[2, 1, 1, 26], rng);
        fill(t, "bias", f32::NEG_INFINITY, |n| n % 2 == 0 || n >= 26);
    }),
    // A large negative number in place of −∞, as BERT's code has it: visible, with a probability that rounds to 0.
    Case::new("bias_sentinel", "2,2,18/26,16", &[]).edit(|t, rng| {
        bias(t, &[18, 26], rng);
        fill(t, "bias", -10_000.0, |n| n % 3 == 0);
    }),
    // The lowest number as a mask, as PyTorch users have it: a row of nothing else is the mean of its values.
    Case::new("bias_lowest", "1,2,18/70,16", &[]).edit(|t, rng| {
        bias(t, &[18, 70], rng);
        fill(t, "bias", f32::MIN, |n| n % 3 == 0 || n / 70 == 4);
    }),
    // ALiBi, with a gradient for the slopes.
    Case::new("alibi", "2,4/2,22/65,16", &[("offset", "20")]).edit(|t, _| alibi(t)),
    Case::new("alibi_causal", "2,4,65,16", &[("causal", "true")]).edit(|t, _| alibi(t)),
    // Softcap.
    Case::new("softcap", "2,2,20/34,24", &[("softcap", "2.5")]),
    Case::new("softcap_saturated", "1,2,17/33,16", &[("softcap", "20")]).edit(|t, _| multiply(t, "q", 100.0)),
    // Dropout, drawn and given.
    Case::new("dropout", "2,4/2,33/65,16", &[("dropout_p", "0.25"), ("seed", "7")]),
    Case::new("dropout_most", "1,2,17/33,16", &[("dropout_p", "0.9"), ("seed", "123456789012345"), ("causal", "true")]),
    Case::new("dropout_keep", "2,2,15/21,16", &[("dropout_p", "0.25")]).edit(|t, rng| {
        t.insert("dropout_keep".into(), Array::u8(&[2, 2, 15, 21], bits(2 * 2 * 15 * 21, 0.75, rng)));
    }),
    // The matrix of weights.
    Case::new("weights", "2,2,17/33,16", &[("weights", "true")]),
    Case::new("weights_dropout", "2,4/2,17/33,16", &[("weights", "true"), ("dropout_p", "0.3"), ("seed", "3")]).edit(|t, rng| {
        mask(t, &[2, 1, 17, 33], 0.7, rng);
        hide_rows(t, 33, &[2, 17]);
    }),
    Case::new("composed", "1,2,33/65,16", &[("path", "composed"), ("causal", "true"), ("offset", "32")]),
    // Everything at once.
    Case::new("everything", "2,4/2,33/65,40/24", EVERYTHING).quick().edit(everything),
    Case::new("huge_logits", "1,2,16/64,32", &[]).edit(|t, _| multiply(t, "q", 100.0)),
    // NaN and infinities where nothing may look: they reach no output and no gradient.
    Case::new("planted_masked", "2,2,17/65,16", &[]).edit(|t, rng| {
        mask(t, &[2, 1, 1, 65], 0.7, rng);
        let hidden: Vec<bool> = bytes(t, "mask").iter().map(|&keep| keep == 0).collect();
        plant(t, &["k", "v"], |b, j| hidden[b * 65 + j]);
    }),
    Case::new("planted_padding", "3,2,9/65,16", &[]).edit(|t, _| {
        let lengths = [0, 33, 64];
        kv_lengths(t, &lengths);
        plant(t, &["k", "v"], |b, j| j >= lengths[b] as usize);
    }),
    Case::new("planted_future", "1,4/2,33/70,16", &[("causal", "true"), ("offset", "2")]).edit(|t, _| plant(t, &["k", "v"], |_, j| j > 34)),
    Case::new("planted_past", "1,2,33/70,16", &[("window_left", "3"), ("offset", "20")]).edit(|t, _| plant(t, &["k", "v"], |_, j| j < 17)),
    Case::new("planted_bias", "1,2,17/33,16", &[]).edit(|t, rng| {
        bias(t, &[33], rng);
        fill(t, "bias", f32::NEG_INFINITY, |j| j % 5 == 0);
        plant(t, &["k", "v"], |_, j| j % 5 == 0);
    }),
    Case::new("planted_hidden_rows", "1,2,33/17,16", &[("causal", "true"), ("offset", "-20")])
        .edit(|t, _| plant(t, &["q", "d_o"], |_, i| i < 20)),
    // Storage in f16.
    Case::new("f16", "2,3,17,16", &[("dtype", "f16")]),
    Case::new("f16_grouped_causal", "1,4/2,33/65,64", &[("dtype", "f16"), ("causal", "true"), ("offset", "32")]).quick(),
    Case::new("f16_odd", "1,2,17/33,59/37", &[("dtype", "f16")]),
    Case::new("f16_bias", "2,2,18/26,16", &[("dtype", "f16"), ("softcap", "3")]).edit(|t, rng| bias(t, &[2, 18, 26], rng)),
    Case::new("f16_everything", "2,4/2,33/65,40/24", F16_EVERYTHING).edit(everything),
    Case::new("f16_planted_tiles", "3,2,33/65,40", &[("dtype", "f16"), ("causal", "true"), ("offset", "32")]).edit(|t, _| {
        let lengths = [0, 33, 64];
        kv_lengths(t, &lengths);
        plant(t, &["k", "v"], |b, j| j >= lengths[b] as usize);
    }),
    Case::new("f16_planted", "3,2,9/65,16", &[("dtype", "f16")]).edit(|t, _| {
        let lengths = [0, 33, 64];
        kv_lengths(t, &lengths);
        plant(t, &["k", "v"], |b, j| j >= lengths[b] as usize);
    }),
];

type Settings = &'static [(&'static str, &'static str)];
const EVERYTHING: Settings = &[
    ("causal", "true"),
    ("offset", "31"),
    ("window_left", "40"),
    ("window_right", "5"),
    ("softcap", "5"),
    ("dropout_p", "0.2"),
    ("seed", "11"),
    ("scale", "0.2"),
];
const F16_EVERYTHING: Settings = &[
    ("causal", "true"),
    ("offset", "31"),
    ("window_left", "40"),
    ("softcap", "5"),
    ("dropout_p", "0.2"),
    ("seed", "12"),
    ("dtype", "f16"),
];

fn everything(t: &mut Arrays, rng: &mut Rng) {
    mask(t, &[2, 1, 33, 65], 0.7, rng);
    hide_rows(t, 65, &[4, 33 + 9]);
    bias(t, &[1, 4, 33, 65], rng);
    fill(t, "bias", f32::NEG_INFINITY, |n| n % 7 == 0);
    kv_lengths(t, &[65, 40]);
    alibi(t);
    plant(t, &["k", "v"], |b, j| b == 1 && j >= 40);
}

/// 1 with probability `keep`.
fn bits(n: usize, keep: f64, rng: &mut Rng) -> Vec<u8> {
    (0..n).map(|_| u8::from(rng.uniform() < keep)).collect()
}

fn mask(t: &mut Arrays, shape: &[usize], keep: f64, rng: &mut Rng) {
    let data = bits(shape.iter().product(), keep, rng);
    t.insert("mask".into(), Array::u8(shape, data));
}

fn bias(t: &mut Arrays, shape: &[usize], rng: &mut Rng) {
    let data = rng.normals(shape.iter().product());
    t.insert("bias".into(), Array::f32(shape, data));
}

fn kv_lengths(t: &mut Arrays, lengths: &[i32]) {
    t.insert("kv_lengths".into(), Array::i32(&[lengths.len()], lengths.to_vec()));
}

/// The slopes of the ALiBi paper: 2^(−8 (h + 1) / heads).
fn alibi(t: &mut Arrays) {
    let heads = t.get("q").map_or(1, |q| q.shape()[1]);
    let slopes = (1..=heads).map(|h| (-8.0 * h as f32 / heads as f32).exp2()).collect();
    t.insert("alibi_slopes".into(), Array::f32(&[heads], slopes));
}

/// The elements of an f32 tensor; none when there is no such tensor.
fn floats<'a>(t: &'a mut Arrays, name: &str) -> &'a mut [f32] {
    match t.get_mut(name).map(Array::data_mut) {
        Some(Data::F32(data)) => data,
        _ => &mut [],
    }
}

fn bytes<'a>(t: &'a mut Arrays, name: &str) -> &'a mut [u8] {
    match t.get_mut(name).map(Array::data_mut) {
        Some(Data::U8(data)) => data,
        _ => &mut [],
    }
}

fn multiply(t: &mut Arrays, name: &str, factor: f32) {
    floats(t, name).iter_mut().for_each(|x| *x *= factor);
}

/// Sets the elements at the places that `at` picks.
fn fill(t: &mut Arrays, name: &str, value: f32, at: impl Fn(usize) -> bool) {
    floats(t, name).iter_mut().enumerate().filter(|&(n, _)| at(n)).for_each(|(_, x)| *x = value);
}

/// Clears whole rows of the mask, which is `width` wide.
fn hide_rows(t: &mut Arrays, width: usize, rows: &[usize]) {
    for &row in rows {
        bytes(t, "mask")[row * width..(row + 1) * width].fill(0);
    }
}

/// Fills the tokens (batch element, place) that `at` picks with NaN and infinities, in all heads of `[batch, heads, seq, dim]`.
fn plant(t: &mut Arrays, names: &[&str], at: impl Fn(usize, usize) -> bool) {
    for name in names {
        let Some(&[_, heads, seq, dim]) = t.get(*name).map(Array::shape) else { continue };
        for (n, row) in floats(t, name).chunks_exact_mut(dim).enumerate() {
            if at(n / (heads * seq), n % seq) {
                row.fill([f32::NAN, f32::INFINITY, f32::NEG_INFINITY][n % 3]);
            }
        }
    }
}
