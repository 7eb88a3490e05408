use crate::{floats, run};
use wattn::Array;

crate::cases!("mse");

/// An error of one everywhere: the terms are counted exactly.
#[test]
fn errors_of_one_are_counted() {
    let count = 3 * 1001 * 257;
    let (x, target) = (Array::f32(&[count], vec![2.0; count]), Array::f32(&[count], vec![1.0; count]));
    for (reduction, expected) in [("mean", 1.0), ("sum", count as f32)] {
        let got = run("mse", &[("x", &x), ("target", &target)], &[("reduction", reduction)]);
        assert_eq!(floats(&got["loss"]), [expected], "{reduction}");
    }
}
