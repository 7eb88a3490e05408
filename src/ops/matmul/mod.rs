//! Matrix product with broadcast batch dimensions, forward and backward.
//!
//! ```text
//! y[i,j]   = sum_k a[i,k] b[k,j] + bias[j]
//! d_a[i,k] = sum_j d_y[i,j] b[k,j]
//! d_b[k,j] = sum_i a[i,k] d_y[i,j]
//! d_bias[j] = sum_i d_y[i,j]
//! ```
//!
//! for every index of the batch dimensions, which broadcast as in numpy; the gradient of an operand that was repeated is
//! summed over its repetitions. With `trans_a` the last two dimensions of a are stored swapped, `[.., K, M]`, and with
//! `trans_b` those of b, `[.., N, K]`. An operand of one dimension is a row on the left (`[K]` stands for `[1, K]`) and a
//! column on the right (`[K]` stands for `[K, 1]`), and the dimension of 1 is dropped from y.
//!
//! The accumulation is in f32 whatever the storage type. Source: numpy's `matmul` for the shapes.

mod cases;
mod cpu;
pub(crate) mod gpu;
mod small;
mod thin;
mod units;

pub use gpu::{Gradients, backward, forward};

use super::broadcast;
use super::host::{elements, expect_shape, expect_upstream, misfit, normals, parse_product, required};
use super::{
    Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning,
};
use crate::array::show_shape;
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{DType, Error, Result};

const OP: &str = "matmul";
const SHAPE: &str = "[B or Ba/Bb,]…M,K,N, for instance 2/1,33,17,65: a [2,33,17], b [1,17,65]";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "y = a b + bias, with batch dimensions that broadcast",
    shape: SHAPE,
    inputs: &[
        Input::new("a", "[.., M,K], or [.., K,M] with trans_a, or [K]"),
        Input::new("b", "[.., K,N], or [.., N,K] with trans_b, or [K]"),
        Input::new("bias", "[N]").optional(),
    ],
    outputs: &[Output::new("y", "[.., M,N]")],
    keys: &[
        Key::new("trans_a", "false", "a is stored with its last two dimensions swapped"),
        Key::new("trans_b", "false", "b is stored with its last two dimensions swapped"),
        Key::new("dtype", "f32", "f16: every tensor given is rounded to f16 on the way in; results are f32 in either case"),
    ],
};

/// How the operands are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatmulOptions {
    /// a is `[.., K, M]`.
    pub trans_a: bool,
    /// b is `[.., N, K]`.
    pub trans_b: bool,
    /// How y is stored: f32 or f16. Gradients are f32.
    pub output: DType,
}

impl Default for MatmulOptions {
    fn default() -> Self {
        MatmulOptions { trans_a: false, trans_b: false, output: DType::F32 }
    }
}

impl MatmulOptions {
    fn of(settings: &Settings) -> Result<Self> {
        let flag = |key| settings.flag(OP, key, false);
        Ok(MatmulOptions { trans_a: flag("trans_a")?, trans_b: flag("trans_b")?, output: DType::F32 })
    }
}

/// How one operand's matrices are found. All strides are in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The shape as stored; its gradient has the same.
    pub shape: Vec<usize>,
    /// How many matrices it holds.
    pub slices: usize,
    /// Whether the stored matrices are transposes of those that are multiplied.
    pub swapped: bool,
    /// One stride for each batch dimension of y; 0 where the operand is repeated.
    pub batch_strides: Vec<usize>,
    /// From one row of the (not transposed) matrix to the next.
    pub row_stride: usize,
    /// From one column of the (not transposed) matrix to the next.
    pub column_stride: usize,
}

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The batch dimensions of y.
    pub batch: Vec<usize>,
    /// The product of the batch dimensions.
    pub batches: usize,
    /// Rows of a and y.
    pub m: usize,
    /// Columns of a, rows of b.
    pub k: usize,
    /// Columns of b and y.
    pub n: usize,
    /// The left operand.
    pub a: Operand,
    /// The right operand.
    pub b: Operand,
    /// Whether a bias is added.
    pub bias: bool,
    /// The shape of y.
    pub y_shape: Vec<usize>,
}

impl Problem {
    /// Checks the shapes of `a`, `b` and `bias` against one another.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, [`Error::Argument`] for a transposition of a vector, [`Error::Limit`] for
    /// a result of more than 2³¹ elements.
    pub fn new(a: &[usize], b: &[usize], bias: Option<&[usize]>, options: &MatmulOptions) -> Result<Self> {
        let MatmulOptions { trans_a, trans_b, output } = *options;
        if !matches!(output, DType::F32 | DType::F16) {
            return Err(Error::Dtype { op: OP, tensor: "y".into(), expected: "f32 or f16".into(), got: output.to_string() });
        }
        let (a_batch, [m, k]) = matrix("a", a, trans_a, |k| [1, k])?;
        let (b_batch, [b_k, n]) = matrix("b", b, trans_b, |k| [k, 1])?;
        if b_k != k {
            let layout = if b.len() == 1 { "[K]" } else { ["[.., K,N]", "[.., N,K]"][usize::from(trans_b)] };
            return Err(misfit(OP, "b", b, format!("{layout} with K = {k} as in a, which is {}", show_shape(a))));
        }
        let apart = || misfit(OP, "b", b, format!("batch dimensions that broadcast with those of a, {}", show_shape(a_batch)));
        let batch = broadcast::common(a_batch, b_batch).ok_or_else(apart)?;
        if let Some(bias) = bias {
            expect_shape(OP, "bias", bias, &[n])?;
        }
        let mut y_shape = batch.clone();
        y_shape.extend((a.len() > 1).then_some(m));
        y_shape.extend((b.len() > 1).then_some(n));
        elements(OP, "y", &y_shape)?;
        let operand = |name, shape: &[usize], own_batch: &[usize], [rows, columns]: [usize; 2], swapped| {
            elements(OP, name, shape)?;
            // The batch dimensions broadcast to `batch`, which is how `batch` was made.
            let strides = broadcast::strides(own_batch, &batch).ok_or_else(apart)?;
            Ok(Operand {
                shape: shape.to_vec(),
                slices: own_batch.iter().product(),
                swapped,
                batch_strides: strides.iter().map(|s| s * rows * columns).collect(),
                row_stride: if swapped { 1 } else { columns },
                column_stride: if swapped { rows } else { 1 },
            })
        };
        Ok(Problem {
            batches: batch.iter().product(),
            m,
            k,
            n,
            a: operand("a", a, a_batch, [m, k], trans_a)?,
            b: operand("b", b, b_batch, [k, n], trans_b)?,
            bias: bias.is_some(),
            y_shape,
            batch,
        })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and for keys that cannot be read.
    pub fn of(request: &Request) -> Result<Self> {
        let bias = request.tensor("bias").map(|t| t.shape());
        let options = MatmulOptions::of(&request.settings)?;
        let problem = Problem::new(required(OP, request, "a")?.shape(), required(OP, request, "b")?.shape(), bias, &options)?;
        expect_upstream(OP, request, "y", &problem.y_shape)?;
        Ok(problem)
    }

    /// Floating-point operations of the forward: a multiply and an add for each term, and the bias.
    pub fn flops(&self) -> f64 {
        let y = (self.batches * self.m * self.n) as f64;
        y * (2.0 * self.k as f64 + f64::from(u8::from(self.bias)))
    }
}

/// Splits a stored shape into batch dimensions and the matrix as the product sees it.
fn matrix<'a>(name: &str, shape: &'a [usize], swapped: bool, vector: fn(usize) -> [usize; 2]) -> Result<(&'a [usize], [usize; 2])> {
    match *shape {
        [] => Err(misfit(OP, name, shape, "at least one dimension")),
        [_] if swapped => {
            let expected = format!("false for an {name} of one dimension");
            Err(Error::Argument { op: OP, key: format!("trans_{name}"), expected, got: "true".into() })
        }
        [k] => Ok((&[], vector(k))),
        [ref batch @ .., rows, columns] => Ok((batch, if swapped { [columns, rows] } else { [rows, columns] })),
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Matmul;

impl Operation for Matmul {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels(caps)
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        gpu::tunings(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
        let (batch, [m, k, n]) = parse_product(OP, SHAPE, shape)?;
        let options = MatmulOptions::of(settings)?;
        let stored = |batch: &[usize], swapped: bool, rows: usize, columns: usize| {
            [batch, &if swapped { [columns, rows] } else { [rows, columns] }].concat()
        };
        let a = stored(&batch[0], options.trans_a, m, k);
        let b = stored(&batch[1], options.trans_b, k, n);
        let problem = Problem::new(&a, &b, None, &options)?;
        Ok(normals(seed, [("a", &a), ("b", &b), ("d_y", &problem.y_shape)]))
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
        let stored = request.settings.dtype(OP)?.bytes() as f64;
        let read: usize = request.tensors.values().map(|t| t.len()).sum();
        let y = (problem.batches * problem.m * problem.n) as f64;
        let mut cost = Cost { flops: problem.flops(), bytes: read as f64 * stored + y * DType::F32.bytes() as f64 };
        if request.wants_gradients() {
            let gradients: usize = SPEC.inputs.iter().filter_map(|i| request.tensor(i.name)).map(|t| t.len()).sum();
            cost.flops *= 3.0;
            cost.bytes += (gradients * DType::F32.bytes()) as f64;
        }
        Ok(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Array;

    fn new(a: &[usize], b: &[usize], trans_a: bool, trans_b: bool) -> Result<Problem> {
        Problem::new(a, b, None, &MatmulOptions { trans_a, trans_b, ..Default::default() })
    }

    #[test]
    fn shapes_and_strides() {
        let p = new(&[2, 1, 3, 5], &[4, 5, 7], false, false).unwrap();
        assert_eq!((p.y_shape, p.batches), (vec![2, 4, 3, 7], 8));
        assert_eq!((p.a.batch_strides, p.a.row_stride, p.a.column_stride, p.a.slices), (vec![15, 0], 5, 1, 2));
        assert_eq!((p.b.batch_strides, p.b.row_stride, p.b.column_stride, p.b.slices), (vec![0, 35], 7, 1, 4));
        let p = new(&[5, 3], &[7, 5], true, true).unwrap();
        assert_eq!((p.m, p.k, p.n, p.a.row_stride, p.a.column_stride, p.b.row_stride, p.b.column_stride), (3, 5, 7, 1, 3, 1, 5));
    }

    #[test]
    fn vectors_drop_their_dimension() {
        assert!(new(&[5], &[5], false, false).unwrap().y_shape.is_empty());
        assert_eq!(new(&[5], &[2, 5, 7], false, false).unwrap().y_shape, [2, 7]);
        assert_eq!(new(&[2, 3, 5], &[5], false, false).unwrap().y_shape, [2, 3]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let message = |r: Result<Problem>| r.unwrap_err().to_string();
        assert_eq!(
            message(new(&[3, 5], &[4, 7], false, false)),
            "matmul: 'b' has shape [4, 7]; expected [.., K,N] with K = 5 as in a, which is [3, 5]"
        );
        assert!(message(new(&[2, 3, 5], &[3, 5, 7], false, false)).contains("broadcast with those of a, [2]"));
        assert!(message(new(&[], &[5], false, false)).contains("at least one dimension"));
        assert!(message(new(&[5], &[5, 7], true, false)).contains("trans_a = true"));
        assert!(matches!(new(&[1 << 20, 1], &[1, 1 << 20], false, false), Err(Error::Limit { .. })));
        assert!(Problem::new(&[3, 5], &[5, 7], Some(&[1]), &MatmulOptions::default()).is_err());
    }

    /// ```python
    /// a = np.arange(12).reshape(2, 1, 2, 3); b = np.arange(18).reshape(3, 3, 2) - 9
    /// y = a @ b; d = np.arange(24).reshape(y.shape) % 5 - 2
    /// (d @ b.swapaxes(-1, -2)).sum(1, keepdims=True); (a.swapaxes(-1, -2) @ d).sum(0)
    /// ```
    #[test]
    fn numpy_gives_the_same() {
        let integers = |shape: &[usize], f: fn(usize) -> f32| Array::f32(shape, (0..shape.iter().product()).map(f).collect());
        let a = integers(&[2, 1, 2, 3], |i| i as f32);
        let b = integers(&[3, 3, 2], |i| i as f32 - 9.0);
        let d_y = integers(&[2, 3, 2, 2], |i| (i % 5) as f32 - 2.0);
        let tensors = [("a", a), ("b", b), ("d_y", d_y)].map(|(name, array)| (name.to_string(), array)).into();
        let results = Matmul.reference(&Request::new(&SPEC, tensors, Settings::default()).unwrap(), Precision::Exact).unwrap();
        let y = [-17, -14, -80, -68, 1, 4, -8, 4, 19, 22, 64, 76, -143, -122, -206, -176, -17, 4, -26, 4, 109, 130, 154, 184];
        let d_a = [35, 35, 35, -15, -21, -27, -15, -21, -27, -5, 3, 11];
        let d_b = [18, -9, 18, -10, 18, -11, 0, 18, 1, 18, 2, 18, -18, 0, -21, 1, -24, 2];
        assert_eq!(results["y"].value, y.map(f64::from));
        assert_eq!(results["d_a"].value, d_a.map(f64::from));
        assert_eq!(results["d_b"].value, d_b.map(f64::from));
    }

    /// The strides, which the kernels read with, lead to the terms that the reference multiplies.
    #[test]
    fn strides_find_the_terms_of_every_case() {
        for case in Matmul.cases() {
            let request = case.request(&Matmul, 1).unwrap();
            let p = Problem::of(&request).unwrap();
            let read = |name| request.tensor(name).map(|t| t.to_float(request.settings.dtype(OP).unwrap()).to_f64());
            let (a, b, bias) = (read("a").unwrap(), read("b").unwrap(), read("bias"));
            let y = &Matmul.reference(&request, Precision::Exact).unwrap()["y"];
            let at = |operand: &Operand| broadcast::offsets(&p.batch, &operand.batch_strides);
            for (batch, (a_at, b_at)) in at(&p.a).into_iter().zip(at(&p.b)).enumerate() {
                for (i, j) in [(0, 0), (p.m - 1, p.n / 2), (p.m / 3, p.n - 1)] {
                    let term =
                        |k| a[a_at + i * p.a.row_stride + k * p.a.column_stride] * b[b_at + k * p.b.row_stride + j * p.b.column_stride];
                    let sum = (0..p.k).map(term).sum::<f64>() + bias.as_ref().map_or(0.0, |bias| bias[j]);
                    assert_eq!(sum, y.value[(batch * p.m + i) * p.n + j], "{} [{batch}, {i}, {j}]", case.name);
                }
            }
        }
    }
}
