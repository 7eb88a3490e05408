//! The named cases beside those of src/ops/recurrent/cases.rs: the reset gate before the product.

use crate::ops::Case;
use crate::ops::recurrent::cases::{lengths, without};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("reset_before", "5,3,7,11", BEFORE).quick(),
    Case::new("reset_before_tiles", "3,9,5,65", BEFORE),
    Case::new("reset_before_no_bias", "5,3,4,9,1,2", BEFORE).edit(|t, _| without(t, &["bias", "h0"])),
    Case::new("reset_before_everything", "6,5,3,9,2,2", &[("reset", "before"), ("dropout_p", "0.2"), ("seed", "9")])
        .edit(|t, _| lengths(t, &[5, 6, 0, 1, 3])),
];

const BEFORE: &[(&str, &str)] = &[("reset", "before")];
