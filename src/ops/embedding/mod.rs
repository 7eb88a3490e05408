//! Rows of a matrix by their ids, forward and backward, as `torch.nn.functional.embedding`.
//!
//! ```text
//! y[i,c]        = weight[ids[i],c]
//! d_weight[r,c] = sum of d_y[i,c] over the i with ids[i] = r, in their order;  0 for r = padding_idx
//! ```
//!
//! # The backward
//!
//! Ids that are alike add to the same row. Without atomics, and in an order that is always the same, a row must know its ids. They are on the
//! device, so they are sorted there:
//!
//! 1. The positions of the ids are sorted by id, a digit of 8 bits after the other, in three dispatches each: count the digits of each block
//!    of 256 ids, add the counts up, put every id in its place. A place is the number of ids of lower digits, of the same digit in earlier
//!    blocks, and earlier in its own block, so ids that are alike keep their order. 50,000 rows take two digits, 255 one.
//! 2. A binary search for each row finds where its ids begin.
//! 3. Each element of d_weight adds up the d_y of its row's ids. A row that thousands name would keep few invocations busy for long, so
//!    before that the places are cut in slices of about the root of their number, and slices whose ids are all the same are added up,
//!    each on its own. A row then adds whole slices and the ends beside them: about 3 √n terms at most, and the workgroups that a large n needs.
//!
//! It is linear in what must be read and written anyway, the ids, d_y and d_weight. With 16,384 ids, 50,000 rows and 256 columns those are
//! 68 MB, and the sort moves 0.5 MB. To let each row look through all ids would be 800 million comparisons; to multiply by a matrix of ones
//! and zeros, 400 billion.
//!
//! Ids of which d_y does not fit a binding are sorted part by part, and each part is added to the gradient of those before it.
//!
//! Source: PyTorch for padding_idx; Satish, Harris, Garland 2009, "Designing efficient sorting algorithms for manycore GPUs", for the sort.

mod cases;
mod cpu;
mod gpu;

pub use gpu::{backward, forward};

use super::host::{elements, expect_upstream, f32_bytes, integers, misfit, normal, parse_sizes, required, wrong_shape};
use super::philox::Rng;
use super::{Applied, Arrays, Call, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{Array, Error, Result};

const OP: &str = "embedding";
const SHAPE: &str = "…,V,D, for instance 4,9,23,17: ids [4,9] of 23 rows with 17 columns";

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "the rows of a matrix that ids name",
    shape: SHAPE,
    inputs: &[Input::index("ids", "[..]"), Input::new("weight", "[V, D]")],
    outputs: &[Output::new("y", "[.., D]")],
    keys: &[Key::new("padding_idx", "none", "the row whose gradient is 0; negative ones are counted from the end")],
};

/// What is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbeddingOptions {
    /// The row whose gradient is 0; negative ones are counted from the end.
    pub padding_idx: Option<isize>,
}

impl EmbeddingOptions {
    fn of(settings: &Settings) -> Result<Self> {
        Ok(EmbeddingOptions { padding_idx: settings.get(OP, "padding_idx", "a row of weight")? })
    }
}

/// All sizes, derived from shapes that fit one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The shape of ids.
    pub ids: Vec<usize>,
    /// How many ids there are.
    pub count: usize,
    /// Rows of weight, V.
    pub vocabulary: usize,
    /// Columns of weight, D.
    pub columns: usize,
    /// The row whose gradient is 0.
    pub padding: Option<usize>,
}

impl Problem {
    /// Checks shapes and options.
    ///
    /// # Errors
    /// [`Error::Shape`] for shapes that do not fit, [`Error::Argument`] for a padding_idx that is no row, [`Error::Limit`] for more than 2³¹
    /// elements.
    pub fn new(ids: &[usize], weight: &[usize], options: &EmbeddingOptions) -> Result<Self> {
        let &[vocabulary, columns] = weight else { return Err(misfit(OP, "weight", weight, "[V, D]")) };
        let count = elements(OP, "ids", ids)?;
        elements(OP, "weight", weight)?;
        elements(OP, "y", &[ids, &[columns]].concat())?;
        let row = |index: isize| {
            let from_start = if index < 0 { index.checked_add_unsigned(vocabulary) } else { Some(index) };
            let row = from_start.and_then(|row| usize::try_from(row).ok()).filter(|&row| row < vocabulary);
            row.ok_or_else(|| {
                let expected = format!("a row of weight, from {} to {}", -(vocabulary as i64), vocabulary - 1);
                Error::Argument { op: OP, key: "padding_idx".into(), expected, got: index.to_string() }
            })
        };
        Ok(Problem { ids: ids.to_vec(), count, vocabulary, columns, padding: options.padding_idx.map(row).transpose()? })
    }

    /// Of a request, whose ids and upstream gradient are checked as well.
    ///
    /// # Errors
    /// As [`Problem::new`], and [`Error::Argument`] for an id that is no row and for a key that cannot be read.
    pub fn of(request: &Request) -> Result<Self> {
        let (ids, weight) = (required(OP, request, "ids")?, required(OP, request, "weight")?);
        let problem = Problem::new(ids.shape(), weight.shape(), &EmbeddingOptions::of(&request.settings)?)?;
        problem.rows_of(ids)?;
        expect_upstream(OP, request, "y", &problem.y_shape())?;
        Ok(problem)
    }

    /// The shape of y.
    pub fn y_shape(&self) -> Vec<usize> {
        [self.ids.as_slice(), &[self.columns]].concat()
    }

    /// The rows that ids name.
    fn rows_of(&self, ids: &Array) -> Result<Vec<usize>> {
        let row = |(i, &id): (usize, &i32)| match usize::try_from(id) {
            Ok(row) if row < self.vocabulary => Ok(row),
            _ => {
                let mut index: Vec<usize> = vec![];
                let mut rest = i;
                for &size in self.ids.iter().rev() {
                    index.insert(0, rest % size);
                    rest /= size;
                }
                let expected = format!("a row of weight, from 0 to {}", self.vocabulary - 1);
                Err(Error::Argument { op: OP, key: format!("ids{index:?}"), expected, got: id.to_string() })
            }
        };
        integers(OP, "ids", ids)?.iter().enumerate().map(row).collect()
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Embedding;

impl Operation for Embedding {
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
        let sizes = parse_sizes(OP, SHAPE, shape)?;
        let [ids @ .., vocabulary, columns] = sizes.as_slice() else { return Err(wrong_shape(OP, SHAPE, shape)) };
        let problem = Problem::new(ids, &[*vocabulary, *columns], &EmbeddingOptions::of(settings)?)?;
        let mut rng = Rng::new(seed);
        let weight = normal(&mut rng, &[*vocabulary, *columns]);
        let drawn = Array::i32(ids, (0..problem.count).map(|_| rng.below(*vocabulary) as i32).collect());
        let d_y = normal(&mut rng, &problem.y_shape());
        Ok([("ids", drawn), ("weight", weight), ("d_y", d_y)].map(|(name, array)| (name.to_string(), array)).into())
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

    /// The forward only copies; the backward adds every d_y once.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let (ids, y) = (problem.count as f64, (problem.count * problem.columns) as f64);
        let mut cost = Cost { flops: 0.0, bytes: f32_bytes(ids + 2.0 * y) };
        if request.wants_gradients() {
            cost.flops += y;
            cost.bytes += f32_bytes(ids + y + (problem.vocabulary * problem.columns) as f64);
        }
        Ok(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_options() {
        let problem = |padding_idx| Problem::new(&[2, 3], &[11, 5], &EmbeddingOptions { padding_idx });
        let p = problem(None).unwrap();
        assert_eq!((p.count, p.vocabulary, p.columns, p.padding, p.y_shape()), (6, 11, 5, None, vec![2, 3, 5]));
        assert_eq!([Some(0), Some(10), Some(-1), Some(-11)].map(|i| problem(i).unwrap().padding), [0, 10, 10, 0].map(Some));
        for wrong in [11, -12, isize::MAX, isize::MIN] {
            let message = problem(Some(wrong)).unwrap_err().to_string();
            assert!(message.contains("padding_idx") && message.contains("from -11 to 10"), "{message}");
        }
        assert!(Problem::new(&[2], &[11], &EmbeddingOptions::default()).is_err());
        assert_eq!(Problem::new(&[], &[11, 5], &EmbeddingOptions::default()).unwrap().y_shape(), [5]);
    }

    #[test]
    fn ids_are_rows() {
        let problem = Problem::new(&[2, 3], &[11, 5], &EmbeddingOptions::default()).unwrap();
        let rows = |ids: [i32; 6]| problem.rows_of(&Array::i32(&[2, 3], ids.into())).map_err(|e| e.to_string());
        assert_eq!(rows([0, 10, 3, 3, 0, 1]), Ok(vec![0, 10, 3, 3, 0, 1]));
        assert_eq!(rows([0, 10, 3, 3, 11, 1]).unwrap_err(), "embedding: ids[1, 1] = 11; expected a row of weight, from 0 to 10");
        assert!(rows([-1, 0, 0, 0, 0, 0]).is_err());
    }
}
