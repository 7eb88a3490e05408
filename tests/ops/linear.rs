use crate::{bits, floats, normal, run};
use wattn::Array;

crate::cases!("linear");

/// Zeros in, the bias out.
#[test]
fn zeros_give_the_bias() {
    let (x, weight, bias) = (Array::f32(&[2, 3, 5], vec![0.0; 30]), normal(1, &[7, 5]), normal(2, &[7]));
    let y = run("linear", &[("x", &x), ("weight", &weight), ("bias", &bias)], &[]);
    assert!(floats(&y["y"]).chunks(7).all(|row| row == floats(&bias)));
}

/// The layer is a product, to the bit.
#[test]
fn the_layer_is_a_product() {
    let (x, weight, bias) = (normal(1, &[33, 65]), normal(2, &[17, 65]), normal(3, &[17]));
    let y = run("linear", &[("x", &x), ("weight", &weight), ("bias", &bias)], &[]);
    let product = run("matmul", &[("a", &x), ("b", &weight), ("bias", &bias)], &[("trans_b", "true")]);
    assert_eq!(bits(floats(&y["y"])), bits(floats(&product["y"])));
}
