//! What a caller may choose.

use std::str::FromStr;

use crate::ops::Settings;
use crate::{Error, Result};

/// What a plain recurrent layer applies to its preactivations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Nonlinearity {
    /// tanh(a)
    #[default]
    Tanh,
    /// max(a, 0)
    Relu,
}

impl FromStr for Nonlinearity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "tanh" => Ok(Nonlinearity::Tanh),
            "relu" => Ok(Nonlinearity::Relu),
            _ => Err(()),
        }
    }
}

/// Where the reset gate of a GRU acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reset {
    /// On U h + b', as PyTorch and cuDNN have it.
    #[default]
    After,
    /// On h, before the product, as in the paper.
    Before,
}

impl FromStr for Reset {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "after" => Ok(Reset::After),
            "before" => Ok(Reset::Before),
            _ => Err(()),
        }
    }
}

/// The kind of step, with the choices that only this kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// One product and a nonlinearity.
    Rnn(Nonlinearity),
    /// Gates r, z and n.
    Gru(Reset),
    /// Gates i, f, g and o around a cell c.
    Lstm,
}

impl Cell {
    /// The operation's name.
    pub const fn op(self) -> &'static str {
        match self {
            Cell::Rnn(_) => "rnn",
            Cell::Gru(_) => "gru",
            Cell::Lstm => "lstm",
        }
    }

    /// G: blocks of H rows in weights and biases.
    pub const fn gates(self) -> usize {
        match self {
            Cell::Rnn(_) => 1,
            Cell::Gru(_) => 3,
            Cell::Lstm => 4,
        }
    }

    /// The same kind with the choices that the keys make.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value that does not parse.
    pub fn with_settings(self, settings: &Settings) -> Result<Self> {
        let op = self.op();
        Ok(match self {
            Cell::Rnn(_) => Cell::Rnn(settings.get(op, "nonlinearity", "tanh or relu")?.unwrap_or_default()),
            Cell::Gru(_) => Cell::Gru(settings.get(op, "reset", "after or before")?.unwrap_or_default()),
            Cell::Lstm => Cell::Lstm,
        })
    }
}

/// What all recurrent layers may choose. The default is one direction, time-major, without dropout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// x and y are `[batch, time, ..]` and not `[time, batch, ..]`; states are not concerned.
    pub batch_first: bool,
    /// 1, or 2 for a layer that also reads the sequence from its end.
    pub directions: usize,
    /// The probability that an element between two layers is dropped; at least 0 and below 1.
    pub dropout_p: f32,
    /// The seed of the random numbers of dropout.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { batch_first: false, directions: 1, dropout_p: 0.0, seed: 0 }
    }
}

impl Options {
    /// From the keys of a request. The directions are for its tensors to tell.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value that does not parse.
    pub fn from_settings(op: &'static str, settings: &Settings) -> Result<Self> {
        Ok(Options {
            batch_first: settings.flag(op, "batch_first", false)?,
            directions: 1,
            dropout_p: settings.number(op, "dropout_p")?.unwrap_or(0.0),
            seed: settings.get(op, "seed", "an integer of at least 0")?.unwrap_or(0),
        })
    }

    /// Checks the values.
    ///
    /// # Errors
    /// [`Error::Argument`] for directions other than 1 and 2, and a dropout_p outside 0 <= p < 1.
    pub fn check(&self, op: &'static str) -> Result<()> {
        let fault = |key: &str, expected: &str, got: String| Err(Error::Argument { op, key: key.into(), expected: expected.into(), got });
        if !(1..=2).contains(&self.directions) {
            return fault("directions", "1 or 2", self.directions.to_string());
        }
        if !(0.0..1.0).contains(&self.dropout_p) {
            return fault("dropout_p", "a number p with 0 <= p < 1", self.dropout_p.to_string());
        }
        Ok(())
    }
}
