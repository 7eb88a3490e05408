//! The named cases.
use crate::ops::Case;
pub(super) static CASES: &[Case] = &[Case::new("one", "1,1,1,1", &[]), Case::new("two_tiles", "2,8,512,64", &[("causal", "true")])];
