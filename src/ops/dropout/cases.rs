//! The named cases: sizes around the four words of a counter and around a workgroup, probabilities and seeds.

use crate::ops::Case;
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1", &[]).quick(),
    Case::new("primes", "7,13,17", &[("seed", "1")]).quick(),
    Case::new("elements_3", "3", &[("seed", "2")]),
    Case::new("elements_4", "4", &[("seed", "3")]),
    Case::new("elements_5", "5", &[("seed", "4")]),
    Case::new("elements_1023", "1023", &[("p", "0.1")]),
    Case::new("elements_1024", "1024", &[("p", "0.1")]),
    Case::new("elements_1025", "1025", &[("p", "0.1")]),
    Case::new("nothing_dropped", "5,67", &[("p", "0")]),
    Case::new("nearly_all_dropped", "5,67", &[("p", "0.98")]),
    Case::new("long_seed", "5,67", &[("seed", "18446744073709551615")]),
    Case::new("long", "3,20011", &[("p", "0.3"), ("seed", "5")]),
    Case::new("dropped_nan", "2,131", &[("p", "0.5"), ("seed", "6")]).edit(|tensors, _| {
        // What the seed drops, which the reference draws for itself.
        let dropped = |i: usize| crate::ops::philox::element(6, i as u64) < 1 << 31;
        for name in ["x", "d_y"] {
            if let Some(Data::F32(values)) = tensors.get_mut(name).map(|t| t.data_mut()) {
                values.iter_mut().enumerate().filter(|(i, _)| dropped(*i)).for_each(|(_, x)| *x = f32::NAN);
            }
        }
    }),
    Case::new("scalar", "1", &[("p", "0.25")]).edit(|tensors, _| {
        for array in tensors.values_mut() {
            *array = Array::f32(&[], vec![array.to_f64()[0] as f32]);
        }
    }),
    Case::new("forward_only", "7,33", &[]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
];
