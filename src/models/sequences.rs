//! Sequences of different lengths, side by side.

use crate::autograd::{Device, Variable};
use crate::tasks::vocabulary::PAD;
use crate::{Array, Error, Result};

/// The target that does not count in a loss.
pub const IGNORED: i32 = -100;

/// A batch of sequences of ids: constants on a device.
#[derive(Clone, Debug)]
pub struct Sequences {
    /// i32 `[batch, time]`
    pub ids: Variable,
    /// i32 `[batch]`
    pub lengths: Variable,
    /// u8 `[batch, time]`, 1 up to the length
    pub mask: Variable,
    /// The lengths on the host.
    counts: Vec<usize>,
}

impl Sequences {
    /// Puts sequences of ids side by side, filled up with [`PAD`].
    ///
    /// # Errors
    /// [`Error::Argument`] for no sequences, or one without elements; those of the device.
    pub fn new<S: AsRef<[i32]>>(device: &Device, sequences: &[S]) -> Result<Self> {
        let (ids, counts) = padded(sequences, PAD)?;
        let mask = counts.iter().flat_map(|&count| (0..ids.shape()[1]).map(move |t| u8::from(t < count)));
        let mask = Array::u8(ids.shape(), mask.collect());
        let lengths = Array::i32(&[counts.len()], counts.iter().map(|&count| count as i32).collect());
        Ok(Sequences { ids: device.constant(ids)?, lengths: device.constant(lengths)?, mask: device.constant(mask)?, counts })
    }

    /// Numbers for each element, `[batch, time]`, 0 past the length.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are others than for each element one.
    pub(super) fn beside<S: AsRef<[i32]>>(&self, key: &str, numbers: &[S]) -> Result<Variable> {
        let counts: Vec<usize> = numbers.iter().map(|own| own.as_ref().len()).collect();
        if counts != self.counts {
            let expected = format!("one for each element, {:?}", self.counts);
            return Err(Error::Argument { op: "tagger", key: key.into(), expected, got: format!("{counts:?}") });
        }
        self.ids.device().constant(padded(numbers, 0)?.0)
    }

    /// How many.
    pub fn batch(&self) -> usize {
        self.counts.len()
    }

    /// The length of each.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// The length of the longest.
    pub fn time(&self) -> usize {
        self.counts.iter().copied().max().unwrap_or(0)
    }
}

/// `[batch, time]` and the lengths.
pub(super) fn padded<S: AsRef<[i32]>>(sequences: &[S], fill: i32) -> Result<(Array, Vec<usize>)> {
    let counts: Vec<usize> = sequences.iter().map(|sequence| sequence.as_ref().len()).collect();
    let time = counts.iter().copied().max().unwrap_or(0);
    if let Some(empty) = counts.iter().position(|&count| count == 0).or(counts.is_empty().then_some(0)) {
        let (key, expected) = (format!("sequences[{empty}]"), "a sequence of one element or more".to_string());
        return Err(Error::Argument { op: "sequences", key, expected, got: "none".into() });
    }
    let row = |sequence: &S| {
        let own = sequence.as_ref();
        own.iter().copied().chain(std::iter::repeat_n(fill, time - own.len())).collect::<Vec<i32>>()
    };
    Ok((Array::i32(&[counts.len(), time], sequences.iter().flat_map(row).collect()), counts))
}
