use crate::{assert_close, floats, run};
use wattn::Array;

crate::cases!("binary_cross_entropy");

/// Nothing overflows, and what is nearly right has a small loss that is not lost in a sum: ln(1 + exp(-x)) = exp(-x) there.
#[test]
fn small_losses_are_kept() {
    let x: Vec<f32> = [20.0, 40.0, 80.0, 1e4, f32::MAX].into();
    let (logits, target) = (Array::f32(&[5], x.clone()), Array::f32(&[5], vec![1.0; 5]));
    let got = run("binary_cross_entropy", &[("logits", &logits), ("target", &target)], &[("reduction", "none")]);
    for (loss, x) in floats(&got["loss"]).iter().zip(&x) {
        let expected = (-f64::from(*x)).exp() as f32;
        // WGSL allows exp an error of 2 |x| units in the last place.
        assert!((loss - expected).abs() <= 5e-5 * expected, "{loss}, expected {expected}");
    }
}

/// The other target is the other sign.
#[test]
fn targets_and_signs_go_together() {
    let x: Vec<f32> = (-40..=40).map(|i| i as f32 / 2.0).collect();
    let of = |x: Vec<f32>, t: f32| {
        let (logits, target) = (Array::f32(&[81], x), Array::f32(&[81], vec![t; 81]));
        let got = run("binary_cross_entropy", &[("logits", &logits), ("target", &target)], &[("reduction", "none")]);
        floats(&got["loss"]).to_vec()
    };
    assert_close(&of(x.clone(), 0.25), &of(x.iter().map(|x| -x).collect(), 0.75), 1e-6);
}
