use super::testing::{Model, check_model, devices, gpu, normal};
use super::*;
use crate::ops::cross_entropy::CrossEntropyOptions;
use crate::{Array, DType, Error};

fn vector(device: &Device, values: &[f32]) -> Variable {
    device.parameter(Array::f32(&[values.len()], values.to_vec())).unwrap()
}

fn gradient(variable: &Variable) -> Vec<f64> {
    variable.gradient().unwrap().array().unwrap().to_f64()
}

#[test]
fn a_variable_that_is_used_twice_has_the_sum() {
    for device in devices() {
        let x = vector(&device, &[1.0, -2.0]);
        // y = Σ x·x + 3x: d_x = 2x + 3, by three ways
        let y = x.mul(&x).unwrap().add(&x.scale(3.0).unwrap()).unwrap().sum(None).unwrap();
        y.backward().unwrap();
        assert_eq!(gradient(&x), [5.0, -1.0]);
    }
}

#[test]
fn gradients_add_up_over_backwards() {
    for device in devices() {
        let x = vector(&device, &[1.0, -2.0]);
        for _ in 0..3 {
            x.mul(&x).unwrap().sum(None).unwrap().backward().unwrap();
        }
        assert_eq!(gradient(&x), [6.0, -12.0]);
        x.zero_gradient();
        assert!(x.gradient().is_none());
    }
}

#[test]
fn a_second_backward_is_an_error() {
    for device in devices() {
        let x = vector(&device, &[1.0, -2.0]);
        let shared = x.tanh().unwrap();
        let [y, z] = [(); 2].map(|()| shared.mul(&shared).unwrap().sum(None).unwrap());
        y.backward().unwrap();
        let before = gradient(&x);
        for again in [y, z] {
            let error = again.backward().unwrap_err();
            assert!(matches!(error, Error::Consumed { .. }) && error.to_string().contains("a second backward"), "{error}");
        }
        assert_eq!(gradient(&x), before);
    }
}

#[test]
fn what_has_no_history_has_no_backward() {
    for device in devices() {
        let x = vector(&device, &[1.0, -2.0]);
        let wrong = |y: Variable| assert!(matches!(y.backward().unwrap_err(), Error::Argument { .. }));
        wrong(x.detach().sum(None).unwrap());
        wrong(no_grad(|| x.sum(None).unwrap()));
        assert!(is_recording());
        let several = x.tanh().unwrap();
        assert!(matches!(several.backward().unwrap_err(), Error::Shape { .. }));
        assert!(matches!(several.backward_from(&device.number(1.0).unwrap()).unwrap_err(), Error::Shape { .. }));
        // Half of a product is a constant.
        x.mul(&x.detach()).unwrap().sum(None).unwrap().backward().unwrap();
        assert_eq!(gradient(&x), [1.0, -2.0]);
    }
}

#[test]
fn wrong_calls_are_errors() {
    use crate::ops::softmax::Softmax;
    let [cpu, gpu] = devices();
    let (x, y) = (vector(&cpu, &[1.0]), vector(&gpu, &[1.0]));
    assert!(matches!(x.add(&y).unwrap_err(), Error::Argument { .. }));
    for x in [x, y] {
        assert!(matches!(apply(&Softmax, &[("z", &x)], &settings(&[])).unwrap_err(), Error::Tensors { .. }));
        assert!(matches!(apply(&Softmax, &[("x", &x)], &settings(&[("sale", &1)])).unwrap_err(), Error::Argument { .. }));
        assert!(matches!(x.set(Array::i32(&[1], vec![1])).unwrap_err(), Error::Dtype { .. }));
        assert!(matches!(x.set(Array::f32(&[2], vec![1.0; 2])).unwrap_err(), Error::Shape { .. }));
        assert!(matches!(x.tanh().unwrap().set(Array::f32(&[1], vec![1.0])).unwrap_err(), Error::Argument { .. }));
    }
    assert!(apply(&Softmax, &[], &settings(&[])).is_err());
}

/// Broadcast operands, slices, a transposition and a concatenation, through a softmax to a loss.
#[test]
fn differences_and_budget() {
    check_model(|device| {
        let parameter = |name: &str, seed, shape: &[usize]| (name.to_string(), device.parameter(normal(seed, shape, 0.7)).unwrap());
        let parameters = vec![parameter("a", 1, &[3, 5]), parameter("b", 2, &[5]), parameter("c", 3, &[3, 1]), parameter("w", 4, &[10, 7])];
        let [a, b, c, w] = [0, 1, 2, 3].map(|n: usize| parameters[n].1.clone());
        let target = device.constant(Array::i32(&[3], vec![6, 0, 3])).unwrap();
        let loss = move || {
            let sum = a.mul(&b)?.add(&c)?.tanh()?;
            let turned = sum.transpose(&[1, 0])?.reshape(&[5, 3])?.transpose(&[1, 0])?;
            let both = concat(&[&turned.slice(1, 0, 5)?, &sum.softmax(None)?], -1)?;
            both.matmul(&w)?.cross_entropy(&target, &CrossEntropyOptions::default())
        };
        Model { parameters, loss: Box::new(loss) }
    });
}

/// What lies between parameter and loss goes back to the pool while the backward goes on.
#[test]
fn a_backward_releases_what_it_consumes() {
    const LAYERS: u64 = 8;
    const BYTES: u64 = 4 << 20;
    let gpu = gpu();
    let device = Device::from(gpu.clone());
    let x = device.parameter(Array::f32(&[BYTES as usize / 4], vec![0.5; BYTES as usize / 4])).unwrap();
    let before = gpu.memory().in_use;
    let mut y = x.tanh().unwrap();
    for _ in 1..LAYERS {
        y = y.tanh().unwrap();
    }
    y = y.sum(None).unwrap();
    // The last tanh is not held: its backward takes what it was computed from.
    let recorded = gpu.memory().in_use - before;
    assert!(recorded >= (LAYERS - 1) * BYTES, "{recorded}");
    gpu.reset_peak();
    y.backward().unwrap();
    let peak = gpu.memory().peak - before;
    assert!(peak <= recorded + 2 * BYTES + (1 << 18), "{peak} at most, {recorded} recorded");
    // x's gradient and y, though y still is there.
    let left = gpu.memory().in_use - before;
    assert!((BYTES..BYTES + (1 << 18)).contains(&left), "{left} left");
    drop(y);
}

/// A graph that nobody goes back through is dropped as well, however deep it is.
#[test]
fn a_deep_graph_is_dropped() {
    let x = vector(&Device::cpu(), &[1.0]);
    let mut y = x.clone();
    for _ in 0..200_000 {
        y = y.reshape(&[1]).unwrap();
    }
    drop(y);
    let mut y = x.clone();
    for _ in 0..200_000 {
        y = y.reshape(&[1]).unwrap();
    }
    y.backward().unwrap();
    assert_eq!(gradient(&x), [1.0]);
}

/// Two classes that a line parts: cross entropy falls, and the same on both devices.
#[test]
fn something_is_learned() {
    let train = |device: &Device| {
        let points = normal(1, &[64, 2], 1.0);
        let classes = points.to_f64().chunks(2).map(|p| i32::from(p[0] + 2.0 * p[1] > 0.3)).collect();
        let (x, target) = (device.constant(points).unwrap(), device.constant(Array::i32(&[64], classes)).unwrap());
        let (weight, bias) = (device.parameter(normal(2, &[2, 2], 0.5)).unwrap(), device.parameter(normal(3, &[2], 0.5)).unwrap());
        let step = |_| {
            let loss = x.linear(&weight, Some(&bias)).unwrap().cross_entropy(&target, &CrossEntropyOptions::default()).unwrap();
            loss.backward().unwrap();
            for parameter in [&weight, &bias] {
                let step = parameter.gradient().unwrap().scale(-1.0).unwrap();
                parameter.set_value(no_grad(|| parameter.add(&step)).unwrap().value()).unwrap();
                parameter.zero_gradient();
            }
            loss.scalar().unwrap()
        };
        (0..50).map(step).collect::<Vec<f64>>()
    };
    let [cpu, gpu] = devices().map(|device| train(&device));
    assert!(cpu[49] < 0.3 * cpu[0], "{cpu:?}");
    assert!(cpu.iter().zip(&gpu).all(|(cpu, gpu)| (cpu - gpu).abs() < 1e-5), "{cpu:?} {gpu:?}");
    assert_eq!(train(&Device::from(testing::gpu())), gpu);
}

#[test]
fn integers_stay_on_the_host_too() {
    for device in devices() {
        let ids = device.constant(Array::i32(&[2], vec![1, 2])).unwrap();
        assert_eq!((ids.dtype(), ids.array().unwrap()), (DType::I32, Array::i32(&[2], vec![1, 2])));
        assert!(device.parameter(Array::i32(&[1], vec![1])).is_err());
        assert!(device.constant(Array::f32(&[0], vec![])).is_err());
    }
}
