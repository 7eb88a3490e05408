//! Which examples make which batch.

use super::shuffle;
use crate::Result;
use crate::ops::philox::{Rng, element};

/// Batches that are sorted by length together: more waste less on padding, fewer are more random.
const POOL: usize = 32;

/// The order in which examples are seen. Each epoch has another one, which depends on the seed and the epoch alone: whoever stopped
/// before batch `n` of epoch `e` goes on with `epoch(e)[n..]`.
///
/// Examples of similar length come together, so that little is padding: a pool of some batches is drawn at random, sorted by length
/// and cut, and the batches are put into a random order.
#[derive(Clone, Debug)]
pub struct Batches {
    lengths: Vec<usize>,
    size: usize,
    seed: u64,
}

impl Batches {
    /// Batches of up to `size` examples (at least 1) whose lengths are given.
    pub fn new(lengths: Vec<usize>, size: usize, seed: u64) -> Self {
        Batches { lengths, size: size.max(1), seed }
    }

    /// Batches in an epoch.
    pub fn count(&self) -> usize {
        self.lengths.len().div_ceil(self.size)
    }

    /// The examples of every batch of an epoch, in order. Each example is in one batch, and all batches but one are full.
    pub fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut rng = Rng::new(epoch_seed(self.seed, epoch));
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        shuffle(&mut order, &mut rng);
        let pools = order.chunks_mut(self.size * POOL);
        let mut batches: Vec<Vec<usize>> = pools
            .flat_map(|pool| {
                // Stable: equals stay in their random order.
                pool.sort_by_key(|&example| self.lengths[example]);
                pool.chunks(self.size).map(<[usize]>::to_vec).collect::<Vec<_>>()
            })
            .collect();
        shuffle(&mut batches, &mut rng);
        batches
    }

    /// All examples by length, the longest last, for validation and prediction, where order means nothing.
    pub fn sorted(&self) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        order.sort_by_key(|&example| self.lengths[example]);
        order.chunks(self.size).map(<[usize]>::to_vec).collect()
    }

    /// What `run` makes of each example, in their order; it gets them in the batches of [`Batches::sorted`].
    ///
    /// # Errors
    /// Those of `run`.
    pub fn each<T>(&self, mut run: impl FnMut(&[usize]) -> Result<Vec<T>>) -> Result<Vec<T>> {
        let mut made = Vec::with_capacity(self.lengths.len());
        for batch in self.sorted() {
            made.extend(run(&batch)?.into_iter().zip(batch));
        }
        made.sort_by_key(|(_, example)| *example);
        Ok(made.into_iter().map(|(made, _)| made).collect())
    }
}

/// A seed for each epoch, so that the streams of two have nothing in common.
fn epoch_seed(seed: u64, epoch: u64) -> u64 {
    let word = |index| u64::from(element(seed, index));
    word(2 * epoch) << 32 | word(2 * epoch + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(size: usize, seed: u64) -> Batches {
        let mut rng = Rng::new(9);
        Batches::new((0..1003).map(|_| 5 + rng.below(40)).collect(), size, seed)
    }

    #[test]
    fn an_epoch_has_every_example_once() {
        for size in [1, 16, 64, 5_000] {
            let batches = batches(size, 1);
            let epoch = batches.epoch(0);
            assert_eq!(epoch.len(), batches.count());
            assert!(epoch.iter().filter(|batch| batch.len() != size.min(1003)).count() <= 1);
            let mut all = epoch.concat();
            all.sort_unstable();
            assert_eq!(all, (0..1003).collect::<Vec<_>>());
        }
        assert!(Batches::new(vec![], 4, 0).epoch(3).is_empty());
    }

    #[test]
    fn the_order_depends_on_the_seed_and_the_epoch_alone() {
        let (one, two) = (batches(16, 1), batches(16, 2));
        assert_eq!(one.epoch(5), one.clone().epoch(5));
        assert_ne!(one.epoch(5), one.epoch(6));
        assert_ne!(one.epoch(5), two.epoch(5));
    }

    #[test]
    fn what_is_made_of_each_example_comes_in_order() {
        let batches = batches(16, 1);
        let made = batches.each(|examples| Ok(examples.iter().map(|&example| (example, batches.lengths[example])).collect()));
        assert_eq!(made.unwrap(), batches.lengths.iter().copied().enumerate().collect::<Vec<_>>());
    }

    #[test]
    fn little_is_padding() {
        let batches = batches(16, 1);
        let waste = |epoch: Vec<Vec<usize>>| {
            let padded: usize = epoch.iter().map(|batch| batch.len() * batch.iter().map(|&i| batches.lengths[i]).max().unwrap()).sum();
            padded as f64 / batches.lengths.iter().sum::<usize>() as f64
        };
        assert!(waste(batches.epoch(0)) < 1.1, "{}", waste(batches.epoch(0)));
        assert!(waste(batches.sorted()) < 1.05);
    }
}
