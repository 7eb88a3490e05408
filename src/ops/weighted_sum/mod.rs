//! The sum of values under weights, with hidden pairs left out, forward and backward: the second half of attention.
//!
//! ```text
//! o[i,d]         = sum_j weights[i,j] v[j,d]           over the visible (i, j)
//! d_weights[i,j] = sum_d d_o[i,d] v[j,d]               0 where (i, j) is hidden
//! d_v[j,d]       = sum_i weights[i,j] d_o[i,d]         over the visible (i, j)
//! ```
//!
//! for every index of the batch dimensions, which broadcast as in numpy; the gradient of an operand that was repeated is
//! summed over its repetitions. A hidden pair contributes nothing: neither its weight nor its value is used, NaN included.
//! A query with nothing visible gets o = 0.
//!
//! Without a mask this is [`matmul`](super::matmul), which is the faster of the two.
//!
//! Source: Bahdanau, Cho & Bengio 2014, arXiv:1409.0473, equation 5 (the context vector).

mod cases;
mod cpu;
pub(crate) mod gpu;

pub use gpu::{Gradients, backward, forward};

use super::broadcast;
use super::host::{elements, expect_broadcast, expect_upstream, f32_bytes, misfit, normals, parse_product, required};
use super::{Applied, Arrays, Call, Case, Cost, Input, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::Result;
use crate::array::show_shape;
use crate::gpu::{AnyVariant, Caps, Gpu};

const OP: &str = "weighted_sum";
const SHAPE: &str = "[B or Bweights/Bv,]…Lq,Lk,Dv, for instance 2/1,33,17,65: weights [2,33,17], v [1,17,65]";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "o = weights v, with hidden pairs left out",
    shape: SHAPE,
    inputs: &[Input::new("weights", "[.., Lq,Lk]"), Input::new("v", "[.., Lk,Dv]"), Input::mask("mask", "broadcastable to weights")],
    outputs: &[Output::new("o", "[.., Lq,Dv]")],
    keys: &[],
};

/// All sizes, derived from shapes that fit one another. Strides are in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The batch dimensions of o.
    pub batch: Vec<usize>,
    /// The product of the batch dimensions.
    pub batches: usize,
    /// Queries: rows of weights and o.
    pub queries: usize,
    /// Keys: columns of weights, rows of v.
    pub keys: usize,
    /// Columns of v and o.
    pub columns: usize,
    /// The shape of weights.
    pub weights_shape: Vec<usize>,
    /// The stride of weights along each batch dimension, 0 where they are repeated.
    pub weights_strides: Vec<usize>,
    /// The shape of v.
    pub v_shape: Vec<usize>,
    /// The stride of v along each batch dimension, 0 where it is repeated.
    pub v_strides: Vec<usize>,
    /// The mask's stride along each dimension of weights, 0 where it is repeated.
    pub mask_strides: Option<Vec<usize>>,
    /// The shape of o.
    pub o_shape: Vec<usize>,
}

impl Problem {
    /// Checks the shapes of `weights`, `v` and `mask` against one another.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for shapes that do not fit, [`Error::Limit`](crate::Error::Limit) for a result of more than 2³¹ elements.
    pub fn new(weights: &[usize], v: &[usize], mask: Option<&[usize]>) -> Result<Self> {
        let [weights_batch @ .., queries, keys] = weights else { return Err(misfit(OP, "weights", weights, "[.., Lq,Lk]")) };
        let fits = || format!("[.., Lk,Dv] with Lk = {keys} as in weights, which are {}", show_shape(weights));
        let [v_batch @ .., v_keys, columns] = v else { return Err(misfit(OP, "v", v, fits())) };
        if v_keys != keys {
            return Err(misfit(OP, "v", v, fits()));
        }
        let apart = || misfit(OP, "v", v, format!("batch dimensions that broadcast with those of weights, {}", show_shape(weights_batch)));
        let batch = broadcast::common(weights_batch, v_batch).ok_or_else(apart)?;
        let o_shape = [batch.as_slice(), &[*queries, *columns]].concat();
        for (name, shape) in [("weights", weights), ("v", v), ("o", &o_shape)] {
            elements(OP, name, shape)?;
        }
        let strides = |own: &[usize], matrix: usize| -> Result<Vec<usize>> {
            // The batch dimensions broadcast to `batch`, which is how `batch` was made.
            Ok(broadcast::strides(own, &batch).ok_or_else(apart)?.iter().map(|s| s * matrix).collect())
        };
        Ok(Problem {
            batches: batch.iter().product(),
            queries: *queries,
            keys: *keys,
            columns: *columns,
            weights_shape: weights.to_vec(),
            weights_strides: strides(weights_batch, queries * keys)?,
            v_shape: v.to_vec(),
            v_strides: strides(v_batch, keys * columns)?,
            mask_strides: mask.map(|mask| expect_broadcast(OP, "mask", mask, "that of weights", weights)).transpose()?,
            o_shape,
            batch,
        })
    }

    /// Of a request, whose upstream gradient is checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`].
    pub fn of(request: &Request) -> Result<Self> {
        let mask = request.tensor("mask").map(|t| t.shape());
        let problem = Problem::new(required(OP, request, "weights")?.shape(), required(OP, request, "v")?.shape(), mask)?;
        expect_upstream(OP, request, "o", &problem.o_shape)?;
        Ok(problem)
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct WeightedSum;

impl Operation for WeightedSum {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, _settings: &Settings, seed: u64) -> Result<Arrays> {
        let ([weights, v], [queries, keys, columns]) = parse_product(OP, SHAPE, shape)?;
        let (weights, v) = ([weights, vec![queries, keys]].concat(), [v, vec![keys, columns]].concat());
        let problem = Problem::new(&weights, &v, None)?;
        Ok(normals(seed, [("weights", &weights), ("v", &v), ("d_o", &problem.o_shape)]))
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

    /// Hidden pairs are counted as if they were visible: how many are hidden is not known before the mask is read.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let o = (problem.batches * problem.queries * problem.columns) as f64;
        let read: usize = request.tensors.values().map(|t| t.bytes().len()).sum();
        let mut cost = Cost { flops: 2.0 * o * problem.keys as f64, bytes: read as f64 + f32_bytes(o) };
        if request.wants_gradients() {
            let gradients = problem.weights_shape.iter().product::<usize>() + problem.v_shape.iter().product::<usize>();
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
        let p = Problem::new(&[2, 1, 3, 5], &[4, 5, 7], Some(&[3, 1])).unwrap();
        assert_eq!((p.o_shape, p.batches, p.weights_strides, p.v_strides), (vec![2, 4, 3, 7], 8, vec![15, 0], vec![0, 35]));
        assert_eq!(p.mask_strides, Some(vec![0, 0, 1, 0]));
        let message = |weights: &[usize], v: &[usize], mask| Problem::new(weights, v, mask).unwrap_err().to_string();
        assert!(message(&[3, 5], &[4, 7], None).contains("Lk = 5"));
        assert!(message(&[5], &[5, 7], None).contains("'weights'"));
        assert!(message(&[2, 3, 5], &[3, 5, 7], None).contains("broadcast with those of weights, [2]"));
        assert!(message(&[3, 5], &[2, 5, 7], Some(&[2, 3, 5])).contains("'mask'"), "the mask belongs to weights, not to o");
    }

    /// With hidden weights set to 0 and nothing planted it is a matmul, gradients at visible places included.
    #[test]
    fn is_a_matmul_of_the_visible_weights() {
        use crate::ops::host::visible;
        use crate::ops::matmul::Matmul;
        for case in WeightedSum.cases().iter().filter(|case| !case.name.contains("nan")) {
            let request = case.request(&WeightedSum, 1).unwrap();
            let problem = Problem::of(&request).unwrap();
            let visible = visible(request.tensor("mask").zip(problem.mask_strides.as_deref()), &problem.weights_shape);
            let shown = |values: Vec<f64>| values.into_iter().zip(&visible).map(|(x, &v)| if v { x as f32 } else { 0.0 }).collect();
            let mut tensors = Arrays::new();
            tensors.insert("a".into(), crate::Array::f32(&problem.weights_shape, shown(request.tensors["weights"].to_f64())));
            tensors.insert("b".into(), request.tensors["v"].clone());
            request.tensor("d_o").and_then(|d_o| tensors.insert("d_y".into(), d_o.clone()));
            let theirs = Matmul.reference(&Request::new(Matmul.spec(), tensors, Settings::default()).unwrap(), Precision::Exact).unwrap();
            let ours = WeightedSum.reference(&request, Precision::Exact).unwrap();
            for (name, key) in [("o", "y"), ("d_weights", "d_a"), ("d_v", "d_b")].into_iter().filter(|(name, _)| ours.contains_key(*name)) {
                let expected = |i: usize| if name == "d_weights" && !visible[i] { 0.0 } else { theirs[key].value[i] };
                let close = |(i, x): (usize, &f64)| (x - expected(i)).abs() <= 1e-12 * (1.0 + x.abs());
                assert!(ours[name].value.iter().enumerate().all(close), "{} {name}", case.name);
            }
        }
    }
}
