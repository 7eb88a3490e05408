use crate::{bits, floats, gpu, normal, run};
use wattn::ops::Operation;
use wattn::ops::transpose::{self, TransposeOptions};
use wattn::{Array, DType};

crate::cases!("transpose");

/// There and back again is where it was, to the bit, in every way and in f16 as well.
#[test]
fn the_backward_turns_back() {
    let options = TransposeOptions { axes: Some(vec![3, 0, 2, 1]) };
    let shape = [3, 20, 5, 33];
    for tuning in transpose::Transpose.tunings(gpu().caps()) {
        let gpu = (tuning.pin)(gpu());
        for dtype in [DType::F32, DType::F16] {
            if dtype == DType::F16 && !gpu.caps().f16 {
                println!("not tested: the device cannot store f16");
                continue;
            }
            let x = normal(1, &shape).to_float(dtype);
            let y = transpose::forward(&gpu, &gpu.upload(&x).unwrap(), &options).unwrap();
            assert_eq!((y.shape(), y.dtype()), ([33, 3, 5, 20].as_slice(), dtype));
            assert_eq!(transpose::backward(&gpu, &shape, &y, &options).unwrap().array().unwrap(), x, "{}", tuning.label);
        }
    }
}

#[test]
fn what_is_copied_keeps_its_bits() {
    let x = Array::f32(&[2, 3], vec![f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE, f32::MAX, 1.5]);
    let y = run("transpose", &[("x", &x)], &[]);
    let expected = [0, 3, 1, 4, 2, 5].map(|i| floats(&x)[i]);
    assert_eq!(bits(floats(&y["y"])), bits(&expected));
}
