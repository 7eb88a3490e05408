//! The named cases: every way of broadcasting, sums and products.

use crate::ops::{Arrays, Case};
use crate::{Array, Data};

/// The cases.
pub static CASES: &[Case] = &[
    Case::new("one", "1", &[]).quick(),
    Case::new("same", "7,13,17", &[]),
    Case::new("same_mul", "7,13,17", &[("kind", "mul")]).quick(),
    Case::new("elements_255", "255", &[]),
    Case::new("elements_256", "256", &[("kind", "mul")]),
    Case::new("elements_257", "257", &[]),
    Case::new("last_repeats", "5,7/7,13/1", &[]),
    Case::new("rows_repeat", "5/1,7/1,13", &[("kind", "mul")]).quick(),
    Case::new("middle_repeats", "5,7/1,13", &[("kind", "mul")]),
    Case::new("both_repeat", "1/5,7,13/1", &[("kind", "mul")]).quick(),
    Case::new("both_repeat_add", "3/1,1/7,5/1,1/4", &[]),
    Case::new("alternating", "3,5/1,7,11/1,2", &[("kind", "mul")]),
    Case::new("six_dimensions", "2,3/1,2,3/1,2,3/1", &[("kind", "mul")]),
    Case::new("seven_dimensions", "2/1,3,2/1,3,2/1,3,2/1", &[]),
    Case::new("one_element", "5/1,33/1", &[("kind", "mul")]),
    Case::new("outer_product", "67/1,1/129", &[("kind", "mul")]),
    Case::new("long", "3,20011", &[("kind", "mul")]),
    Case::new("long_rows_repeat", "3/1,5200", &[]),
    Case::new("bias", "4099/1,3", &[]),
    Case::new("fewer_dimensions", "5,7,13", &[("kind", "mul")]).edit(|tensors, _| reshape(tensors, "b", &[13])),
    Case::new("scalar", "1", &[]).edit(|tensors, _| ["a", "b", "d_y"].into_iter().for_each(|name| reshape(tensors, name, &[]))),
    Case::new("cancellation", "9,128", &[]).edit(|tensors, _| {
        let negative: Vec<f32> = tensors["a"].to_f64().iter().map(|&x| -x as f32).collect();
        tensors.insert("b".into(), Array::f32(&[9, 128], negative));
    }),
    Case::new("forward_only", "7,13/1", &[]).edit(|tensors, _| {
        tensors.remove("d_y");
    }),
];

/// The first elements of a tensor under another shape.
fn reshape(tensors: &mut Arrays, name: &str, shape: &[usize]) {
    if let Some(Data::F32(values)) = tensors.get(name).map(|t| t.data().clone()) {
        tensors.insert(name.into(), Array::f32(shape, values[..shape.iter().product()].to_vec()));
    }
}
