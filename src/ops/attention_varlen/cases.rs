//! The named cases.
use crate::ops::Case;
pub(super) static CASES: &[Case] = &[Case::new("one", "1,1,1", &[])];
