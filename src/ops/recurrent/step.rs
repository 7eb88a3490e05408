//! One step of the reference: what it takes, what it keeps, what its derivative gives. The formulas are those of rnn, gru and lstm.

use std::ops::Range;

use crate::Array;
use crate::ops::Real;
use crate::ops::host::reals;
use crate::ops::real::{add_scaled, dot};

/// Rows of equal length.
pub(crate) struct Matrix<R> {
    columns: usize,
    data: Vec<R>,
}

impl<R: Real> Matrix<R> {
    pub(crate) fn of(array: &Array) -> Self {
        Matrix { columns: array.shape()[1], data: reals(array) }
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.data.len() / self.columns
    }

    fn row(&self, i: usize) -> &[R] {
        &self.data[i * self.columns..][..self.columns]
    }

    /// Σ_j M[i,j] x[j] for each i of `rows`.
    pub(crate) fn times(&self, rows: Range<usize>, x: &[R]) -> Vec<R> {
        rows.map(|i| dot(self.row(i), x)).collect()
    }

    /// Σ_i M[i,j] d[i] over `rows`, of which d is the first, for each j.
    pub(crate) fn transposed_times(&self, rows: Range<usize>, d: &[R]) -> Vec<R> {
        let mut sum = vec![R::ZERO; self.columns];
        rows.zip(d).for_each(|(i, &d)| add_scaled(&mut sum, d, self.row(i)));
        sum
    }
}

/// The weights of one layer and direction. Biases and peepholes that were not given are zero.
pub(crate) struct Weights<R> {
    /// H.
    pub hidden: usize,
    /// W `[gates·hidden, inputs]`
    pub weight_ih: Matrix<R>,
    /// U `[gates·hidden, output]`
    pub weight_hh: Matrix<R>,
    /// b `[gates·hidden]`
    pub bias_ih: Vec<R>,
    /// b' `[gates·hidden]`
    pub bias_hh: Vec<R>,
    /// W_hr `[output, hidden]`
    pub weight_hr: Option<Matrix<R>>,
    /// p `[3, hidden]`
    pub peep: Vec<R>,
}

/// What a step takes from the one before, or its gradient. `c` is empty but for an LSTM.
#[derive(Clone)]
pub(crate) struct State<R> {
    pub h: Vec<R>,
    pub c: Vec<R>,
}

/// One step of one sequence, with what its derivative needs.
pub(crate) struct Step<R> {
    /// The state before.
    pub before: State<R>,
    /// The state after.
    pub after: State<R>,
    /// The activated gates `[gates·hidden]`.
    pub gates: Vec<R>,
    /// What an LSTM projects, `[hidden]`; empty otherwise.
    pub m: Vec<R>,
    /// U_n h + b_hn of a GRU whose reset gate acts after the product, `[hidden]`; empty otherwise.
    pub u_n: Vec<R>,
    /// r * h of a GRU whose reset gate acts before the product, `[hidden]`; empty otherwise.
    pub reset_h: Vec<R>,
}

impl<R: Real> Step<R> {
    /// What row i of U multiplies.
    pub(crate) fn multiplied(&self, i: usize, hidden: usize) -> &[R] {
        let n_gate = i >= 2 * hidden;
        if n_gate && !self.reset_h.is_empty() { &self.reset_h } else { &self.before.h }
    }
}

/// The gradients of one step.
pub(crate) struct StepGradient<R> {
    /// Of W x + b, `[gates·hidden]`.
    pub d_ih: Vec<R>,
    /// Of U h + b', `[gates·hidden]`.
    pub d_hh: Vec<R>,
    /// Of the state before.
    pub d_before: State<R>,
}

/// 1 / (1 + e^(-a))
pub(crate) fn sigmoid<R: Real>(a: R) -> R {
    R::new(1.0) / (R::new(1.0) + (-a).exp())
}

/// What goes on to the next step; see [`Real::settled`].
pub(crate) fn settle<R: Real>(state: &mut State<R>) {
    state.h.iter_mut().chain(&mut state.c).for_each(|x| *x = x.settled());
}
