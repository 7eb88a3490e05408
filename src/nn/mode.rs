//! Training or prediction.

use std::sync::atomic::{AtomicU64, Ordering};

/// Whether layers drop elements, and the seeds of their random numbers: one for each use, so that no two uses drop alike.
#[derive(Debug)]
pub struct Mode {
    training: bool,
    state: AtomicU64,
}

impl Mode {
    /// Nothing is dropped.
    pub const fn predict() -> Self {
        Mode { training: false, state: AtomicU64::new(0) }
    }

    /// Elements are dropped. Seeds depend on `seed` and on the number of the step, and on nothing else: a run that goes on from a checkpoint
    /// drops what the uninterrupted one drops.
    pub fn train(seed: u64, step: u64) -> Self {
        Mode { training: true, state: AtomicU64::new(mixed(mixed(seed).wrapping_add(step))) }
    }

    /// Whether elements are dropped.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// The seed of the next use.
    pub fn seed(&self) -> u64 {
        mixed(self.state.fetch_add(GOLDEN, Ordering::Relaxed))
    }

    /// The probability that applies.
    pub(crate) fn p(&self, p: f32) -> f32 {
        if self.training { p } else { 0.0 }
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's output function: neighbouring numbers become unrelated ones. Source: Steele, Lea & Flood 2014, "Fast splittable
/// pseudorandom number generators".
fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_depend_on_seed_and_step() {
        let seeds = |seed, step| {
            let mode = Mode::train(seed, step);
            [mode.seed(), mode.seed(), mode.seed()]
        };
        assert_eq!(seeds(1, 7), seeds(1, 7));
        let mut all: Vec<u64> = [(1, 7), (1, 8), (2, 7), (0, 0)].iter().flat_map(|&(seed, step)| seeds(seed, step)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 12);
        assert_eq!(Mode::predict().p(0.5), 0.0);
    }
}
