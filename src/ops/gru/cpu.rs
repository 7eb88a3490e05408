//! The reference of a step. What is around it is in [`recurrent::cpu`](crate::ops::recurrent).

use crate::Result;
use crate::ops::real::add;
use crate::ops::recurrent::step::{State, Step, StepGradient, Weights, sigmoid};
use crate::ops::recurrent::{self, Cell, Reset};
use crate::ops::{Real, References, Request};

/// y and hn and, with an upstream gradient, all gradients.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    recurrent::cpu::run::<R>(Cell::Gru(Reset::After).with_settings(&request.settings)?, request)
}

/// The gates r, z, n and h' = (1 - z) n + z h.
pub(crate) fn forward<R: Real>(reset: Reset, weights: &Weights<R>, x: &[R], before: State<R>) -> Step<R> {
    let hidden = weights.hidden;
    // The hidden side of rows of gates, from what they multiply.
    let recur = |first: usize, rows: usize, h: &[R]| {
        let mut u = weights.weight_hh.times(first..first + rows, h);
        add(&mut u, &weights.bias_hh[first..]);
        u
    };
    let mut a = weights.weight_ih.times(0..3 * hidden, x);
    add(&mut a, &weights.bias_ih);
    // r, z = σ(W x + b + U h + b')
    let u = recur(0, 2 * hidden, &before.h);
    let mut gates: Vec<R> = (0..2 * hidden).map(|j| sigmoid(a[j] + u[j])).collect();
    let (mut u_n, mut reset_h) = (Vec::new(), Vec::new());
    let n: Vec<R> = match reset {
        // n = tanh(W_n x + b_in + r * (U_n h + b_hn))
        Reset::After => {
            u_n = recur(2 * hidden, hidden, &before.h);
            (0..hidden).map(|j| (a[2 * hidden + j] + gates[j] * u_n[j]).tanh()).collect()
        }
        // n = tanh(W_n x + b_in + U_n (r * h) + b_hn)
        Reset::Before => {
            reset_h = gates.iter().zip(&before.h).map(|(&r, &h)| r * h).collect();
            let u = recur(2 * hidden, hidden, &reset_h);
            (0..hidden).map(|j| (a[2 * hidden + j] + u[j]).tanh()).collect()
        }
    };
    // h' = (1 - z) n + z h
    let h = |j: usize| {
        let z = gates[hidden + j];
        (R::new(1.0) - z) * n[j] + z * before.h[j]
    };
    let after = State { h: (0..hidden).map(h).collect(), c: Vec::new() };
    gates.extend(n);
    Step { before, after, gates, m: Vec::new(), u_n, reset_h }
}

/// The gradients of a step from that of the state after it.
pub(crate) fn backward<R: Real>(reset: Reset, weights: &Weights<R>, step: &Step<R>, d: &State<R>) -> StepGradient<R> {
    let (hidden, one) = (weights.hidden, R::new(1.0));
    let (r, rest) = step.gates.split_at(hidden);
    let (z, n) = rest.split_at(hidden);
    let h = &step.before.h;
    let each = |f: &dyn Fn(usize) -> R| (0..hidden).map(f).collect::<Vec<R>>();
    // h' = (1 - z) n + z h:  d_n = d_h' (1 - z),  d_z = d_h' (h - n),  d_h = d_h' z
    // n = tanh(a_n):  d_a_n = d_n (1 - n²)
    let d_a_n = each(&|j| d.h[j] * (one - z[j]) * (one - n[j] * n[j]));
    // z = σ(a_z):  d_a_z = d_z z (1 - z)
    let d_a_z = each(&|j| d.h[j] * (h[j] - n[j]) * (z[j] * (one - z[j])));
    let mut d_h = each(&|j| d.h[j] * z[j]);
    let (d_r, d_u_n) = match reset {
        // a_n = W_n x + b_in + r * u_n,  u_n = U_n h + b_hn:  d_r = d_a_n u_n,  d_u_n = d_a_n r,  d_h = U_nᵀ d_u_n
        Reset::After => {
            let d_u_n = each(&|j| d_a_n[j] * r[j]);
            add(&mut d_h, &weights.weight_hh.transposed_times(2 * hidden..3 * hidden, &d_u_n));
            (each(&|j| d_a_n[j] * step.u_n[j]), d_u_n)
        }
        // a_n = W_n x + b_in + U_n (r * h) + b_hn:  d_(r*h) = U_nᵀ d_a_n,  d_r = d_(r*h) h,  d_h = d_(r*h) r
        Reset::Before => {
            let d_reset_h = weights.weight_hh.transposed_times(2 * hidden..3 * hidden, &d_a_n);
            add(&mut d_h, &each(&|j| d_reset_h[j] * r[j]));
            (each(&|j| d_reset_h[j] * h[j]), d_a_n.clone())
        }
    };
    // r = σ(a_r):  d_a_r = d_r r (1 - r)
    let d_a_r = each(&|j| d_r[j] * (r[j] * (one - r[j])));
    // a_r, a_z = W x + b + U h + b':  d_h = Uᵀ d_a
    let d_a_rz = [d_a_r, d_a_z].concat();
    add(&mut d_h, &weights.weight_hh.transposed_times(0..2 * hidden, &d_a_rz));
    let d_ih = [&d_a_rz[..], &d_a_n].concat();
    let d_hh = [d_a_rz, d_u_n].concat();
    StepGradient { d_ih, d_hh, d_before: State { h: d_h, c: Vec::new() } }
}
