use crate::{assert_close, floats, normal, run};
use wattn::Array;

crate::cases!("lstm");

/// With the forget gate open and the input gate shut, the cell is carried through unchanged.
#[test]
fn an_open_forget_gate_keeps_the_cell() {
    let (x, c0, weight_ih, weight_hh) = (normal(1, &[5, 3, 7]), normal(2, &[1, 3, 4]), normal(3, &[16, 7]), normal(4, &[16, 4]));
    let bias_ih = Array::f32(&[16], (0..16).map(|j| [-80.0, 80.0, 0.0, 0.0][j / 4]).collect());
    let bias_hh = Array::f32(&[16], vec![0.0; 16]);
    let tensors = [
        ("x", &x),
        ("c0", &c0),
        ("weight_ih_l0", &weight_ih),
        ("weight_hh_l0", &weight_hh),
        ("bias_ih_l0", &bias_ih),
        ("bias_hh_l0", &bias_hh),
    ];
    assert_close(floats(&run("lstm", &tensors, &[])["cn"]), floats(&c0), 1e-6);
}

/// The reverse direction of a single step is the same cell: with the weights of the other, both halves of y are equal.
#[test]
fn one_step_reads_the_same_from_both_ends() {
    let (x, weight_ih, weight_hh) = (normal(1, &[1, 3, 7]), normal(2, &[16, 7]), normal(3, &[16, 4]));
    let tensors = [
        ("x", &x),
        ("weight_ih_l0", &weight_ih),
        ("weight_hh_l0", &weight_hh),
        ("weight_ih_l0_reverse", &weight_ih),
        ("weight_hh_l0_reverse", &weight_hh),
    ];
    let ran = run("lstm", &tensors, &[]);
    assert!(floats(&ran["y"]).chunks(8).all(|row| row[..4] == row[4..]));
}
