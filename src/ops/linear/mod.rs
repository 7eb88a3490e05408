//! An affine map of the last dimension, forward and backward, with the weight laid out as `torch.nn.Linear` has it.
//!
//! ```text
//! y[r,o]        = sum_i x[r,i] weight[o,i] + bias[o]
//! d_x[r,i]      = sum_o d_y[r,o] weight[o,i]
//! d_weight[o,i] = sum_r d_y[r,o] x[r,i]
//! d_bias[o]     = sum_r d_y[r,o]
//! ```
//!
//! Composed of [`matmul`](super::matmul) and [`sum`](super::sum); it has no kernels of its own.
//! Source: PyTorch's documentation of `torch.nn.Linear`.

mod cases;
mod cpu;
mod gpu;

pub use gpu::{Gradients, backward, forward};

use super::host::{elements, expect_shape, expect_upstream, f32_bytes, misfit, normals, parse_sizes, required, wrong_shape};
use super::{Applied, Arrays, Call, Case, Cost, Input, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::Result;
use crate::array::show_shape;
use crate::gpu::{AnyVariant, Caps, Gpu};

const OP: &str = "linear";
const SHAPE: &str = "…,I,O, for instance 5,6,37,29: x [5,6,37], weight [29,37], bias [29]";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = x weightᵀ + bias",
    shape: SHAPE,
    inputs: &[Input::new("x", "[.., I]"), Input::new("weight", "[O, I]"), Input::new("bias", "[O]").optional()],
    outputs: &[Output::new("y", "[.., O]")],
    keys: &[],
};

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The product of all dimensions of x but the last.
    pub rows: usize,
    /// I: columns of x and weight.
    pub inputs: usize,
    /// O: rows of weight, columns of y.
    pub outputs: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// The shape of x.
    pub x_shape: Vec<usize>,
    /// The shape of y.
    pub y_shape: Vec<usize>,
}

impl Problem {
    /// Checks the shapes of `x`, `weight` and `bias` against one another.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for shapes that do not fit, [`Error::Limit`](crate::Error::Limit) for a result of more than 2³¹ elements.
    pub fn new(x: &[usize], weight: &[usize], bias: Option<&[usize]>) -> Result<Self> {
        let [rows @ .., inputs] = x else { return Err(misfit(OP, "x", x, "[.., I]")) };
        let fits = || format!("[O, I] with I = {inputs} as in x, which is {}", show_shape(x));
        let &[outputs, columns] = weight else { return Err(misfit(OP, "weight", weight, fits())) };
        if columns != *inputs {
            return Err(misfit(OP, "weight", weight, fits()));
        }
        if let Some(bias) = bias {
            expect_shape(OP, "bias", bias, &[outputs])?;
        }
        let y_shape = [rows, &[outputs]].concat();
        for (name, shape) in [("x", x), ("weight", weight), ("y", &y_shape)] {
            elements(OP, name, shape)?;
        }
        Ok(Problem { rows: rows.iter().product(), inputs: *inputs, outputs, bias: bias.is_some(), x_shape: x.to_vec(), y_shape })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`].
    pub fn of(request: &Request) -> Result<Self> {
        let bias = request.tensor("bias").map(|t| t.shape());
        let problem = Problem::new(required(OP, request, "x")?.shape(), required(OP, request, "weight")?.shape(), bias)?;
        expect_upstream(OP, request, "y", &problem.y_shape)?;
        Ok(problem)
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Linear;

impl Operation for Linear {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, _caps: &Caps) -> Vec<AnyVariant> {
        Vec::new()
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, _settings: &Settings, seed: u64) -> Result<Arrays> {
        let sizes = parse_sizes(OP, SHAPE, shape)?;
        let [x @ .., outputs] = sizes.as_slice() else { return Err(wrong_shape(OP, SHAPE, shape)) };
        let [.., inputs] = x else { return Err(wrong_shape(OP, SHAPE, shape)) };
        let problem = Problem::new(x, &[*outputs, *inputs], None)?;
        Ok(normals(seed, [("x", x), ("weight", &[*outputs, *inputs]), ("bias", &[*outputs]), ("d_y", &problem.y_shape)]))
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

    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let y = (problem.rows * problem.outputs) as f64;
        let read: usize = request.tensors.values().map(|t| t.bytes().len()).sum();
        let mut cost =
            Cost { flops: y * (2.0 * problem.inputs as f64 + f64::from(u8::from(problem.bias))), bytes: read as f64 + f32_bytes(y) };
        if request.wants_gradients() {
            let gradients: usize = SPEC.inputs.iter().filter_map(|i| request.tensor(i.name)).map(|t| t.len()).sum();
            cost.flops *= 3.0;
            cost.bytes += f32_bytes(gradients as f64);
        }
        Ok(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let p = Problem::new(&[5, 6, 37], &[29, 37], Some(&[29])).unwrap();
        assert_eq!((p.rows, p.inputs, p.outputs, p.y_shape), (30, 37, 29, vec![5, 6, 29]));
        assert_eq!(Problem::new(&[37], &[29, 37], None).unwrap().y_shape, [29]);
        let message = Problem::new(&[5, 37], &[37, 29], None).unwrap_err().to_string();
        assert_eq!(message, "linear: 'weight' has shape [37, 29]; expected [O, I] with I = 37 as in x, which is [5, 37]");
        assert!(Problem::new(&[5, 37], &[29, 37], Some(&[1])).is_err());
        assert!(Problem::new(&[], &[29, 37], None).is_err());
    }

    /// y = x weightᵀ + bias is a matmul with its right operand transposed, gradients included.
    #[test]
    fn is_a_matmul() {
        use crate::ops::matmul::Matmul;
        for case in Linear.cases() {
            let request = case.request(&Linear, 1).unwrap();
            let rename = |name: &str| match name {
                "x" => "a".to_string(),
                "weight" => "b".to_string(),
                same => same.to_string(),
            };
            let tensors = request.tensors.iter().map(|(name, array)| (rename(name), array.clone())).collect();
            let settings = Settings::new([("trans_b".to_string(), "true".to_string())]);
            let theirs = Matmul.reference(&Request::new(Matmul.spec(), tensors, settings).unwrap(), Precision::Exact).unwrap();
            for (name, ours) in Linear.reference(&request, Precision::Exact).unwrap() {
                let key = name.strip_prefix("d_").map_or(name.clone(), |name| format!("d_{}", rename(name)));
                let close = ours.value.iter().zip(&theirs[&key].value).all(|(x, y)| (x - y).abs() <= 1e-12 * (1.0 + y.abs()));
                assert!(close && ours.shape == theirs[&key].shape, "{} {name}", case.name);
            }
        }
    }
}
