//! The reference: one term after the other, k ascending, on operands copied to plain row-major matrices.

use super::{OP, Operand, Problem};
use crate::ops::broadcast::{offsets, readers};
use crate::ops::host::{self, reals, required};
use crate::ops::{Real, References, Request, Values, parallel};
use crate::{Array, Result};

/// Matrices of one size, one after the other, row-major.
struct Matrices<R> {
    rows: usize,
    columns: usize,
    values: Vec<R>,
}

impl<R: Real> Matrices<R> {
    /// Row `i` of matrix `slice`.
    fn row(&self, slice: usize, i: usize) -> &[R] {
        &self.values[(slice * self.rows + i) * self.columns..][..self.columns]
    }

    /// Every matrix transposed.
    fn transposed(&self) -> Self {
        let (rows, columns) = (self.columns, self.rows);
        let mut values = Vec::with_capacity(self.values.len());
        for matrix in self.values.chunks(rows * columns) {
            values.extend((0..rows).flat_map(|i| (0..columns).map(move |j| matrix[j * rows + i])));
        }
        Matrices { rows, columns, values }
    }

    /// An operand as the product sees it: [slices, rows, columns].
    fn of(operand: &Operand, [rows, columns]: [usize; 2], stored: &Array) -> Self {
        let values = reals(stored);
        if operand.swapped {
            return Matrices { rows: columns, columns: rows, values }.transposed();
        }
        Matrices { rows, columns, values }
    }

    /// A gradient as its operand is stored.
    fn store(self, operand: &Operand) -> Values {
        Values::of(&operand.shape, &if operand.swapped { self.transposed().values } else { self.values })
    }
}

/// For each list of pairs the sum of the products of those left and right matrices:
/// `out[s][i,j] = sum over (l, r) in pairs[s], sum_k left[l][i,k] right[r][k,j]`.
fn products<R: Real>(pairs: &[Vec<(usize, usize)>], left: &Matrices<R>, right: &Matrices<R>) -> Matrices<R> {
    let (rows, columns) = (left.rows, right.columns);
    let row = |index: usize| {
        let mut out = vec![R::ZERO; columns];
        for &(l, r) in &pairs[index / rows] {
            for (k, &x) in left.row(l, index % rows).iter().enumerate() {
                out.iter_mut().zip(right.row(r, k)).for_each(|(out, &y)| *out += x * y);
            }
        }
        out
    };
    Matrices { rows, columns, values: parallel::map(pairs.len() * rows, row).concat() }
}

/// y and, with an upstream gradient, d_a, d_b and d_bias.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let Problem { m, k, n, .. } = problem;
    let dtype = request.settings.dtype(OP)?;
    let stored = |name: &str| required(OP, request, name).map(|array| host::stored(array, dtype));
    let a: Matrices<R> = Matrices::of(&problem.a, [m, k], &stored("a")?);
    let b: Matrices<R> = Matrices::of(&problem.b, [k, n], &stored("b")?);
    // Which matrix of each operand a batch reads.
    let slices = |operand: &Operand, matrix: usize| -> Vec<usize> {
        offsets(&problem.batch, &operand.batch_strides).iter().map(|offset| offset / matrix).collect()
    };
    let (a_of, b_of) = (slices(&problem.a, m * k), slices(&problem.b, k * n));

    // y = a b + bias
    let pairs: Vec<Vec<(usize, usize)>> = a_of.iter().zip(&b_of).map(|(&a, &b)| vec![(a, b)]).collect();
    let mut y = products(&pairs, &a, &b);
    if problem.bias {
        let bias: Vec<R> = reals(&stored("bias")?);
        y.values.chunks_mut(n).for_each(|row| row.iter_mut().zip(&bias).for_each(|(y, &bias)| *y += bias));
    }
    let mut results = References::from([("y".to_string(), Values::of(&problem.y_shape, &y.values))]);
    if !request.wants_gradients() {
        return Ok(results);
    }

    let d_y: Matrices<R> = Matrices { rows: m, columns: n, values: reals(&stored("d_y")?) };
    // y = a b:  d_a = d_y bᵀ, summed over the batches that read a
    let pairs: Vec<Vec<(usize, usize)>> =
        readers(problem.a.slices, &a_of).into_iter().map(|batches| batches.into_iter().map(|i| (i, b_of[i])).collect()).collect();
    results.insert("d_a".into(), products(&pairs, &d_y, &b.transposed()).store(&problem.a));
    // y = a b:  d_b = aᵀ d_y, summed over the batches that read b
    let pairs: Vec<Vec<(usize, usize)>> =
        readers(problem.b.slices, &b_of).into_iter().map(|batches| batches.into_iter().map(|i| (a_of[i], i)).collect()).collect();
    results.insert("d_b".into(), products(&pairs, &a.transposed(), &d_y).store(&problem.b));
    if problem.bias {
        // y += bias:  d_bias = d_y, summed over all rows
        let mut d_bias = vec![R::ZERO; n];
        d_y.values.chunks(n).for_each(|row| d_bias.iter_mut().zip(row).for_each(|(sum, &d_y)| *sum += d_y));
        results.insert("d_bias".into(), Values::of(&[n], &d_bias));
    }
    Ok(results)
}
