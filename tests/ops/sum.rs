use crate::{floats, normal, run};
use wattn::Array;

crate::cases!("sum");

/// Ones are counted exactly as long as f32 holds the count.
#[test]
fn ones_are_counted() {
    let x = Array::f32(&[3, 1001, 257], vec![1.0; 3 * 1001 * 257]);
    for (axes, expected) in [("0", 3.0), ("1", 1001.0), ("2", 257.0), ("0,1,2", 3.0 * 1001.0 * 257.0)] {
        let y = run("sum", &[("x", &x)], &[("axes", axes)]);
        assert!(floats(&y["y"]).iter().all(|&y| y == expected), "axes {axes}");
    }
}

/// The gradient is the upstream gradient, copied.
#[test]
fn the_gradient_repeats_the_upstream_one() {
    let (x, d_y) = (normal(1, &[3, 5, 7]), normal(2, &[3, 7]));
    let d = run("sum", &[("x", &x), ("d_y", &d_y)], &[("axes", "1")]);
    let expected: Vec<f32> = (0..105).map(|i| floats(&d_y)[i / 35 * 7 + i % 7]).collect();
    assert_eq!(floats(&d["d_x"]), expected);
}
