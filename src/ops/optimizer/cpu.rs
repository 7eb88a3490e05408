//! The reference: one step after the other, element by element.

use super::{GRADIENTS, Kind, OP, OptimizerOptions, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values};

/// An element of the parameters and its state.
#[derive(Clone, Copy)]
struct Element<R> {
    p: R,
    buf: R,
    m: R,
    v: R,
    vmax: R,
}

impl<R: Real> Element<R> {
    fn new(p: R) -> Self {
        Element { p, buf: R::ZERO, m: R::ZERO, v: R::ZERO, vmax: R::ZERO }
    }

    /// The state of this name.
    fn state(&mut self, name: &str) -> &mut R {
        match name {
            "buf" => &mut self.buf,
            "m" => &mut self.m,
            "v" => &mut self.v,
            _ => &mut self.vmax,
        }
    }

    /// Step t with the gradient g.
    fn step(self, mut g: R, t: usize, options: &OptimizerOptions) -> Self {
        let Element { mut p, mut buf, mut m, mut v, mut vmax } = self;
        let OptimizerOptions { lr, beta1, beta2, eps, weight_decay, momentum, .. } = *options;
        match options.kind {
            Kind::Sgd => {
                // g = g + weight_decay p
                g += R::new(weight_decay) * p;
                // buf = momentum buf + g, and p = p - lr buf, or Nesterov's p = p - lr (g + momentum buf)
                buf = if momentum > 0.0 { R::new(momentum) * buf + g } else { g };
                let direction = if options.nesterov { g + R::new(momentum) * buf } else { buf };
                p = p - R::new(lr) * direction;
            }
            Kind::Adam | Kind::AdamW => {
                if options.kind == Kind::Adam {
                    // g = g + weight_decay p
                    g += R::new(weight_decay) * p;
                } else {
                    // p = p - lr weight_decay p
                    p = R::new(1.0 - lr * weight_decay) * p;
                }
                // m = beta1 m + (1 - beta1) g
                m = R::new(beta1) * m + R::new(1.0 - beta1) * g;
                // v = beta2 v + (1 - beta2) g²
                v = R::new(beta2) * v + R::new(1.0 - beta2) * g * g;
                if v > vmax {
                    vmax = v;
                }
                // p = p - lr m̂ / (√v̂ + eps)
                let m_hat = m / R::new(1.0 - beta1.powf(t as f64));
                let v_hat = if options.amsgrad { vmax } else { v } / R::new(1.0 - beta2.powf(t as f64));
                p = p - R::new(lr) * m_hat / (v_hat.sqrt() + R::new(eps));
            }
        }
        Element { p: p.settled(), buf: buf.settled(), m: m.settled(), v: v.settled(), vmax: vmax.settled() }
    }
}

/// Step t in f64 of a parameter that is on the host: `state` has one list for each of [`OptimizerOptions::states`], and goes on.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn step(p: &mut [f64], state: &mut [Vec<f64>], g: &[f64], t: u64, options: &OptimizerOptions) {
    for (i, p) in p.iter_mut().enumerate() {
        let mut element = Element::new(*p);
        options.states().iter().zip(&*state).for_each(|(name, values)| *element.state(name) = values[i]);
        element = element.step(g[i], t as usize, options);
        *p = element.p;
        options.states().iter().zip(&mut *state).for_each(|(name, values)| values[i] = *element.state(name));
    }
}

/// What a gradient is multiplied by to be no longer than `limit`.
pub(crate) fn factor<R: Real>(g: &[R], limit: f64) -> R {
    // norm = sqrt(sum g²)
    let mut squares = R::ZERO;
    g.iter().for_each(|&g| squares += g * g);
    // min(1, limit / (norm + 1e-6)), where NaN stays
    let factor = R::new(limit) / (squares.sqrt() + R::new(1e-6));
    if factor > R::new(1.0) { R::new(1.0) } else { factor }
}

/// The parameters after each step, and the state after the last.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let options = &problem.options;
    let p0: Vec<R> = reals(required(OP, request, "p0")?);
    let mut elements: Vec<Element<R>> = p0.into_iter().map(Element::new).collect();
    let mut results = References::new();
    for (t, gradient) in (1..).zip(request.series(OP, &GRADIENTS)?) {
        let g: Vec<R> = reals(gradient);
        let factor = problem.clip.map(|limit| factor(&g, limit));
        for (element, g) in elements.iter_mut().zip(g) {
            *element = element.step(factor.map_or(g, |factor| g * factor), t, options);
        }
        let p: Vec<R> = elements.iter().map(|element| element.p).collect();
        results.insert(format!("p{t}"), Values::of(&problem.shape, &p));
    }
    for name in options.states() {
        let state: Vec<R> = elements.iter_mut().map(|element| *element.state(name)).collect();
        results.insert(name.to_string(), Values::of(&problem.shape, &state));
    }
    Ok(results)
}
