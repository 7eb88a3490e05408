//! The reference, with the random words of src/ops/philox.rs.

use super::{DropoutOptions, OP, shape};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values, philox};

/// y and, with an upstream gradient, d_x.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let (shape, options) = (shape(request)?, DropoutOptions::of(&request.settings)?);
    let threshold = philox::drop_threshold(options.p);
    let kept = R::new(1.0) - R::new(options.p.into());
    // y = keep x / (1 - p):  d_x = keep d_y / (1 - p)
    let drop_out = |name: &str| {
        let x: Vec<R> = reals(required(OP, request, name)?);
        let keep = |i: usize| philox::element(options.seed, i as u64) >= threshold;
        let y: Vec<R> = x.iter().enumerate().map(|(i, &x)| if keep(i) { x / kept } else { R::ZERO }).collect();
        Ok(Values::of(shape, &y))
    };
    let mut results = References::from([("y".to_string(), drop_out("x")?)]);
    if request.wants_gradients() {
        results.insert("d_x".into(), drop_out("d_y")?);
    }
    Ok(results)
}
