//! matmul, weighted_sum and linear.

use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use wattn::ops::Arrays;
use wattn::{Array, Data};

use super::draw::{broadcast, chance, common, dims, maybe, one_of, repeated};
use super::plan::{Fill, Plan};

/// Around the tiles of 16, 32 and 64.
const SIZES: &[usize] = &[1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65];

const NORMAL: Fill = Fill::Normal(1.0);

/// Any operands: with batch dimensions of their own, transposed, or of one dimension.
pub fn matmul() -> BoxedStrategy<Plan> {
    let sizes = (one_of(SIZES), one_of(SIZES), one_of(SIZES), dims(3, 3), broadcast(), broadcast());
    let keys = (maybe(0.4, &[true, false]), maybe(0.4, &[true, false]), maybe(0.3, &["f16", "f32"]));
    let tensors = (chance(0.1), chance(0.1), chance(0.4), chance(0.8), any::<u64>());
    (sizes, keys, tensors)
        .prop_map(|((m, k, n, batch, a_batch, b_batch), (trans_a, trans_b, dtype), (a_vector, b_vector, bias, upstream, seed))| {
            let mut plan = Plan::new("matmul", seed);
            let stored = |batch: &[usize], swapped: bool, [rows, columns]: [usize; 2]| {
                [batch, &if swapped { [columns, rows] } else { [rows, columns] }].concat()
            };
            let (a_batch, b_batch) = (a_batch.of(&batch), b_batch.of(&batch));
            // A vector has neither batch dimensions nor a transpose.
            let (a_batch, b_batch) = (if a_vector { vec![] } else { a_batch }, if b_vector { vec![] } else { b_batch });
            let (trans_a, trans_b) = (trans_a.filter(|_| !a_vector), trans_b.filter(|_| !b_vector));
            let a = if a_vector { vec![k] } else { stored(&a_batch, trans_a == Some(true), [m, k]) };
            let b = if b_vector { vec![k] } else { stored(&b_batch, trans_b == Some(true), [k, n]) };
            let columns = if b_vector { 1 } else { n };
            let mut y = common(&a_batch, &b_batch);
            y.extend((!a_vector).then_some(m));
            y.extend((!b_vector).then_some(n));
            plan.tensor("a", &a, NORMAL);
            plan.tensor("b", &b, NORMAL);
            if bias {
                plan.tensor("bias", &[columns], NORMAL);
            }
            if upstream {
                plan.tensor("d_y", &y, NORMAL);
            }
            plan.set_some("trans_a", trans_a);
            plan.set_some("trans_b", trans_b);
            plan.set_some("dtype", dtype);
            plan
        })
        .boxed()
}

/// Any weights and values, with a mask that hides pairs, and what is hidden NaN.
pub fn weighted_sum() -> BoxedStrategy<Plan> {
    let sizes = (one_of(SIZES), one_of(SIZES), one_of(SIZES), dims(3, 3), broadcast(), broadcast());
    let tensors = (proptest::option::weighted(0.6, (broadcast(), one_of(&[0.6, 0.0, 0.02]))), chance(0.8), chance(0.6), any::<u64>());
    (sizes, tensors)
        .prop_map(|((queries, keys, columns, batch, w_batch, v_batch), (mask, upstream, poisoned, seed))| {
            let mut plan = Plan::new("weighted_sum", seed);
            let (w_batch, v_batch) = (w_batch.of(&batch), v_batch.of(&batch));
            let weights = [w_batch.as_slice(), &[queries, keys]].concat();
            plan.tensor("weights", &weights, NORMAL);
            plan.tensor("v", &[v_batch.as_slice(), &[keys, columns]].concat(), NORMAL);
            if upstream {
                plan.tensor("d_o", &[common(&w_batch, &v_batch).as_slice(), &[queries, columns]].concat(), NORMAL);
            }
            if let Some((mask, share)) = mask {
                plan.tensor("mask", &mask.of(&weights), Fill::Keep(share));
                if poisoned {
                    plan.poison(poison);
                }
            }
            plan
        })
        .boxed()
}

/// NaN in hidden weights, and in the values of keys that are hidden everywhere.
fn poison(tensors: &mut Arrays) {
    let (mask, weights) = (tensors["mask"].clone(), tensors["weights"].shape().to_vec());
    let keep: Vec<bool> = repeated(mask.shape(), &weights).into_iter().map(|at| mask.to_f64()[at] != 0.0).collect();
    let keys = weights[weights.len() - 1];
    let seen: Vec<bool> = (0..keys).map(|j| keep.iter().skip(j).step_by(keys).any(|&keep| keep)).collect();
    fill(tensors, "weights", |at| !keep[at]);
    let columns = *tensors["v"].shape().last().unwrap_or(&1);
    fill(tensors, "v", |at| !seen[at / columns % keys]);
}

/// NaN in the elements of a tensor that `hidden` names.
pub fn fill(tensors: &mut Arrays, name: &str, hidden: impl Fn(usize) -> bool) {
    if let Some(Data::F32(values)) = tensors.get_mut(name).map(Array::data_mut) {
        values.iter_mut().enumerate().filter(|(at, _)| hidden(*at)).for_each(|(_, x)| *x = f32::NAN);
    }
}

/// Any rows under any weight.
pub fn linear() -> BoxedStrategy<Plan> {
    (dims(5, 3), one_of(SIZES), one_of(SIZES), chance(0.6), chance(0.8), any::<u64>())
        .prop_map(|(rows, inputs, outputs, bias, upstream, seed)| {
            let mut plan = Plan::new("linear", seed);
            plan.tensor("x", &[rows.as_slice(), &[inputs]].concat(), NORMAL);
            plan.tensor("weight", &[outputs, inputs], NORMAL);
            if bias {
                plan.tensor("bias", &[outputs], NORMAL);
            }
            if upstream {
                plan.tensor("d_y", &[rows.as_slice(), &[outputs]].concat(), NORMAL);
            }
            plan
        })
        .boxed()
}
