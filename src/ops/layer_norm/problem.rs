//! What layer_norm and rms_norm have in common on the host: names, options, sizes, costs.

use super::super::host::{elements, expect_shape, expect_upstream, f32_bytes, misfit, normals, parse_sizes, required};
use super::super::{Arrays, Cost, Request, Settings, Spec};
use crate::{Error, Result};

/// What `--shape` takes.
pub(crate) const SHAPE: &str = "…,C, for instance 2,3,65";

/// The two normalizations, which differ in the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The mean is taken away: layer_norm.
    Layer,
    /// It stays: rms_norm.
    Rms,
}

impl Kind {
    /// The operation's name.
    pub fn op(self) -> &'static str {
        match self {
            Kind::Layer => "layer_norm",
            Kind::Rms => "rms_norm",
        }
    }

    /// Whether the mean is taken away.
    pub fn centers(self) -> bool {
        self == Kind::Layer
    }
}

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormOptions {
    /// Added to the mean square before its root is taken; finite, not negative.
    pub eps: f32,
}

impl Default for NormOptions {
    fn default() -> Self {
        NormOptions { eps: 1e-5 }
    }
}

impl NormOptions {
    pub(crate) fn of(kind: Kind, settings: &Settings) -> Result<Self> {
        let options = NormOptions { eps: settings.number(kind.op(), "eps")?.unwrap_or(NormOptions::default().eps) };
        options.check(kind)?;
        Ok(options)
    }

    pub(crate) fn check(&self, kind: Kind) -> Result<()> {
        if self.eps.is_finite() && self.eps >= 0.0 {
            return Ok(());
        }
        let expected = "a finite number that is not negative".into();
        Err(Error::Argument { op: kind.op(), key: "eps".into(), expected, got: self.eps.to_string() })
    }
}

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which of the two.
    pub kind: Kind,
    /// The shape of x and y.
    pub shape: Vec<usize>,
    /// How many rows: the product of all dimensions but the last.
    pub rows: usize,
    /// C: elements of a row.
    pub columns: usize,
}

impl Problem {
    /// Checks the shapes of `x`, `weight` and `bias` against one another.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, [`Error::Limit`] for more than 2³¹ elements.
    pub fn new(kind: Kind, x: &[usize], weight: Option<&[usize]>, bias: Option<&[usize]>) -> Result<Self> {
        let op = kind.op();
        let [rows @ .., columns] = x else { return Err(misfit(op, "x", x, "[.., C]")) };
        elements(op, "x", x)?;
        for (name, shape) in [("weight", weight), ("bias", bias)] {
            shape.map_or(Ok(()), |shape| expect_shape(op, name, shape, &[*columns]))?;
        }
        Ok(Problem { kind, shape: x.to_vec(), rows: rows.iter().product(), columns: *columns })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`].
    pub fn of(kind: Kind, request: &Request) -> Result<Self> {
        let shape = |name: &str| request.tensor(name).map(|t| t.shape());
        let problem = Problem::new(kind, required(kind.op(), request, "x")?.shape(), shape("weight"), shape("bias"))?;
        expect_upstream(kind.op(), request, "y", &problem.shape)?;
        Ok(problem)
    }

    /// The shape of the mean and of the reciprocal deviation: that of x without its last dimension.
    pub fn saved_shape(&self) -> &[usize] {
        &self.shape[..self.shape.len() - 1]
    }
}

/// Seeded tensors; the bias belongs to layer_norm.
pub(crate) fn draw(kind: Kind, shape: &str, seed: u64) -> Result<Arrays> {
    let shape = parse_sizes(kind.op(), SHAPE, shape)?;
    let problem = Problem::new(kind, &shape, None, None)?;
    let row = [problem.columns];
    let drawn = [("x", shape.as_slice()), ("weight", &row), ("d_y", &shape), ("bias", &row)];
    Ok(normals(seed, drawn.into_iter().filter(|(name, _)| *name != "bias" || kind.centers())))
}

/// For each element, forward: difference, square and sum, scale, weight, bias, and with the mean another sum. Backward: two of those again,
/// the product with the weight, the sums of the row, and d_x of 4; and a product and a sum for each gradient besides.
pub(crate) fn cost(kind: Kind, spec: &Spec, request: &Request) -> Result<Cost> {
    let problem = Problem::of(kind, request)?;
    NormOptions::of(kind, &request.settings)?;
    let x = (problem.rows * problem.columns) as f64;
    let count = |of: bool| f64::from(u8::from(of));
    let [mean, weight, bias] = [kind.centers(), request.tensor("weight").is_some(), request.tensor("bias").is_some()].map(count);
    let read: usize = request.tensors.values().map(|t| t.len()).sum();
    let mut cost = Cost { flops: x * (3.0 + 2.0 * mean + weight + bias), bytes: f32_bytes(read as f64 + x) };
    if request.wants_gradients() {
        cost.flops += x * (8.0 + 2.0 * mean + 3.0 * weight + bias);
        // The backward reads x again, and d_y, which is counted above.
        cost.bytes += f32_bytes(x + spec.gradient_elements(request) as f64);
    }
    Ok(cost)
}
