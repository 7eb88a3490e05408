//! Rotary position embedding, forward and backward: pairs of elements of a row are rotated by angles that grow with the row's position, so that
//! the product of two rows depends on how far they are apart.
//!
//! ```text
//! t      = p base^(-2i/R)             p: the row's position   i: a pair of R/2
//! y[a]   = x[a] cos t - x[b] sin t    a, b = 2i, 2i+1 (interleaved), or i, i + R/2 (half)
//! y[b]   = x[b] cos t + x[a] sin t
//! d_x[a] = d_y[a] cos t + d_y[b] sin t
//! d_x[b] = d_y[b] cos t - d_y[a] sin t
//! ```
//!
//! Elements from R on stay as they are. Row l has the position offset + l, or what `positions` says, which may be any number. The backward is the
//! forward by the opposite angle.
//!
//! Angles are taken in whole numbers (shaders/rotary_embedding/forward.wgsl): f32 would have no digit of a far position's angle right, and
//! devices differ in what their sine makes of it. From position 2²⁴ or so on an f64's rounding of the frequency begins to show.
//!
//! Source: Su et al. 2021, "RoFormer: enhanced transformer with rotary position embedding", arXiv:2104.09864; `half` is the order of GPT-NeoX
//! and LLaMA.

mod cases;
mod cpu;
mod gpu;

pub use gpu::{backward, forward};

use super::host::{elements, expect_upstream, misfit, normals, parse_sizes, required};
use super::{Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{DType, Error, Result};

const OP: &str = "rotary_embedding";
const SHAPE: &str = "B,H,L,D, for instance 2,3,17,64";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = x with pairs of elements rotated by position · base^(-2i/R)",
    shape: SHAPE,
    inputs: &[Input::new("x", "[B,H,L,D]"), Input::index("positions", "[B,L] or [L]").optional()],
    outputs: &[Output::new("y", "[B,H,L,D]")],
    keys: &[
        Key::new("layout", "interleaved", "what pairs are: interleaved (2i, 2i+1) or half (i, i + R/2)"),
        Key::new("dim", "D", "R, the elements of a row that are rotated: even"),
        Key::new("base", "10000", "a number of at least 1"),
        Key::new("offset", "0", "the position of the first row; not beside positions"),
    ],
};

/// Which elements are pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// 2i and 2i + 1.
    #[default]
    Interleaved,
    /// i and i + R/2.
    Half,
}

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RotaryOptions {
    /// Which elements are pairs.
    pub layout: Layout,
    /// R, the elements of a row that are rotated, even; `None` for all.
    pub dim: Option<usize>,
    /// At least 1: the first pair turns by one radian from row to row, the others by less.
    pub base: f64,
    /// The position of the first row, where there are no `positions`.
    pub offset: i32,
}

impl Default for RotaryOptions {
    fn default() -> Self {
        RotaryOptions { layout: Layout::Interleaved, dim: None, base: 10000.0, offset: 0 }
    }
}

impl RotaryOptions {
    fn of(settings: &Settings) -> Result<Self> {
        let default = RotaryOptions::default();
        let layout = match settings.text("layout") {
            None | Some("interleaved") => Layout::Interleaved,
            Some("half") => Layout::Half,
            Some(other) => return Err(wrong("layout", "interleaved or half", format!("'{other}'"))),
        };
        Ok(RotaryOptions {
            layout,
            dim: settings.get(OP, "dim", "an even number")?,
            base: settings.get(OP, "base", BASE)?.unwrap_or(default.base),
            offset: settings.get(OP, "offset", "a whole number of 32 bits")?.unwrap_or(default.offset),
        })
    }
}

const BASE: &str = "a finite number of at least 1";

fn wrong(key: &str, expected: impl Into<String>, got: String) -> Error {
    Error::Argument { op: OP, key: key.into(), expected: expected.into(), got }
}

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// B.
    pub batch: usize,
    /// H.
    pub heads: usize,
    /// L.
    pub seq: usize,
    /// D: elements of a row.
    pub columns: usize,
    /// R/2.
    pub pairs: usize,
    /// From a batch's positions to the next one's, 0 where all have the same; `None` without positions.
    pub positions_stride: Option<usize>,
    /// The position of the first row, without positions.
    pub offset: i32,
    base: f64,
}

impl Problem {
    /// Checks the shapes of x, or of the upstream gradient in its place, and of the positions, and the options.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, [`Error::Argument`] for options that do not, [`Error::Limit`] for more than 2³¹ elements.
    pub fn new((name, x): (&str, &[usize]), positions: Option<&[usize]>, options: &RotaryOptions) -> Result<Self> {
        let &[batch, heads, seq, columns] = x else { return Err(misfit(OP, name, x, "[B,H,L,D]")) };
        elements(OP, name, x)?;
        let dim = options.dim.unwrap_or(columns);
        if dim == 0 || !dim.is_multiple_of(2) || dim > columns {
            return Err(wrong("dim", format!("an even number of at least 2 and at most D = {columns}"), dim.to_string()));
        }
        if !(options.base.is_finite() && options.base >= 1.0) {
            return Err(wrong("base", BASE, options.base.to_string()));
        }
        let positions_stride = match positions {
            None => None,
            Some(shape) if *shape == [batch, seq] => Some(seq),
            Some(shape) if *shape == [seq] => Some(0),
            Some(shape) => return Err(misfit(OP, "positions", shape, format!("[{batch}, {seq}] or [{seq}], as B and L are in {name}"))),
        };
        if positions.is_some() && options.offset != 0 {
            return Err(wrong("offset", "0 beside positions", options.offset.to_string()));
        }
        if i64::from(options.offset) + seq as i64 > i64::from(i32::MAX) {
            let expected = format!("at most 2^31 - 1 - {seq}, so that every row's position fits 32 bits");
            return Err(wrong("offset", expected, options.offset.to_string()));
        }
        Ok(Problem { batch, heads, seq, columns, pairs: dim / 2, positions_stride, offset: options.offset, base: options.base })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and for keys that cannot be read.
    pub fn of(request: &Request) -> Result<Self> {
        let x = required(OP, request, "x")?.shape();
        let problem = Problem::new(("x", x), request.tensor("positions").map(|t| t.shape()), &RotaryOptions::of(&request.settings)?)?;
        expect_upstream(OP, request, "y", x)?;
        Ok(problem)
    }

    /// What each pair turns from one position to the next, in 2⁻⁶⁴ of a whole turn.
    fn frequencies(&self) -> Vec<u64> {
        let turns = |pair: usize| self.base.powf(-(pair as f64) / self.pairs as f64) / std::f64::consts::TAU;
        (0..self.pairs).map(|pair| (turns(pair) * 2f64.powi(64)) as u64).collect()
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct RotaryEmbedding;

impl Operation for RotaryEmbedding {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, _caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels()
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let shape = parse_sizes(OP, SHAPE, shape)?;
        Problem::new(("x", &shape), None, &RotaryOptions::of(settings)?)?;
        Ok(normals(seed, ["x", "d_y"].map(|name| (name, &shape))))
    }

    fn prepare(&self, gpu: &Gpu, request: &Request) -> Result<Prepared> {
        gpu::prepare(gpu, request)
    }

    fn apply(&self, call: Call) -> Result<Applied> {
        gpu::apply(call)
    }

    fn reference(&self, request: &Request, precision: Precision) -> Result<References> {
        crate::evaluate!(cpu::run, request, precision)
    }

    /// Four products and two sums for a pair, each way.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let p = Problem::of(request)?;
        let rows = (p.batch * p.heads * p.seq) as f64;
        let passes = if request.wants_gradients() { 2.0 } else { 1.0 };
        let positions = request.tensor("positions").map_or(0, |t| t.bytes().len()) as f64;
        let bytes = 2.0 * rows * (p.columns * DType::F32.bytes()) as f64 + positions;
        Ok(Cost { flops: passes * 6.0 * rows * p.pairs as f64, bytes: passes * bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(x: &[usize], positions: Option<&[usize]>, options: RotaryOptions) -> Result<Problem> {
        Problem::new(("x", x), positions, &options)
    }

    #[test]
    fn shapes_and_options() {
        let default = RotaryOptions::default();
        let p = problem(&[2, 3, 5, 8], Some(&[2, 5]), RotaryOptions { dim: Some(6), ..default }).unwrap();
        assert_eq!((p.batch, p.heads, p.seq, p.columns, p.pairs, p.positions_stride), (2, 3, 5, 8, 3, Some(5)));
        assert_eq!(problem(&[2, 3, 5, 8], Some(&[5]), default).unwrap().positions_stride, Some(0));
        let message = problem(&[2, 3, 5, 8], Some(&[3, 5]), default).unwrap_err().to_string();
        assert_eq!(message, "rotary_embedding: 'positions' has shape [3, 5]; expected [2, 5] or [5], as B and L are in x");
        assert!(problem(&[3, 5, 8], None, default).is_err());
        assert!(problem(&[2, 3, 5, 7], None, default).is_err(), "an odd row is not rotated as a whole");
        for dim in [0, 3, 10] {
            assert!(matches!(problem(&[2, 3, 5, 8], None, RotaryOptions { dim: Some(dim), ..default }), Err(Error::Argument { .. })));
        }
        for base in [0.5, f64::NAN, f64::INFINITY] {
            assert!(matches!(problem(&[2, 3, 5, 8], None, RotaryOptions { base, ..default }), Err(Error::Argument { .. })));
        }
        let offset = |offset| RotaryOptions { offset, ..default };
        assert!(problem(&[2, 3, 5, 8], None, offset(i32::MAX - 5)).is_ok() && problem(&[2, 3, 5, 8], None, offset(i32::MIN)).is_ok());
        assert!(problem(&[2, 3, 5, 8], None, offset(i32::MAX - 4)).is_err());
        assert!(problem(&[2, 3, 5, 8], Some(&[5]), offset(1)).is_err());
    }

    #[test]
    fn frequencies_are_parts_of_a_turn() {
        let p = problem(&[1, 1, 1, 8], None, RotaryOptions::default()).unwrap();
        let radians: Vec<f64> = p.frequencies().iter().map(|&f| f as f64 / 2f64.powi(64) * std::f64::consts::TAU).collect();
        for (radians, expected) in radians.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((radians - expected).abs() < 1e-15, "{radians} {expected}");
        }
    }
}
