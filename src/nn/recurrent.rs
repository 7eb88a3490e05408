//! Rnn, Gru and Lstm.

use std::str::FromStr;

use super::{Init, Mode, Scope};
use crate::autograd::{Variable, apply, settings};
use crate::ops::{Operation, gru, lstm, rnn};
use crate::{Error, Result};

/// Which step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Cell {
    /// tanh of one product: [`ops::rnn`](crate::ops::rnn).
    Rnn,
    /// [`ops::gru`](crate::ops::gru)
    Gru,
    /// [`ops::lstm`](crate::ops::lstm)
    #[default]
    Lstm,
}

impl Cell {
    /// The name, as configurations have it.
    pub const fn name(self) -> &'static str {
        match self {
            Cell::Rnn => "rnn",
            Cell::Gru => "gru",
            Cell::Lstm => "lstm",
        }
    }

    fn operation(self) -> &'static dyn Operation {
        match self {
            Cell::Rnn => &rnn::Rnn,
            Cell::Gru => &gru::Gru,
            Cell::Lstm => &lstm::Lstm,
        }
    }

    const fn gates(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru => 3,
            Cell::Lstm => 4,
        }
    }
}

impl FromStr for Cell {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = [Cell::Rnn, Cell::Gru, Cell::Lstm].into_iter().find(|cell| cell.name() == text);
        let wrong =
            || Error::Argument { op: "recurrent", key: "cell".into(), expected: "rnn, gru or lstm".into(), got: format!("'{text}'") };
        found.ok_or_else(wrong)
    }
}

/// The sizes of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecurrentOptions {
    /// Which step.
    pub cell: Cell,
    /// Features of x.
    pub inputs: usize,
    /// Features of a state.
    pub hidden: usize,
    /// Layers, one on the other.
    pub layers: usize,
    /// Also from the last step to the first: y has twice as many features.
    pub bidirectional: bool,
    /// The probability that an element between two layers is dropped while training.
    pub dropout: f32,
}

/// `torch.nn.RNN`, `GRU` or `LSTM` with `batch_first`, parameters uniform up to 1/√hidden.
#[derive(Clone, Debug)]
pub struct Recurrent {
    options: RecurrentOptions,
    weights: Vec<(String, Variable)>,
}

/// The states of all layers and directions, each `[layers · directions, batch, hidden]`.
#[derive(Clone, Debug)]
pub struct States {
    /// h
    pub h: Variable,
    /// c, of an LSTM.
    pub c: Option<Variable>,
}

/// What a recurrent layer gives.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// `[batch, time, directions · hidden]`; 0 past a sequence's length.
    pub y: Variable,
    /// After the last step of each sequence.
    pub last: States,
}

impl Recurrent {
    /// Draws weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, the same with `_reverse`, and those of the other layers.
    ///
    /// # Errors
    /// As [`Scope::draw`].
    pub fn new(scope: &mut Scope, options: &RecurrentOptions) -> Result<Self> {
        let RecurrentOptions { cell, inputs, hidden, layers, bidirectional, .. } = *options;
        let init = Init::Uniform(1.0 / (hidden as f64).sqrt());
        let (rows, directions) = (cell.gates() * hidden, 1 + usize::from(bidirectional));
        let mut weights = vec![];
        for (layer, direction) in (0..layers * directions).map(|n| (n / directions, n % directions)) {
            let suffix = format!("_l{layer}{}", if direction == 1 { "_reverse" } else { "" });
            let columns = if layer == 0 { inputs } else { directions * hidden };
            let shapes =
                [("weight_ih", vec![rows, columns]), ("weight_hh", vec![rows, hidden]), ("bias_ih", vec![rows]), ("bias_hh", vec![rows])];
            for (base, shape) in shapes {
                let name = format!("{base}{suffix}");
                weights.push((name.clone(), scope.draw(&name, &shape, init)?));
            }
        }
        Ok(Recurrent { options: *options, weights })
    }

    /// The sizes.
    pub fn options(&self) -> &RecurrentOptions {
        &self.options
    }

    /// x `[batch, time, inputs]`, from `states` or from zero, each sequence up to its length.
    ///
    /// # Errors
    /// As [`apply`].
    pub fn forward(&self, x: &Variable, lengths: Option<&Variable>, states: Option<&States>, mode: &Mode) -> Result<Sequence> {
        let mut inputs = vec![("x", x)];
        inputs.extend(self.weights.iter().map(|(name, weight)| (name.as_str(), weight)));
        inputs.extend(lengths.map(|lengths| ("lengths", lengths)));
        if let Some(States { h, c }) = states {
            inputs.push(("h0", h));
            inputs.extend(c.as_ref().map(|c| ("c0", c)));
        }
        let p = if self.options.layers > 1 { mode.p(self.options.dropout) } else { 0.0 };
        let seed = if p > 0.0 { mode.seed() } else { 0 };
        let keys = settings(&[("batch_first", &true), ("dropout_p", &p), ("seed", &seed)]);
        let out = apply(self.options.cell.operation(), &inputs, &keys)?;
        let c = if self.options.cell == Cell::Lstm { Some(out.get("cn")?) } else { None };
        Ok(Sequence { y: out.get("y")?, last: States { h: out.get("hn")?, c } })
    }
}
