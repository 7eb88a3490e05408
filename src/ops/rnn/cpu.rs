//! The reference of a step. What is around it is in [`recurrent::cpu`](crate::ops::recurrent).

use crate::Result;
use crate::ops::recurrent::step::{State, Step, StepGradient, Weights};
use crate::ops::recurrent::{self, Cell, Nonlinearity};
use crate::ops::{Real, References, Request};

/// y and hn and, with an upstream gradient, all gradients.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    recurrent::cpu::run::<R>(Cell::Rnn(Nonlinearity::Tanh).with_settings(&request.settings)?, request)
}

/// h' = act(W x + b + U h + b')
pub(crate) fn forward<R: Real>(nonlinearity: Nonlinearity, weights: &Weights<R>, x: &[R], before: State<R>) -> Step<R> {
    let wx = weights.weight_ih.times(0..weights.hidden, x);
    let uh = weights.weight_hh.times(0..weights.hidden, &before.h);
    let act = |j: usize| {
        let a = (wx[j] + weights.bias_ih[j]) + (uh[j] + weights.bias_hh[j]);
        match nonlinearity {
            Nonlinearity::Tanh => a.tanh(),
            Nonlinearity::Relu if a > R::ZERO => a,
            Nonlinearity::Relu => R::ZERO,
        }
    };
    let gates: Vec<R> = (0..weights.hidden).map(act).collect();
    let after = State { h: gates.clone(), c: Vec::new() };
    Step { before, after, gates, m: Vec::new(), u_n: Vec::new(), reset_h: Vec::new() }
}

/// The gradients of a step from that of the state after it.
pub(crate) fn backward<R: Real>(nonlinearity: Nonlinearity, weights: &Weights<R>, step: &Step<R>, d: &State<R>) -> StepGradient<R> {
    let one = R::new(1.0);
    let slope = |h: R| match nonlinearity {
        // h' = tanh(a):  d_a = d_h' (1 - h'²)
        Nonlinearity::Tanh => one - h * h,
        // h' = max(a, 0):  d_a = d_h' where a > 0, which is where h' > 0
        Nonlinearity::Relu if h > R::ZERO => one,
        Nonlinearity::Relu => R::ZERO,
    };
    let d_a: Vec<R> = d.h.iter().zip(&step.gates).map(|(&d, &h)| d * slope(h)).collect();
    // a = W x + b + U h + b':  d_h = Uᵀ d_a
    let d_h = weights.weight_hh.transposed_times(0..weights.hidden, &d_a);
    StepGradient { d_ih: d_a.clone(), d_hh: d_a, d_before: State { h: d_h, c: Vec::new() } }
}
