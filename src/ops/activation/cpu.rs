//! The reference: the formulas.

use super::{Kind, OP, kind, shape};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values};

fn number<R: Real>(x: f64) -> R {
    R::new(x)
}

/// φ(x) = exp(-x²/2) / √(2π)
fn density<R: Real>(x: R) -> R {
    (-x * x / number(2.0)).exp() / number(std::f64::consts::TAU.sqrt())
}

/// Φ(x) = 1/2 + φ(x) (x + x³/3 + x⁵/(3·5) + x⁷/(3·5·7) + …). Source: Marsaglia 2004, "Evaluating the normal distribution".
fn distribution<R: Real>(x: R) -> R {
    // Beyond, the rest is below 1e-18, and the sum would overflow in f32 later on.
    if x.value().abs() > 9.0 {
        return number(if x.value() > 0.0 { 1.0 } else { 0.0 });
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.value().abs() > 1e-18 * sum.value().abs() {
        odd += 2.0;
        term = term * x * x / number(odd);
        sum += term;
    }
    number::<R>(0.5) + density(x) * sum
}

/// σ(x) = 1 / (1 + exp(-x))
fn logistic<R: Real>(x: R) -> R {
    number::<R>(1.0) / (number::<R>(1.0) + (-x).exp())
}

/// u = √(2/π) (x + 0.044715 x³) and du/dx
fn inner<R: Real>(x: R) -> [R; 2] {
    let scale: R = number((2.0 / std::f64::consts::PI).sqrt());
    let cube: R = number(0.044715);
    [scale * (x + cube * x * x * x), scale * (number::<R>(1.0) + number::<R>(3.0) * cube * x * x)]
}

/// f(x)
fn function<R: Real>(kind: Kind, x: R) -> R {
    match kind {
        // Not x > 0: a NaN stays.
        Kind::Relu if x.value() <= 0.0 => R::ZERO,
        Kind::Relu => x,
        Kind::Gelu => x * distribution(x),
        Kind::GeluTanh => x * (number::<R>(1.0) + inner(x)[0].tanh()) / number(2.0),
        Kind::Silu => x * logistic(x),
        Kind::Tanh => x.tanh(),
        Kind::Sigmoid => logistic(x),
    }
}

/// f'(x)
fn derivative<R: Real>(kind: Kind, x: R) -> R {
    let one: R = number(1.0);
    match kind {
        Kind::Relu if x.value() <= 0.0 => R::ZERO,
        Kind::Relu => one,
        Kind::Gelu => distribution(x) + x * density(x),
        Kind::GeluTanh => {
            let [u, d_u] = inner(x);
            let t = u.tanh();
            (one + t) / number(2.0) + x * (one - t * t) * d_u / number(2.0)
        }
        Kind::Silu => {
            let s = logistic(x);
            s * (one + x * (one - s))
        }
        Kind::Tanh => one - x.tanh() * x.tanh(),
        Kind::Sigmoid => logistic(x) * (one - logistic(x)),
    }
}

/// y and, with an upstream gradient, d_x.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let (shape, kind) = (shape(request)?, kind(&request.settings)?);
    let x: Vec<R> = reals(required(OP, request, "x")?);
    let y: Vec<R> = x.iter().map(|&x| function(kind, x)).collect();
    let mut results = References::from([("y".to_string(), Values::of(shape, &y))]);
    if request.wants_gradients() {
        let d_y: Vec<R> = reals(required(OP, request, "d_y")?);
        let d_x: Vec<R> = x.iter().zip(d_y).map(|(&x, d_y)| d_y * derivative(kind, x)).collect();
        results.insert("d_x".into(), Values::of(shape, &d_x));
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Φ from tables (Abramowitz & Stegun, table 26.1).
    #[test]
    fn the_normal_distribution() {
        for (x, expected) in
            [(0.0, 0.5), (1.0, 0.841344746068543), (2.0, 0.977249868051821), (3.0, 0.998650101968370), (-1.0, 0.158655253931457)]
        {
            let got: f64 = distribution(x);
            assert!((got - expected).abs() < 1e-14, "{x}: {got}");
        }
    }
}
