//! The named cases: every edge of tiles of 16, 32 and 64, all layouts, all patterns of broadcasting.

use crate::ops::host::normal;
use crate::ops::philox::Rng;
use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1,1,1", &[]).quick(),
    Case::new("primes", "13,7,11", &[]),
    Case::new("tile_16_minus_1", "15,15,15", &[]),
    Case::new("tile_16", "16,16,16", &[]),
    Case::new("tile_16_plus_1", "17,17,17", &[]),
    Case::new("tile_32_mixed", "31,33,32", &[]),
    Case::new("tile_64_minus_1", "63,63,63", &[]),
    Case::new("tile_64", "64,64,64", &[]),
    Case::new("tile_64_plus_1", "65,65,65", &[]),
    Case::new("tile_64_mixed", "65,64,63", &[]),
    Case::new("two_tiles", "128,128,128", &[]),
    Case::new("three_ragged_tiles", "130,129,131", &[]).quick(),
    Case::new("wide", "3,5,257", &[]),
    Case::new("tall", "257,5,3", &[]),
    Case::new("one_row", "1,67,129", &[]),
    Case::new("one_column", "129,67,1", &[]),
    Case::new("outer_product", "65,1,33", &[]),
    Case::new("inner_product", "1,4096,1", &[]),
    Case::new("k_4096", "4,4096,5", &[]),
    // Cut along k on drivers that stop long loops.
    Case::new("k_40001_bias", "3,40001,5", &[("trans_b", "true")]).edit(bias),
    Case::new("k_4096_transposed", "4,4096,5", &[("trans_a", "true"), ("trans_b", "true")]),
    // Few outputs of long sums, which are split; in the last one the gradient of b adds to itself.
    Case::new("long_sums", "20,9001,33", &[]),
    Case::new("long_sums_batch", "2/1,1/3,9,6001,17", &[("trans_a", "true")]),
    Case::new("long_sums_repeated", "3/1,5001,12,20", &[("trans_b", "true")]),
    // Few rows or columns and short sums, which have a kernel of their own, on either side of its limits.
    Case::new("rows_4", "4,77,130", &[]).edit(bias).quick(),
    Case::new("rows_5", "5,77,130", &[("trans_b", "true")]).edit(bias),
    Case::new("rows_2_trans_b", "2,131,67", &[("trans_b", "true")]).edit(bias),
    Case::new("columns_4", "130,77,4", &[]).edit(bias),
    Case::new("columns_3_trans_both", "67,131,3", &[("trans_a", "true"), ("trans_b", "true")]).edit(bias),
    Case::new("columns_2_batch", "3/1,33,300,2", &[("trans_b", "true")]),
    Case::new("outer", "67,1,300", &[]).edit(bias),
    Case::new("outer_2_batch", "2/1,35,2,67", &[("trans_a", "true"), ("trans_b", "true")]).edit(bias),
    Case::new("outer_3", "35,3,67", &[]).edit(bias),
    Case::new("rows_f16", "3,300,70", &[("dtype", "f16")]).edit(bias),
    Case::new("column_f16", "70,300,1", &[("dtype", "f16"), ("trans_a", "true")]).edit(bias),
    Case::new("trans_a", "67,35,33", &[("trans_a", "true")]),
    Case::new("trans_b", "67,35,33", &[("trans_b", "true")]),
    Case::new("trans_both", "67,35,33", &[("trans_a", "true"), ("trans_b", "true")]),
    Case::new("trans_a_two_tiles", "130,65,97", &[("trans_a", "true")]),
    Case::new("trans_b_two_tiles", "97,130,65", &[("trans_b", "true")]),
    Case::new("trans_both_two_tiles", "65,97,130", &[("trans_a", "true"), ("trans_b", "true")]),
    Case::new("batch", "3,17,19,23", &[]),
    Case::new("batch_of_ones", "7,1,1,1", &[]),
    // Small matrices, of which a workgroup takes 10 and 2; the last workgroup has fewer.
    Case::new("small_batch", "37,6,9,11", &[]).edit(bias),
    Case::new("small_batch_trans_both", "3/1,3,19,33,20", &[("trans_a", "true"), ("trans_b", "true")]).quick(),
    Case::new("small_batch_f16", "5,32,40,31", &[("dtype", "f16")]).edit(bias),
    Case::new("batch_repeats_a", "1/3,17,19,23", &[]),
    Case::new("batch_repeats_b", "3/1,17,19,23", &[]).edit(bias),
    Case::new("batch_repeats_both", "2/1,1/3,33,17,65", &[("trans_a", "true")]).edit(bias).quick(),
    Case::new("batch_repeats_middle", "2,1/3,2,9,17,16", &[("trans_b", "true")]),
    Case::new("batch_repeats_ends", "1/2,3,1/2,9,17,16", &[("trans_a", "true"), ("trans_b", "true")]),
    Case::new("batch_shorter_a", "1/2,3,9,17,33", &[]).edit(|tensors, _| drop_first(tensors, "a")),
    Case::new("batch_shorter_b", "2/1,3/1,9,17,33", &[]).edit(|tensors, _| {
        drop_first(tensors, "b");
        drop_first(tensors, "b");
    }),
    Case::new("bias", "33,17,65", &[]).edit(bias),
    Case::new("bias_two_tiles", "70,33,130", &[("trans_b", "true")]).edit(bias),
    Case::new("bias_batch", "2,3,17,9,31", &[]).edit(bias),
    Case::new("vector_vector", "1,67,1", &[]).edit(|tensors, _| {
        reshape(tensors, "a", &[67]);
        reshape(tensors, "b", &[67]);
        reshape(tensors, "d_y", &[]);
    }),
    Case::new("vector_matrix", "1/2,1,33,65", &[]).edit(|tensors, rng| {
        reshape(tensors, "a", &[33]);
        reshape(tensors, "d_y", &[2, 65]);
        bias(tensors, rng);
    }),
    Case::new("matrix_vector", "2/1,65,33,1", &[]).edit(|tensors, _| {
        reshape(tensors, "b", &[33]);
        reshape(tensors, "d_y", &[2, 65]);
    }),
    // Sizes that the kernel which reads vectors of 4 takes.
    Case::new("quads_bias", "2,37,132,76", &[]).edit(bias),
    Case::new("quads_trans_a", "68,36,132", &[("trans_a", "true")]),
    Case::new("quads_trans_b_bias", "2/1,37,140,100", &[("trans_b", "true")]).edit(bias),
    Case::new("quads_k_4100", "9,4100,12", &[("trans_b", "true")]).edit(bias),
    Case::new("quads_batch_repeats", "2/1,1/3,36,68,12", &[("trans_a", "true")]).edit(bias),
    // Where bindings are small, pieces that begin between two vectors: in the sums and in the rows.
    Case::new("quads_few_steps", "3,52,300", &[]),
    Case::new("quads_few_rows", "52,12,300", &[("trans_a", "true")]),
    Case::new("f16", "33,65,31", &[("dtype", "f16")]).quick(),
    Case::new("f16_tiles", "128,64,128", &[("dtype", "f16")]),
    Case::new("f16_odd", "5,3,7", &[("dtype", "f16"), ("trans_a", "true")]).edit(bias),
    Case::new("f16_batch", "2/1,1/3,17,33,9", &[("dtype", "f16"), ("trans_b", "true")]).edit(bias),
    Case::new("f16_quads", "72,132,68", &[("dtype", "f16")]).edit(bias).quick(),
    Case::new("f16_quads_trans_a", "68,36,132", &[("dtype", "f16"), ("trans_a", "true")]),
    Case::new("f16_quads_trans_b", "2/1,37,140,100", &[("dtype", "f16"), ("trans_b", "true")]).edit(bias),
    Case::new("f16_quads_k_4100", "9,4100,12", &[("dtype", "f16")]),
    Case::new("f16_k_4096", "4,4096,5", &[("dtype", "f16")]),
    Case::new("forward_only", "33,17,65", &[]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
    Case::new("large_values", "33,65,31", &[]).edit(|tensors, _| scale(tensors, "a", 1e15)),
    Case::new("cancellation", "33,64,31", &[]).edit(|tensors, _| alternate(tensors)),
];

/// Adds a bias, whose length is that of d_y's last dimension.
fn bias(tensors: &mut Arrays, rng: &mut Rng) {
    if let Some(&n) = tensors.get("d_y").and_then(|t| t.shape().last()) {
        tensors.insert("bias".into(), normal(rng, &[n]));
    }
}

/// The same elements under another shape.
fn reshape(tensors: &mut Arrays, name: &str, shape: &[usize]) {
    if let Some(Data::F32(values)) = tensors.get(name).map(|t| t.data().clone()) {
        tensors.insert(name.into(), Array::f32(shape, values));
    }
}

/// Leaves out a first dimension of 1.
fn drop_first(tensors: &mut Arrays, name: &str) {
    if let Some(shape) = tensors.get(name).map(|t| t.shape()[1..].to_vec()) {
        reshape(tensors, name, &shape);
    }
}

fn scale(tensors: &mut Arrays, name: &str, factor: f32) {
    if let Some(Data::F32(values)) = tensors.get_mut(name).map(|t| t.data_mut()) {
        values.iter_mut().for_each(|x| *x *= factor);
    }
}

/// Makes each row of a alternate in sign and b constant along k, so that every y is the rest of a sum that cancels.
fn alternate(tensors: &mut Arrays) {
    if let Some(Data::F32(a)) = tensors.get_mut("a").map(|t| t.data_mut()) {
        for pair in a.chunks_exact_mut(2) {
            pair[1] = -pair[0];
        }
    }
    let columns = tensors.get("b").and_then(|t| t.shape().last().copied()).unwrap_or(1);
    if let Some(Data::F32(b)) = tensors.get_mut("b").map(|t| t.data_mut()) {
        for pair in b.chunks_exact_mut(2 * columns) {
            let (even, odd) = pair.split_at_mut(columns);
            odd.copy_from_slice(even);
        }
    }
}
