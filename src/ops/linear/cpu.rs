//! The reference: one row of each result after the other.

use super::{OP, Problem};
use crate::Result;
use crate::ops::host::{reals, required};
use crate::ops::{Real, References, Request, Values, parallel};

/// y and, with an upstream gradient, d_x, d_weight and d_bias.
pub fn run<R: Real>(request: &Request) -> Result<References> {
    let problem = Problem::of(request)?;
    let Problem { rows, inputs, outputs, .. } = problem;
    let read = |name: &str| required(OP, request, name).map(reals::<R>);
    let x = read("x")?;
    let weight = read("weight")?;
    let bias = if problem.bias { read("bias")? } else { vec![R::ZERO; outputs] };
    let x_row = |r: usize| &x[r * inputs..][..inputs];
    let weight_row = |o: usize| &weight[o * inputs..][..inputs];

    // y[r,o] = sum_i x[r,i] weight[o,i] + bias[o]
    let y_row = |r: usize| {
        let y = |o: usize| {
            let mut sum = R::ZERO;
            x_row(r).iter().zip(weight_row(o)).for_each(|(&x, &weight)| sum += x * weight);
            sum + bias[o]
        };
        (0..outputs).map(y).collect::<Vec<R>>()
    };
    let y = parallel::map(rows, y_row).concat();
    let mut results = References::from([("y".to_string(), Values::of(&problem.y_shape, &y))]);
    if !request.wants_gradients() {
        return Ok(results);
    }

    let d_y = read("d_y")?;
    // y[r,o] = sum_i x[r,i] weight[o,i]:  d_x[r,:] = sum_o d_y[r,o] weight[o,:]
    let d_x_row = |r: usize| sum_of_rows(inputs, (0..outputs).map(|o| (d_y[r * outputs + o], weight_row(o))));
    results.insert("d_x".into(), Values::of(&problem.x_shape, &parallel::map(rows, d_x_row).concat()));
    // y[r,o] = sum_i x[r,i] weight[o,i]:  d_weight[o,:] = sum_r d_y[r,o] x[r,:]
    let d_weight_row = |o: usize| sum_of_rows(inputs, (0..rows).map(|r| (d_y[r * outputs + o], x_row(r))));
    results.insert("d_weight".into(), Values::of(&[outputs, inputs], &parallel::map(outputs, d_weight_row).concat()));
    if problem.bias {
        // y[r,o] += bias[o]:  d_bias[o] = sum_r d_y[r,o]
        let mut d_bias = vec![R::ZERO; outputs];
        d_y.chunks(outputs).for_each(|row| d_bias.iter_mut().zip(row).for_each(|(sum, &d_y)| *sum += d_y));
        results.insert("d_bias".into(), Values::of(&[outputs], &d_bias));
    }
    Ok(results)
}

/// The sum of factor times row.
fn sum_of_rows<'a, R: Real>(columns: usize, terms: impl Iterator<Item = (R, &'a [R])>) -> Vec<R> {
    let mut sum = vec![R::ZERO; columns];
    for (factor, row) in terms {
        sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += factor * x);
    }
    sum
}
