use crate::{assert_close, bits, floats, gpu, normal, run};
use wattn::ops::cross_entropy::{CrossEntropyOptions, backward, forward};
use wattn::ops::loss::Reduction;
use wattn::{Array, Error};

crate::cases!("cross_entropy");

/// Logits that are all alike say nothing: the loss is the logarithm of the number of classes, whatever the smoothing.
#[test]
fn equal_logits_are_uniform() {
    for classes in [1, 7, 64, 9001] {
        let (logits, target) = (Array::f32(&[2, classes], vec![-3.0; 2 * classes]), Array::i32(&[2], vec![0, classes as i32 - 1]));
        for eps in ["0", "0.4"] {
            let loss = run("cross_entropy", &[("logits", &logits), ("target", &target)], &[("label_smoothing", eps)]);
            assert_close(floats(&loss["loss"]), &[(classes as f32).ln()], 2e-6);
        }
    }
}

/// Logits that are whole numbers can be shifted without rounding; then nothing changes, to the bit.
#[test]
fn a_shift_of_the_logits_changes_nothing() {
    let x: Vec<f32> = normal(3, &[4, 97]).to_f64().iter().map(|x| (4.0 * x).round() as f32).collect();
    let shifted = Array::f32(&[4, 97], x.iter().map(|x| x + 4096.0).collect());
    let (target, d_loss) = (Array::i32(&[4], vec![0, 96, 31, 5]), Array::f32(&[], vec![1.0]));
    let of = |logits: &Array| {
        let tensors = [("logits", logits), ("target", &target), ("d_loss", &d_loss)];
        let got = run("cross_entropy", &tensors, &[("label_smoothing", "0.25")]);
        [bits(floats(&got["loss"])), bits(floats(&got["d_logits"]))]
    };
    assert_eq!(of(&Array::f32(&[4, 97], x)), of(&shifted));
}

/// Rows that do not count have a gradient of 0, the mean of none of them being NaN or not, and the upstream gradient may come as [1].
#[test]
fn rows_that_are_all_ignored() {
    let logits = Array::f32(&[3, 5], vec![f32::NAN; 15]);
    let (target, d_loss) = (Array::i32(&[3], vec![-100; 3]), Array::f32(&[1], vec![1.0]));
    let got = run("cross_entropy", &[("logits", &logits), ("target", &target), ("d_loss", &d_loss)], &[]);
    assert!(got["loss"].shape().is_empty() && floats(&got["loss"])[0].is_nan());
    assert_eq!(floats(&got["d_logits"]), [0.0; 15]);
}

/// What only the device sees: the row counts as ignored, and the next read says so.
#[test]
fn targets_out_of_range_are_reported() {
    let gpu = gpu();
    let logits = gpu.upload(&normal(1, &[3, 5])).unwrap();
    let d_loss = gpu.tensor(&[1.0f32], &[]).unwrap();
    let options = CrossEntropyOptions { reduction: Reduction::Sum, ..Default::default() };
    let of = |targets: [i32; 3]| {
        let target = gpu.tensor(&targets, &[3]).unwrap();
        let losses = forward(gpu, &logits, &target, None, &options).unwrap();
        (backward(gpu, &logits, &target, None, &losses, &d_loss, &options).unwrap(), losses.loss)
    };
    let (ignored, ignored_loss) = of([4, -100, 0]);
    let expected = [ignored.read_blocking::<f32>().unwrap(), ignored_loss.read_blocking().unwrap()];
    for wrong in [5, -1, i32::MAX, i32::MIN] {
        let (d_logits, loss) = of([4, wrong, 0]);
        let error = loss.read_blocking::<f32>().unwrap_err();
        assert!(matches!(error, Error::Index { op: "cross_entropy", tensor: "target" }), "{error}");
        assert_eq!([d_logits.read_blocking::<f32>().unwrap(), loss.read_blocking().unwrap()], expected);
    }
}
