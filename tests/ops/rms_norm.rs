use crate::{assert_close, bits, floats, normal, run};
use wattn::Array;

crate::cases!("rms_norm");

/// A power of two in x changes no bit where eps is 0.
#[test]
fn a_scale_changes_nothing() {
    for columns in [97, 2500] {
        let x = normal(3, &[4, columns]);
        let scaled = Array::f32(&[4, columns], floats(&x).iter().map(|x| 1024.0 * x).collect());
        let (a, b) = (run("rms_norm", &[("x", &x)], &[("eps", "0")]), run("rms_norm", &[("x", &scaled)], &[("eps", "0")]));
        assert_eq!(bits(floats(&a["y"])), bits(floats(&b["y"])));
    }
}

/// The gradient of a row is orthogonal to the row, since a scale of the row changes nothing.
#[test]
fn gradients_are_orthogonal_to_rows() {
    let (x, d_y) = (normal(1, &[9, 130]), normal(2, &[9, 130]));
    let d = run("rms_norm", &[("x", &x), ("d_y", &d_y)], &[("eps", "0")]);
    let along = |(x, d): (&[f32], &[f32])| x.iter().zip(d).map(|(x, d)| x * d).sum();
    let sums: Vec<f32> = floats(&x).chunks(130).zip(floats(&d["d_x"]).chunks(130)).map(along).collect();
    assert_close(&sums, &[0.0; 9], 1e-4);
}
