use crate::{assert_close, bits, floats, gpu, normal, run};
use wattn::ops::layer_norm::{self, NormOptions};
use wattn::ops::rms_norm;
use wattn::{Array, Error};

crate::cases!("layer_norm");

#[test]
fn rows_have_mean_zero_and_variance_one() {
    for columns in [7, 64, 1025, 3000] {
        let y = run("layer_norm", &[("x", &normal(columns as u64, &[5, columns]))], &[("eps", "0")]);
        let moment = |power: i32| {
            let of = |row: &[f32]| (row.iter().map(|&y| f64::from(y).powi(power)).sum::<f64>() / columns as f64) as f32;
            floats(&y["y"]).chunks(columns).map(of).collect::<Vec<f32>>()
        };
        assert_close(&moment(1), &[0.0; 5], 1e-6);
        assert_close(&moment(2), &[1.0; 5], 1e-5);
    }
}

/// A shift that all elements take without rounding is taken away again, to the bit: nothing is lost to a large mean.
#[test]
fn a_shift_changes_nothing() {
    for columns in [97, 2500] {
        let x: Vec<f32> = normal(3, &[4, columns]).to_f64().iter().map(|x| (64.0 * x).round() as f32 / 64.0).collect();
        let shifted = Array::f32(&[4, columns], x.iter().map(|x| x + 65536.0).collect());
        let (a, b) = (run("layer_norm", &[("x", &Array::f32(&[4, columns], x))], &[]), run("layer_norm", &[("x", &shifted)], &[]));
        assert_eq!(bits(floats(&a["y"])), bits(floats(&b["y"])));
    }
}

/// The gradient of a row sums to zero, since a shift of the row changes nothing.
#[test]
fn gradients_of_rows_sum_to_zero() {
    let (x, d_y) = (normal(1, &[9, 130]), normal(2, &[9, 130]));
    let d = run("layer_norm", &[("x", &x), ("d_y", &d_y)], &[]);
    let sums: Vec<f32> = floats(&d["d_x"]).chunks(130).map(|row| row.iter().sum()).collect();
    assert_close(&sums, &[0.0; 9], 1e-5);
}

/// The typed functions save the statistics, and each backward asks for those of its own forward.
#[test]
fn what_is_saved() {
    let gpu = gpu();
    let x = gpu.tensor(&[1.0f32, 3.0, -2.0, 2.0], &[2, 2]).unwrap();
    let options = NormOptions { eps: 0.0 };
    let layer = layer_norm::forward(gpu, &x, None, None, &options).unwrap();
    let rms = rms_norm::forward(gpu, &x, None, None, &options).unwrap();
    let mean = layer.saved.mean.as_ref().unwrap();
    assert_eq!((mean.shape(), mean.read_blocking::<f32>().unwrap()), ([2].as_slice(), vec![2.0, 0.0]));
    assert_close(&layer.saved.rstd.read_blocking::<f32>().unwrap(), &[1.0, 0.5], 1e-6);
    assert_close(&rms.saved.rstd.read_blocking::<f32>().unwrap(), &[1.0 / 5f32.sqrt(), 0.5], 1e-6);
    let wrong = layer_norm::backward(gpu, &x, None, false, &rms.saved, &x).unwrap_err();
    assert_eq!(wrong.to_string(), "layer_norm: no mean was saved; expected mean, rstd");
    assert!(matches!(rms_norm::backward(gpu, &x, None, false, &layer.saved, &x), Err(Error::Tensors { .. })));
    let none = layer_norm::backward(gpu, &x, None, false, &layer.saved, &x).unwrap();
    assert!(none.d_weight.is_none() && none.d_bias.is_none());
}
