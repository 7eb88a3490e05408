use crate::{bits, floats, normal, run};
use wattn::Array;

crate::cases!("rnn");

/// Without weights for h, each step is a layer of its own: tanh of the input's product.
#[test]
fn without_recurrence_a_step_is_a_layer() {
    let (x, weight_ih, weight_hh) = (normal(1, &[5, 3, 7]), normal(2, &[9, 7]), Array::f32(&[9, 9], vec![0.0; 81]));
    let ran = run("rnn", &[("x", &x), ("weight_ih_l0", &weight_ih), ("weight_hh_l0", &weight_hh)], &[]);
    let product = run("linear", &[("x", &x), ("weight", &weight_ih)], &[]);
    let expected: Vec<f32> = floats(&product["y"]).iter().map(|x| x.tanh()).collect();
    crate::assert_close(floats(&ran["y"]), &expected, 1e-5);
    assert_eq!(bits(&floats(&ran["y"])[4 * 27..]), bits(floats(&ran["hn"])));
}
