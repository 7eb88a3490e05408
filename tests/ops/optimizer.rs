use std::slice::from_ref;

use crate::{Device, assert_close, bits, floats, gpu, normal};
use wattn::ops::optimizer::{Kind, Optimizer, OptimizerOptions, grad_norm};
use wattn::{Array, DType, Error, Gpu, GpuOptions, Tensor, wgpu};

crate::cases!("optimizer");

/// Sizes of a model's parameters: below and above a workgroup, and two stretches of the norm; more than a dispatch takes.
const SHAPES: &[&[usize]] =
    &[&[5, 3], &[7], &[64, 64], &[300], &[90, 91], &[1], &[], &[31], &[256], &[2, 65], &[11], &[3], &[17, 19], &[4]];

const ADAM: OptimizerOptions = OptimizerOptions {
    kind: Kind::AdamW,
    lr: 0.01,
    beta1: 0.9,
    beta2: 0.99,
    eps: 1e-8,
    weight_decay: 0.1,
    amsgrad: true,
    momentum: 0.0,
    nesterov: false,
};

/// A tensor for each shape, in buffers of their own.
fn drawn(gpu: &Gpu, seed: u64) -> Vec<Tensor> {
    SHAPES.iter().enumerate().map(|(i, shape)| gpu.upload(&normal(100 * seed + i as u64, shape)).unwrap()).collect()
}

/// The same in an arena.
fn in_an_arena(gpu: &Gpu, seed: u64) -> Vec<Tensor> {
    let arrays: Vec<Array> = SHAPES.iter().enumerate().map(|(i, shape)| normal(100 * seed + i as u64, shape)).collect();
    gpu.upload_arena(&arrays.iter().collect::<Vec<_>>()).unwrap()
}

fn all_bits(tensors: &[Tensor]) -> Vec<Vec<u32>> {
    tensors.iter().map(|tensor| bits(&tensor.read_blocking::<f32>().unwrap())).collect()
}

/// Some steps with gradients that are clipped together.
fn steps(gpu: &Gpu, optimizer: &mut Optimizer, from: u64, to: u64) {
    for t in from..to {
        let gradients = drawn(gpu, t + 1);
        let clip = grad_norm(gpu, &gradients, 3.0).unwrap();
        optimizer.set_lr(0.01 / (t + 1) as f64).unwrap();
        optimizer.step(&gradients, Some(&clip)).unwrap();
    }
}

/// Where parameters lie changes no bit; neighbours share dispatches.
#[test]
fn an_arena_changes_nothing_but_the_dispatches() {
    for (device, together) in [(Device::Default, 11), (Device::Baseline, 3)] {
        let gpu = device.open();
        if gpu.caps().storage_buffers < 16 && together > 3 {
            println!("not tested: the device binds {} buffers", gpu.caps().storage_buffers);
            continue;
        }
        let (apart, neighbours) = (drawn(&gpu, 0), in_an_arena(&gpu, 0));
        let mut first = Optimizer::new(&gpu, &apart, &ADAM).unwrap();
        let mut second = Optimizer::new(&gpu, &neighbours, &ADAM).unwrap();
        steps(&gpu, &mut first, 0, 3);
        steps(&gpu, &mut second, 0, 3);
        assert_eq!(all_bits(&apart), all_bits(&neighbours));
        let gradients = drawn(&gpu, 9);
        let count = |run: &mut dyn FnMut()| {
            let before = gpu.counters().dispatches;
            run();
            gpu.counters().dispatches - before
        };
        assert_eq!(count(&mut || first.step(&gradients, None).unwrap()), SHAPES.len() as u64);
        assert_eq!(count(&mut || second.step(&gradients, None).unwrap()), SHAPES.len().div_ceil(together) as u64);
        let norm = &mut || drop(grad_norm(&gpu, &gradients, 1.0).unwrap());
        assert_eq!(count(norm), SHAPES.len().div_ceil(together) as u64 + 1);
    }
}

/// The order in which parameters are given changes no bit either.
#[test]
fn parameters_come_in_any_order() {
    let gpu = gpu();
    let reversed = |mut tensors: Vec<Tensor>| {
        tensors.reverse();
        tensors
    };
    let (forwards, backwards) = (in_an_arena(gpu, 0), reversed(in_an_arena(gpu, 0)));
    let mut first = Optimizer::new(gpu, &forwards, &ADAM).unwrap();
    let mut second = Optimizer::new(gpu, &backwards, &ADAM).unwrap();
    for t in 0..3 {
        first.step(&drawn(gpu, t + 1), None).unwrap();
        second.step(&reversed(drawn(gpu, t + 1)), None).unwrap();
    }
    assert_eq!(all_bits(&forwards), all_bits(&reversed(backwards)));
}

/// A step that stops and goes on with state, number and rate from a checkpoint is the step that it would have been.
#[test]
fn a_checkpoint_goes_on_to_the_bit() {
    let gpu = gpu();
    let whole = drawn(gpu, 0);
    let mut optimizer = Optimizer::new(gpu, &whole, &ADAM).unwrap();
    steps(gpu, &mut optimizer, 0, 2);

    let saved: Vec<_> = (0..SHAPES.len()).map(|i| optimizer.state(i).unwrap()).collect();
    assert!(saved.iter().all(|state| state.iter().map(|(name, _)| *name).eq(["m", "v", "vmax"])));
    let again: Vec<Tensor> = whole.iter().map(|p| gpu.upload(&p.array().unwrap()).unwrap()).collect();
    let mut restored = Optimizer::new(gpu, &again, &ADAM).unwrap();
    for (i, state) in saved.iter().enumerate() {
        for (name, tensor) in state {
            restored.set_state(i, name, &gpu.upload(&tensor.array().unwrap()).unwrap()).unwrap();
        }
    }
    restored.set_steps(optimizer.steps());
    steps(gpu, &mut optimizer, 2, 4);
    steps(gpu, &mut restored, 2, 4);
    assert_eq!(all_bits(&whole), all_bits(&again));
    assert_eq!(restored.steps(), 4);
}

/// The norm is that of all gradients together, and none of its squares overflows or vanishes.
#[test]
fn the_norm_is_of_all_gradients() {
    let gpu = gpu();
    for exponent in [0, 100, -100] {
        let scale = 2f32.powi(exponent);
        let gradients: Vec<Tensor> = drawn(gpu, 5)
            .iter()
            .map(|g| gpu.tensor(&g.read_blocking::<f32>().unwrap().iter().map(|x| x * scale).collect::<Vec<_>>(), g.shape()).unwrap())
            .collect();
        let squares = |g: &Tensor| g.read_blocking::<f32>().unwrap().iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let expected = gradients.iter().map(squares).sum::<f64>().sqrt();
        let clip = grad_norm(gpu, &gradients, 1e-3).unwrap();
        let (norm, factor) = (clip.norm.read_blocking::<f32>().unwrap()[0], clip.factor.read_blocking::<f32>().unwrap()[0]);
        assert!((f64::from(norm) / expected - 1.0).abs() < 1e-6, "2^{exponent}: {norm}, expected {expected}");
        let expected = (1e-3 / (expected + 1e-6)).min(1.0);
        assert!((f64::from(factor) / expected - 1.0).abs() < 1e-6, "2^{exponent}: {factor}, expected {expected}");
    }
}

/// What is not finite is not hidden: PyTorch's factors.
#[test]
fn a_norm_that_is_not_finite_says_so() {
    let gpu = gpu();
    for (bad, norm, factor) in
        [(f32::INFINITY, f32::INFINITY, 0.0), (f32::NEG_INFINITY, f32::INFINITY, 0.0), (f32::NAN, f32::NAN, f32::NAN)]
    {
        let mut values = floats(&normal(1, &[5000])).to_vec();
        values[4999] = bad;
        let gradients = [gpu.tensor(&[1.0f32], &[1]).unwrap(), gpu.tensor(&values, &[5000]).unwrap()];
        let clip = grad_norm(gpu, &gradients, 1.0).unwrap();
        let read = [&clip.norm, &clip.factor].map(|tensor| tensor.read_blocking::<f32>().unwrap()[0]);
        let same = |a: f32, b: f32| a == b || (a.is_nan() && b.is_nan());
        assert!(same(read[0], norm) && same(read[1], factor), "{bad}: {read:?}");
    }
}

/// The first step of Adam does not depend on how long the gradient is.
#[test]
fn adam_takes_steps_of_the_rate() {
    let gpu = gpu();
    let p = gpu.tensor(&[0.0f32; 5], &[5]).unwrap();
    let options = OptimizerOptions { kind: Kind::Adam, lr: 0.25, ..Default::default() };
    let mut optimizer = Optimizer::new(gpu, from_ref(&p), &options).unwrap();
    optimizer.step(&[gpu.tensor(&[1.0f32, -1e-3, 1e6, 0.0, -3.0], &[5]).unwrap()], None).unwrap();
    assert_close(&p.read_blocking::<f32>().unwrap(), &[-0.25, 0.25, -0.25, 0.0, 0.25], 1e-5);
}

/// Tensors of an arena are one behind the other, each from where a binding can begin, in as few buffers as hold them.
#[test]
fn an_arena_is_as_few_buffers_as_the_device_allows() {
    let gpu = gpu();
    let align = u64::from(gpu.caps().storage_alignment);
    let tensors = gpu.arena(DType::F32, SHAPES).unwrap();
    assert!(tensors.iter().map(Tensor::shape).eq(SHAPES.iter().copied()));
    for pair in tensors.windows(2) {
        assert!(pair[0].buffer() == pair[1].buffer() && pair[1].offset().is_multiple_of(align));
        assert!((pair[0].offset() + pair[0].bytes()..).contains(&pair[1].offset()));
    }
    assert!(gpu.arena(DType::F32, &[]).unwrap().is_empty());
    assert!(matches!(gpu.arena(DType::F32, &[&[3], &[2, 0]]), Err(Error::Shape { .. })));
    assert!(matches!(gpu.upload_arena(&[&normal(1, &[2]), &Array::i32(&[1], vec![0])]), Err(Error::Dtype { .. })));
    let bytes: Vec<Array> = (0..3).map(|i| Array::u8(&[5 + i], (0..5 + i as u8).collect())).collect();
    let uploaded = gpu.upload_arena(&bytes.iter().collect::<Vec<_>>()).unwrap();
    assert!(uploaded.iter().zip(&bytes).all(|(tensor, array)| tensor.array().unwrap() == *array));

    let limits = wgpu::Limits { max_buffer_size: 1 << 16, max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::defaults() };
    let small = crate::common::open(GpuOptions { limits: Some(limits), ..Default::default() });
    let shapes: [&[usize]; 4] = [&[100, 100], &[60], &[100, 99], &[1 << 14]];
    let tensors = small.arena(DType::F32, &shapes).unwrap();
    let same: Vec<bool> = tensors.windows(2).map(|pair| pair[0].buffer() == pair[1].buffer()).collect();
    assert_eq!(same, [true, false, false]);
    assert!(matches!(small.arena(DType::F32, &[&[1], &[(1 << 14) + 1]]), Err(Error::Limit { .. })));
}

/// A part is what lies at its place, and what is written to it is there.
#[test]
fn parts_share_memory() {
    let gpu = gpu();
    let x = gpu.tensor(&[0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[7]).unwrap();
    assert_eq!(x.part(1, &[2, 3]).unwrap().read_blocking::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(x.part(6, &[]).unwrap().part(0, &[1]).unwrap().read_blocking::<f32>().unwrap(), [6.0]);
    let mut optimizer = Optimizer::new(gpu, &[x.part(2, &[2]).unwrap()], &OptimizerOptions { lr: 1.0, ..Default::default() }).unwrap();
    optimizer.step(&[gpu.tensor(&[10.0f32, 20.0], &[2]).unwrap()], None).unwrap();
    assert_eq!(x.read_blocking::<f32>().unwrap(), [0.0, 1.0, -8.0, -17.0, 4.0, 5.0, 6.0]);
    assert!(matches!(x.part(5, &[3]), Err(Error::Shape { .. })));
    assert!(matches!(x.part(0, &[0]), Err(Error::Shape { .. })));
    assert!(matches!(x.part(usize::MAX, &[1]), Err(Error::Shape { .. })));
    let bytes = gpu.tensor(&[1u8; 9], &[9]).unwrap();
    assert!(bytes.part(4, &[5]).is_ok() && matches!(bytes.part(3, &[5]), Err(Error::Argument { .. })));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let gpu = gpu();
    let p = gpu.tensor(&[0.0f32; 6], &[6]).unwrap();
    let new = |parameters: &[Tensor]| Optimizer::new(gpu, parameters, &OptimizerOptions::default());
    let overlapping = new(&[p.part(0, &[4]).unwrap(), p.part(3, &[3]).unwrap()]).unwrap_err().to_string();
    assert_eq!(overlapping, "optimizer: parameters[1] = one that overlaps parameters[0]; expected a tensor of its own");
    assert!(new(&[p.part(0, &[3]).unwrap(), p.part(3, &[3]).unwrap()]).is_ok());
    assert!(matches!(new(&[gpu.tensor(&[1i32], &[1]).unwrap()]), Err(Error::Dtype { .. })));
    let wrong = OptimizerOptions { beta1: 1.0, ..Default::default() };
    assert!(matches!(Optimizer::new(gpu, &[], &wrong), Err(Error::Argument { .. })));

    let mut optimizer = new(from_ref(&p)).unwrap();
    let other = gpu.tensor(&[0.0f32; 6], &[2, 3]).unwrap();
    assert!(matches!(optimizer.step(&[], None), Err(Error::Argument { .. })));
    assert!(matches!(optimizer.step(from_ref(&other), None), Err(Error::Shape { .. })));
    assert!(matches!(optimizer.step(from_ref(&p), None), Err(Error::Argument { .. })));
    let mut momentum = Optimizer::new(gpu, from_ref(&p), &OptimizerOptions { momentum: 0.9, ..Default::default() }).unwrap();
    let (_, buf) = momentum.state(0).unwrap().remove(0);
    assert!(matches!(momentum.step(from_ref(&buf), None), Err(Error::Argument { .. })));
    assert!(matches!(momentum.set_state(0, "buf", &buf), Err(Error::Argument { .. })));
    assert!(matches!(optimizer.set_lr(f64::NAN), Err(Error::Argument { .. })));
    assert!(matches!(optimizer.state(1), Err(Error::Argument { .. })));
    assert!(matches!(optimizer.set_state(0, "m", &other), Err(Error::Argument { .. })));
    assert!(matches!(grad_norm(gpu, &[], 1.0), Err(Error::Argument { .. })));
    assert!(matches!(grad_norm(gpu, from_ref(&p), -1.0), Err(Error::Argument { .. })));
    assert_eq!(optimizer.steps(), 0);
}
