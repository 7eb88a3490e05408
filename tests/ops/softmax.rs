use crate::{assert_close, bits, floats, normal, run};
use wattn::Array;

crate::cases!("softmax");

#[test]
fn rows_sum_to_one() {
    for columns in [1, 7, 64, 1025] {
        let y = run("softmax", &[("x", &normal(columns as u64, &[5, columns]))], &[("scale", "3")]);
        let sums: Vec<f32> = floats(&y["y"]).chunks(columns).map(|row| row.iter().map(|&x| f64::from(x)).sum::<f64>() as f32).collect();
        assert_close(&sums, &[1.0; 5], 1e-6);
    }
}

/// Logits that are whole numbers can be shifted without rounding; the softmax then has the same bits, and lse moves along.
#[test]
fn a_shift_of_the_logits_changes_nothing() {
    let x: Vec<f32> = normal(3, &[4, 97]).to_f64().iter().map(|x| (4.0 * x).round() as f32).collect();
    let shifted = Array::f32(&[4, 97], x.iter().map(|x| x + 512.0).collect());
    let (a, b) = (run("softmax", &[("x", &Array::f32(&[4, 97], x))], &[]), run("softmax", &[("x", &shifted)], &[]));
    assert_eq!(bits(floats(&a["y"])), bits(floats(&b["y"])));
    let moved: Vec<f32> = floats(&a["lse"]).iter().map(|lse| lse + 512.0).collect();
    assert_close(floats(&b["lse"]), &moved, 1e-4);
}

/// The gradient of a row sums to zero, since the row itself sums to one.
#[test]
fn gradients_of_rows_sum_to_zero() {
    let (x, d_y) = (normal(1, &[9, 130]), normal(2, &[9, 130]));
    let d = run("softmax", &[("x", &x), ("d_y", &d_y)], &[]);
    let sums: Vec<f32> = floats(&d["d_x"]).chunks(130).map(|row| row.iter().sum()).collect();
    assert_close(&sums, &[0.0; 9], 1e-6);
}
