use crate::gpu;
use wattn::ops::crf::{self, CrfOptions, Inputs};

crate::cases!("crf");
