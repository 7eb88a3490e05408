use crate::{assert_close, floats, normal, run};
use wattn::Array;

crate::cases!("gru");

/// With the update gate shut (z = 1), nothing is ever forgotten: h stays h0.
#[test]
fn a_shut_update_gate_keeps_the_state() {
    let (x, h0, weight_ih, weight_hh) = (normal(1, &[5, 3, 7]), normal(2, &[1, 3, 4]), normal(3, &[12, 7]), normal(4, &[12, 4]));
    let bias_ih = Array::f32(&[12], (0..12).map(|j| if (4..8).contains(&j) { 80.0 } else { 0.0 }).collect());
    let bias_hh = Array::f32(&[12], vec![0.0; 12]);
    let tensors = [
        ("x", &x),
        ("h0", &h0),
        ("weight_ih_l0", &weight_ih),
        ("weight_hh_l0", &weight_hh),
        ("bias_ih_l0", &bias_ih),
        ("bias_hh_l0", &bias_hh),
    ];
    for reset in ["after", "before"] {
        let ran = run("gru", &tensors, &[("reset", reset)]);
        assert_close(floats(&ran["hn"]), floats(&h0), 1e-6);
    }
}
