//! The reference: each row by its angles. Those are no data, so they are f64 in every precision; their sines and cosines are rounded to it.

use super::{Layout, OP, Problem, RotaryOptions};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values, parallel};

/// y and, with an upstream gradient, d_x.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let options = RotaryOptions::of(&request.settings)?;
    let Problem { batch, heads, seq, columns, pairs, .. } = problem;
    let x_shape = [batch, heads, seq, columns];
    let positions = request.tensor("positions").map(|t| t.to_f64());
    let position = |b: usize, l: usize| match (&positions, problem.positions_stride) {
        (Some(positions), Some(stride)) => positions[b * stride + l],
        _ => f64::from(options.offset) + l as f64,
    };
    let pair = |i: usize| match options.layout {
        Layout::Interleaved => (2 * i, 2 * i + 1),
        Layout::Half => (i, i + pairs),
    };
    // t = p base^(-2i/R)
    let angle = |row: usize, i: usize| {
        let (b, l) = (row / seq / heads, row % seq);
        position(b, l) * options.base.powf(-2.0 * i as f64 / (2 * pairs) as f64)
    };
    // Every row, its pairs changed by what `rotate` makes of (a, b) with a cosine and a sine.
    let rows = |from: &[R], rotate: fn([R; 2], R, R) -> [R; 2]| {
        let row = |r: usize| {
            let mut row = from[r * columns..][..columns].to_vec();
            for i in 0..pairs {
                let ((a, b), t) = (pair(i), angle(r, i));
                [row[a], row[b]] = rotate([row[a], row[b]], R::new(t.cos()), R::new(t.sin()));
            }
            row
        };
        Values::of(&x_shape, &parallel::map(batch * heads * seq, row).concat())
    };

    // y[a] = x[a] cos t - x[b] sin t, y[b] = x[b] cos t + x[a] sin t
    let y = rows(&reals(required(OP, request, "x")?), |[a, b], cos, sin| [a * cos - b * sin, b * cos + a * sin]);
    let mut results = References::from([("y".to_string(), y)]);
    if request.wants_gradients() {
        // y[a] = x[a] cos t - x[b] sin t, y[b] = x[b] cos t + x[a] sin t:  d_x[a] = d_y[a] cos t + d_y[b] sin t, d_x[b] = d_y[b] cos t - d_y[a] sin t
        let d_x = rows(&reals(required(OP, request, "d_y")?), |[a, b], cos, sin| [a * cos + b * sin, b * cos - a * sin]);
        results.insert("d_x".into(), d_x);
    }
    Ok(results)
}
