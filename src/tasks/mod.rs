//! The data that models learn from: pairs and tagged sentences, generated or read from files, as indices in batches, and how good an
//! answer is.
//!
//! Nothing here knows a model or a device. What a training loop does, in order:
//!
//! 1. [`dates`], [`summary`], [`tag`] or [`roles`] generate a [`Split`], or [`read`] takes the user's files.
//! 2. [`Vocabulary`] turns texts into indices and back.
//! 3. [`Batches`] says which examples make which batch of an epoch, from a seed.
//! 4. [`score`] has exact match and entity F1.
//!
//! What is generated depends on the seed and the sizes alone, on every machine. The parts of a split are drawn so that what is held out is
//! new in the sense that each task states: a score on `test` is no score of memory.

pub mod batches;
pub mod dates;
mod names;
pub mod read;
pub mod roles;
pub mod score;
pub mod summary;
pub mod tag;
pub mod vocabulary;

use std::collections::HashSet;
use std::hash::Hash;

pub use batches::Batches;
pub use vocabulary::{Unit, Vocabulary};

use crate::ops::philox::Rng;
use crate::{Error, Result};

/// A text and what is to be made of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// What the model reads.
    pub source: String,
    /// What it is to write.
    pub target: String,
}

/// A sentence with a tag for each of its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tagged {
    /// The tokens; at least one.
    pub tokens: Vec<String>,
    /// Which tokens are the predicate that is asked about; empty where the task has none.
    pub predicate: Vec<bool>,
    /// A tag for each token: `O`, `B-TYPE` or `I-TYPE`.
    pub tags: Vec<String>,
}

impl Tagged {
    /// Adds words with one role: the first gets `B-`, the others `I-`, and without a role all are `O`.
    fn push(&mut self, text: &str, role: Option<&str>) {
        for (place, word) in text.split_whitespace().enumerate() {
            self.tokens.push(word.to_string());
            self.tags.push(match role {
                Some(role) => format!("{}-{role}", if place == 0 { 'B' } else { 'I' }),
                None => "O".into(),
            });
        }
    }
}

/// How many examples of each part to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// To learn from.
    pub train: usize,
    /// To decide by: when to stop, which weights to keep.
    pub valid: usize,
    /// For the figure that is told, which nothing was decided by.
    pub test: usize,
}

/// Three parts that share nothing of what the task holds out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split<T> {
    /// To learn from.
    pub train: Vec<T>,
    /// To decide by.
    pub valid: Vec<T>,
    /// For the figure that is told.
    pub test: Vec<T>,
}

impl<T: Clone + Eq + Hash> Split<T> {
    /// Draws each part with its own share of what is held out (0 for train, 1 for valid, 2 for test). No example is in two parts, and none is
    /// twice in what is held out: what a draw repeats is drawn again.
    fn draw(op: &'static str, sizes: &Sizes, mut example: impl FnMut(usize) -> T) -> Result<Self> {
        let mut seen = HashSet::new();
        let mut part = |share: usize, count: usize| -> Result<Vec<T>> {
            let mut examples = Vec::with_capacity(count);
            let mut repeated = 0;
            while examples.len() < count {
                let drawn = example(share);
                let new = seen.insert(drawn.clone());
                // Training may see an example twice, and has to where there are not enough.
                if new || share == 0 {
                    examples.push(drawn);
                } else {
                    repeated += 1;
                }
                if repeated > 100 * count {
                    return Err(Error::Argument {
                        op,
                        key: format!("held-out examples of part {share}"),
                        expected: format!("about {} at most", examples.len()),
                        got: count.to_string(),
                    });
                }
            }
            Ok(examples)
        };
        Ok(Split { train: part(0, sizes.train)?, valid: part(1, sizes.valid)?, test: part(2, sizes.test)? })
    }
}

/// Puts the items into an order drawn by `rng`, all orders being equally likely (Fisher and Yates).
pub fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, rng.below(last + 1));
    }
}

/// One of the items.
fn pick<'a, T: ?Sized>(rng: &mut Rng, items: &[&'a T]) -> &'a T {
    items[rng.below(items.len())]
}

/// Whether something with this probability happens.
fn chance(rng: &mut Rng, probability: f64) -> bool {
    rng.uniform() < probability
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_keeps_all_and_depends_on_the_seed() {
        let shuffled = |seed| {
            let mut items: Vec<usize> = (0..100).collect();
            shuffle(&mut items, &mut Rng::new(seed));
            items
        };
        let mut sorted = shuffled(1);
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        shuffle(&mut [0u8; 0], &mut Rng::new(0));
    }

    #[test]
    fn too_many_held_out_examples_are_an_error_and_not_a_loop() {
        let sizes = Sizes { train: 10, valid: 3, test: 3 };
        let mut next = 0;
        let error = Split::draw("test", &sizes, |share| {
            next += 1;
            (share, if share == 2 { next % 2 } else { next })
        });
        assert!(error.unwrap_err().to_string().contains("about 2 at most"));
    }
}
