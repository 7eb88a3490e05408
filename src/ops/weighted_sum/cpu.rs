//! The reference: one term after the other, hidden pairs skipped.

use super::{OP, Problem};
use crate::Result;
use crate::ops::broadcast::{offsets, readers};
use crate::ops::host::{reals, required, visible};
use crate::ops::real::add_scaled;
use crate::ops::{Real, References, Request, Values, parallel};

/// o and, with an upstream gradient, d_weights and d_v.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let Problem { queries, keys, columns, .. } = problem;
    let weights: Vec<R> = reals(required(OP, request, "weights")?);
    let v: Vec<R> = reals(required(OP, request, "v")?);
    let mask = request.tensor("mask").zip(problem.mask_strides.as_deref());
    let visible = visible(mask, &problem.weights_shape);
    // Where a batch's weights and values start.
    let weights_at = offsets(&problem.batch, &problem.weights_strides);
    let v_at = offsets(&problem.batch, &problem.v_strides);

    // o[i,:] = sum_j weights[i,j] v[j,:]
    let row = |index: usize| {
        let (batch, i) = (index / queries, index % queries);
        let mut o = vec![R::ZERO; columns];
        for j in 0..keys {
            let at = weights_at[batch] + i * keys + j;
            if visible[at] {
                add_scaled(&mut o, weights[at], &v[v_at[batch] + j * columns..]);
            }
        }
        o
    };
    let o = parallel::map(problem.batches * queries, row).concat();
    let mut results = References::from([("o".to_string(), Values::of(&problem.o_shape, &o))]);
    if !request.wants_gradients() {
        return Ok(results);
    }

    let d_o: Vec<R> = reals(required(OP, request, "d_o")?);
    let d_o_row = |batch: usize, i: usize| &d_o[(batch * queries + i) * columns..][..columns];
    let slices = |at: &[usize], matrix: usize| at.iter().map(|offset| offset / matrix).collect::<Vec<usize>>();

    // o[i,:] = sum_j weights[i,j] v[j,:]:  d_weights[i,j] = d_o[i,:] · v[j,:], summed over the batches that read weights
    let weights_readers = readers(weights.len() / (queries * keys), &slices(&weights_at, queries * keys));
    let row = |index: usize| {
        let i = index % queries;
        let d_weight = |j: usize| {
            let mut sum = R::ZERO;
            for &batch in weights_readers[index / queries].iter().filter(|_| visible[index * keys + j]) {
                let v = &v[v_at[batch] + j * columns..][..columns];
                d_o_row(batch, i).iter().zip(v).for_each(|(&d_o, &v)| sum += d_o * v);
            }
            sum
        };
        (0..keys).map(d_weight).collect::<Vec<R>>()
    };
    let d_weights = parallel::map(weights.len() / keys, row).concat();
    results.insert("d_weights".into(), Values::of(&problem.weights_shape, &d_weights));

    // o[i,:] = sum_j weights[i,j] v[j,:]:  d_v[j,:] = sum_i weights[i,j] d_o[i,:], summed over the batches that read v
    let v_readers = readers(v.len() / (keys * columns), &slices(&v_at, keys * columns));
    let row = |index: usize| {
        let mut d_v = vec![R::ZERO; columns];
        for &batch in &v_readers[index / keys] {
            for i in 0..queries {
                let at = weights_at[batch] + i * keys + index % keys;
                if visible[at] {
                    add_scaled(&mut d_v, weights[at], d_o_row(batch, i));
                }
            }
        }
        d_v
    };
    let d_v = parallel::map(v.len() / columns, row).concat();
    results.insert("d_v".into(), Values::of(&problem.v_shape, &d_v));
    Ok(results)
}
