//! Directional derivatives by central differences.
//!
//! For an input x, a direction e of ±1 and f(t) = sum(d_out · out(x + t e)) over all outputs with an upstream gradient:
//!
//! ```text
//! D(h) = (f(h) - f(-h)) / 2h
//! f'(0) = (4 D(h) - D(2h)) / 3 + O(h⁴)            (Richardson)
//! f'(0) = sum(d_x · e)                             when d_x is right
//! ```
//!
//! Tensors are f32 (or rounded to f16 by the operation), so x ± h and x ± 2h must be exact there: all tensors are first put
//! on a grid, and h is one step of the grid.

use wattn::ops::philox::Rng;
use wattn::ops::{Operation, Precision, References, Request};
use wattn::{Array, DType, Data};

/// Random directions for each input. Each has a component along every element, so that any wrong element shows.
const DIRECTIONS: u64 = 3;

/// The step of a tensor's grid, a power of two. It leaves 20 bits for the largest value in f32 (24 bits) and 9 bits in f16
/// (11 bits), so that two steps more are exact. For values near 1 that is h = 2⁻²⁰ or 2⁻⁹: f64 rounding over h is 2⁻³²,
/// and h⁴ is 2⁻³⁶ at most, so both errors are far below [`RELATIVE`].
fn step(values: &[f64], dtype: DType) -> f64 {
    let largest = values.iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()));
    let bits = if dtype == DType::F16 { 9 } else { 20 };
    let exponent = if largest > 0.0 { largest.log2().ceil() as i32 } else { 0 };
    2f64.powi(exponent - bits)
}

/// A derivative may be off by this much of the root of the sum of squares of its terms. Two orders above what the errors of
/// [`step`] come to for the steepest case (logits times 100: h⁴ grows by 10⁸), three below the wrong gradient that a test plants.
const RELATIVE: f64 = 1e-6;

/// The rounding of f may add this many units of 2⁻⁵² of the sum of the absolute values of all its terms, divided by h. Sums
/// of up to 4096 terms have a rounding error of about √4096 = 64 units at worst.
const ROUNDING: f64 = 64.0 * f64::EPSILON;

/// The type that the operation rounds its inputs to.
fn stored(request: &Request) -> DType {
    request.settings.dtype("gradients").unwrap_or(DType::F32)
}

/// Every float tensor rounded to its grid; values that are not finite stay.
pub fn on_grid(mut request: Request) -> Request {
    let dtype = stored(&request);
    for array in request.tensors.values_mut() {
        let h = step(&array.to_f64(), dtype);
        if let Data::F32(values) = array.data_mut() {
            values.iter_mut().filter(|x| x.is_finite()).for_each(|x| *x = ((*x as f64 / h).round() * h) as f32);
        }
    }
    request
}

/// f, and the sum of the absolute values of its terms.
fn objective(op: &dyn Operation, request: &Request, precision: Precision) -> Result<(f64, f64), String> {
    let mut forward = request.clone();
    forward.tensors.retain(|name, _| !name.starts_with("d_"));
    let outputs = op.reference(&forward, precision).map_err(|e| e.to_string())?;
    let (mut sum, mut terms) = (0.0, 0.0);
    for (name, upstream) in request.tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix("d_")?, t))) {
        let out = outputs.get(name).ok_or_else(|| format!("output {name} is missing"))?;
        for ((d_out, value), magnitude) in upstream.to_f64().into_iter().zip(&out.value).zip(&out.magnitude) {
            if value.is_nan() {
                return Err(format!("output {name} has a NaN"));
            }
            // Hidden positions: -inf from log-softmax, NaN planted upstream. They reach nothing, so they are no term of f;
            // a gradient that did take them in is not finite.
            if d_out.is_finite() && value.is_finite() {
                sum += d_out * value;
                terms += (d_out * magnitude).abs();
            }
        }
    }
    Ok((sum, terms))
}

/// The request with `by` times the direction added to one input.
fn moved(request: &Request, name: &str, direction: &[f64], by: f64) -> Request {
    let mut request = request.clone();
    if let Some(Data::F32(values)) = request.tensors.get_mut(name).map(Array::data_mut) {
        for (x, e) in values.iter_mut().zip(direction) {
            let to = *x as f64 + by * e;
            debug_assert!(!x.is_finite() || to == (to as f32) as f64, "{name}: a step is not exact");
            *x = to as f32;
        }
    }
    request
}

/// Compares every gradient with central differences and returns the worst error as a share of its tolerance.
///
/// # Errors
/// A message for a gradient that is missing, malformed or wrong.
pub fn check(op: &dyn Operation, request: &Request, gradients: &References) -> Result<f64, String> {
    let (_, terms) = objective(op, request, Precision::Magnitude)?;
    let differentiable = |name: &&String| op.spec().input(name).is_some_and(|input| input.differentiable);
    for name in request.tensors.keys().filter(differentiable) {
        let name = format!("d_{name}");
        gradients.get(&name).ok_or_else(|| format!("{name} is missing"))?;
    }
    let mut worst: f64 = 0.0;
    for (d_name, gradient) in gradients.iter().filter(|(name, _)| name.starts_with("d_")) {
        let name = &d_name[2..];
        let input = request.tensor(name).ok_or_else(|| format!("{d_name} is the gradient of no input"))?;
        if input.shape() != gradient.shape {
            return Err(format!("{d_name} has shape {:?}, {name} has {:?}", gradient.shape, input.shape()));
        }
        if let Some(i) = gradient.value.iter().position(|x| !x.is_finite()) {
            return Err(format!("{d_name}[{i}] = {} is not finite", gradient.value[i]));
        }
        let x = input.to_f64();
        let h = step(&x, stored(request));
        for seed in 0..DIRECTIONS {
            let mut rng = Rng::new(seed);
            let sign = |x: &f64| if x.is_finite() { 1.0 - 2.0 * (rng.bits() >> 31) as f64 } else { 0.0 };
            let direction: Vec<f64> = x.iter().map(sign).collect();
            let f = |by: f64| objective(op, &moved(request, name, &direction, by), Precision::Exact).map(|(f, _)| f);
            let near = (f(h)? - f(-h)?) / (2.0 * h);
            let far = (f(2.0 * h)? - f(-2.0 * h)?) / (4.0 * h);
            let difference = (4.0 * near - far) / 3.0;

            let along: Vec<f64> = gradient.value.iter().zip(&direction).map(|(g, e)| g * e).collect();
            let analytic: f64 = along.iter().sum();
            let size = along.iter().map(|g| g * g).sum::<f64>().sqrt();
            let tolerance = RELATIVE * size + ROUNDING * terms / h;
            let error = (analytic - difference).abs();
            // Not `error > tolerance`: neither may be NaN, and an infinite tolerance would accept anything.
            if !(error <= tolerance && tolerance.is_finite()) {
                return Err(format!("{d_name}, direction {seed}: {analytic:e}, by differences {difference:e}, tolerance {tolerance:.1e}"));
            }
            worst = worst.max(if error > 0.0 { error / tolerance } else { 0.0 });
        }
    }
    Ok(worst)
}
