//! The reference of a step. What is around it is in [`recurrent::cpu`](crate::ops::recurrent).

use crate::Result;
use crate::ops::real::add;
use crate::ops::recurrent::step::{State, Step, StepGradient, Weights, sigmoid};
use crate::ops::recurrent::{self, Cell};
use crate::ops::{Real, References, Request};

/// y, hn and cn and, with an upstream gradient, all gradients.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    recurrent::cpu::run::<R>(Cell::Lstm, request)
}

/// The gates i, f, g, o, the cell c' = f c + i g, and h' = W_hr (o tanh(c')).
pub(crate) fn forward<R: Real>(weights: &Weights<R>, x: &[R], before: State<R>) -> Step<R> {
    let hidden = weights.hidden;
    // a = W x + b + U h + b'
    let mut a = weights.weight_ih.times(0..4 * hidden, x);
    add(&mut a, &weights.bias_ih);
    let mut uh = weights.weight_hh.times(0..4 * hidden, &before.h);
    add(&mut uh, &weights.bias_hh);
    add(&mut a, &uh);
    let [p_i, p_f, p_o] = peepholes(weights);
    // i = σ(a_i + p_i c),  f = σ(a_f + p_f c),  g = tanh(a_g)
    let i = (0..hidden).map(|j| sigmoid(a[j] + p_i[j] * before.c[j]));
    let f = (0..hidden).map(|j| sigmoid(a[hidden + j] + p_f[j] * before.c[j]));
    let g = (0..hidden).map(|j| a[2 * hidden + j].tanh());
    let mut gates: Vec<R> = i.chain(f).chain(g).collect();
    // c' = f c + i g
    let c: Vec<R> = (0..hidden).map(|j| gates[hidden + j] * before.c[j] + gates[j] * gates[2 * hidden + j]).collect();
    // o = σ(a_o + p_o c')
    gates.extend((0..hidden).map(|j| sigmoid(a[3 * hidden + j] + p_o[j] * c[j])));
    // m = o tanh(c'),  h' = W_hr m, or m
    let m: Vec<R> = (0..hidden).map(|j| gates[3 * hidden + j] * c[j].tanh()).collect();
    let h = weights.weight_hr.as_ref().map_or_else(|| m.clone(), |weight_hr| weight_hr.times(0..weight_hr.rows(), &m));
    Step { before, after: State { h, c }, gates, m, u_n: Vec::new(), reset_h: Vec::new() }
}

/// The gradients of a step from that of the state after it.
pub(crate) fn backward<R: Real>(weights: &Weights<R>, step: &Step<R>, d: &State<R>) -> StepGradient<R> {
    let (hidden, one) = (weights.hidden, R::new(1.0));
    let gate = |n: usize| &step.gates[n * hidden..][..hidden];
    let [i, f, g, o] = [0, 1, 2, 3].map(gate);
    let [p_i, p_f, p_o] = peepholes(weights);
    let c = &step.before.c;
    let each = |f: &dyn Fn(usize) -> R| (0..hidden).map(f).collect::<Vec<R>>();
    let tanh_c = each(&|j| step.after.c[j].tanh());
    // h' = W_hr m:  d_m = W_hrᵀ d_h'
    let project = |weight_hr: &recurrent::step::Matrix<R>| weight_hr.transposed_times(0..d.h.len(), &d.h);
    let d_m = weights.weight_hr.as_ref().map_or_else(|| d.h.clone(), project);
    // m = o tanh(c'):  d_o = d_m tanh(c');   o = σ(a_o + p_o c'):  d_a_o = d_o o (1 - o)
    let d_a_o = each(&|j| d_m[j] * tanh_c[j] * (o[j] * (one - o[j])));
    // m = o tanh(c'), o = σ(a_o + p_o c'), and c' goes into the next step:  d_c' = d_m o (1 - tanh²(c')) + d_a_o p_o + what comes back
    let d_c = each(&|j| d.c[j] + d_m[j] * o[j] * (one - tanh_c[j] * tanh_c[j]) + d_a_o[j] * p_o[j]);
    // c' = f c + i g:  d_i = d_c' g,  d_f = d_c' c,  d_g = d_c' i
    // i = σ(a_i + p_i c):  d_a_i = d_i i (1 - i), and so with f;   g = tanh(a_g):  d_a_g = d_g (1 - g²)
    let d_a_i = each(&|j| d_c[j] * g[j] * (i[j] * (one - i[j])));
    let d_a_f = each(&|j| d_c[j] * c[j] * (f[j] * (one - f[j])));
    let d_a_g = each(&|j| d_c[j] * i[j] * (one - g[j] * g[j]));
    // c' = f c + i g,  i = σ(a_i + p_i c),  f = σ(a_f + p_f c):  d_c = d_c' f + d_a_i p_i + d_a_f p_f
    let d_c_before = each(&|j| d_c[j] * f[j] + d_a_i[j] * p_i[j] + d_a_f[j] * p_f[j]);
    // a = W x + b + U h + b':  d_h = Uᵀ d_a
    let d_a = [d_a_i, d_a_f, d_a_g, d_a_o].concat();
    let d_h = weights.weight_hh.transposed_times(0..4 * hidden, &d_a);
    StepGradient { d_ih: d_a.clone(), d_hh: d_a, d_before: State { h: d_h, c: d_c_before } }
}

/// What a step adds to element n of d_peep `[3, hidden]`.
pub(crate) fn d_peep<R: Real>(step: &Step<R>, gradient: &StepGradient<R>, n: usize) -> R {
    let hidden = step.before.c.len();
    if n < 2 * hidden {
        // i = σ(a_i + p_i c), f = σ(a_f + p_f c):  d_p_i = d_a_i c,  d_p_f = d_a_f c
        gradient.d_ih[n] * step.before.c[n % hidden]
    } else {
        // o = σ(a_o + p_o c'):  d_p_o = d_a_o c', where o is the fourth gate
        gradient.d_ih[hidden + n] * step.after.c[n % hidden]
    }
}

fn peepholes<R: Real>(weights: &Weights<R>) -> [&[R]; 3] {
    [0, 1, 2].map(|n| &weights.peep[n * weights.hidden..][..weights.hidden])
}
