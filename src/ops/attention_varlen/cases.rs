//! The named cases.

use crate::ops::Case;
use crate::{Array, Data};

pub(super) static CASES: &[Case] = &[
    Case::new("one", "1,1,1", &[]),
    Case::new("single", "97,2,16", &[]),
    Case::new("self", "17/1/33/5,3,16", &[]),
    Case::new("self_causal", "17/1/33/5,3,16", &[("causal", "true")]).quick(),
    Case::new("cross", "5/9/1,7/30/2,2,16/24", &[]),
    Case::new("many", "3/1/7/2/16/5/1/1/9/15/4/33/2/6/1/8/3/31/2/17/1/5/64/2/65/1,2,16", &[("causal", "true")]),
    // Queries without keys, keys without queries, and neither.
    Case::new("empty", "0/7/0/9/0,4/0/0/11/0,2,8", &[]).quick(),
    Case::new("empty_causal", "0/7/0/33/1,4/0/0/40/0,4/2,16", &[("causal", "true")]),
    Case::new("longer_keys", "3/17,33/65,2,16", &[("causal", "true")]),
    // The first queries of a sequence with more queries than keys see nothing.
    Case::new("longer_queries", "33/65,3/17,2,16", &[("causal", "true")]).quick(),
    Case::new("grouped", "13/29,31/17,6/2,40/24", &[("causal", "true")]),
    Case::new("multi_query", "13/29,31/17,8/1,16", &[]),
    Case::new("offset_negative", "20/33,20/40,2,16", &[("causal", "true"), ("offset", "-3")]),
    Case::new("offset_positive", "20/33,20/40,2,16", &[("causal", "true"), ("offset", "5")]),
    Case::new("window_causal", "40/1/70,2,16", &[("causal", "true"), ("window_left", "7")]),
    Case::new("window_both", "40/31,50/20,2,16", &[("window_left", "5"), ("window_right", "2")]),
    Case::new("softcap", "20/31,2,24", &[("softcap", "2.5"), ("scale", "0.5")]),
    Case::new("dropout", "17/1/33,20/3/65,4/2,16", &[("dropout_p", "0.25"), ("seed", "7")]),
    Case::new("tiles", "64/129/63,64/65/128,1,64", &[("causal", "true")]),
    Case::new("everything", "0/17/65/2/40,3/33/70/2/20,4/2,40/24", EVERYTHING).quick(),
    // NaN and infinities in keys that no query sees: those past the diagonal, and those of a sequence without queries.
    Case::new("planted", "0/20,9/33,2,16", &[("causal", "true"), ("offset", "-3")]).edit(|t, _| {
        for name in ["k", "v"] {
            let Some(Data::F32(data)) = t.get_mut(name).map(Array::data_mut) else { continue };
            for (n, row) in data.chunks_exact_mut(16).enumerate() {
                let seen = 9..9 + 33 - 3;
                if !seen.contains(&(n / 2)) {
                    row.fill([f32::NAN, f32::INFINITY, f32::NEG_INFINITY][n % 3]);
                }
            }
        }
    }),
    Case::new("composed", "17/33,20/65,2,16", &[("path", "composed"), ("causal", "true")]),
    Case::new("f16", "17/1/33,20/3/65,4/2,64", &[("dtype", "f16"), ("causal", "true")]),
    Case::new("f16_dropout", "9/0/40,9/5/33,2,40/24", &[("dtype", "f16"), ("dropout_p", "0.5"), ("seed", "9"), ("softcap", "4")]),
];

const EVERYTHING: &[(&str, &str)] = &[
    ("causal", "true"),
    ("offset", "-1"),
    ("window_left", "30"),
    ("window_right", "2"),
    ("softcap", "5"),
    ("dropout_p", "0.2"),
    ("seed", "11"),
    ("scale", "0.2"),
];
