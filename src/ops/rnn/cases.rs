//! The named cases beside those of src/ops/recurrent/cases.rs: relu.

use crate::ops::Case;
use crate::ops::recurrent::cases::lengths;

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("relu", "7,5,3,9", &[("nonlinearity", "relu")]),
    Case::new("relu_everything", "6,5,3,9,2,2", &[("nonlinearity", "relu"), ("dropout_p", "0.2"), ("seed", "9")])
        .edit(|t, _| lengths(t, &[5, 6, 0, 1, 3])),
];
