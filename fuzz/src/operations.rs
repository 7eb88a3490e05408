//! Any arguments of any operation, through everything that runs on the host: names, shapes, keys, the reference, and the dispatches, on
//! wgpu's backend that checks all and computes nothing.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use wattn::ops::{Arrays, Operation, Precision, REGISTRY, Request, Settings};
use wattn::{Error, Gpu, wgpu};

use super::call::{Call, Start};
use super::memory;

/// What a call may have, so that many are tried: elements of all tensors, and floating-point operations.
const MAX_ELEMENTS: usize = 1 << 13;
const MAX_FLOPS: f64 = 1e6;

/// Elements of a drawn tensor.
const MAX_DRAWN: u128 = 1 << 12;

/// What refusing a shape may take.
const REFUSAL: usize = 64 << 10;

/// Makes the call.
pub fn run(call: &Call) {
    let operation = usize::from(call.operation) % REGISTRY.len();
    let op = REGISTRY[operation];
    let settings = call.settings(op.spec());
    let mut tensors = match &call.start {
        Start::Nothing => Arrays::new(),
        Start::Case(n) => {
            let cases = &cases()[operation];
            cases[usize::from(*n) % cases.len()].tensors.clone()
        }
        Start::Shape(fields) => match draw(op, &Start::text(fields), &settings) {
            Some(tensors) => tensors,
            None => return,
        },
    };
    call.edit(op, &mut tensors);
    if tensors.values().map(|array| array.len()).sum::<usize>() > MAX_ELEMENTS {
        return;
    }
    if let Ok(request) = Request::new(op.spec(), tensors, settings) {
        check(op, &request, &devices()[usize::from(call.device) % DEVICES]);
    }
}

/// `--shape`, which is refused before any memory is taken, or is small enough to be drawn.
fn draw(op: &dyn Operation, shape: &str, settings: &Settings) -> Option<Arrays> {
    let numbers: Vec<u128> =
        shape.split(|c: char| !c.is_ascii_digit()).filter(|s| !s.is_empty()).map(|s| s.parse().unwrap_or(u128::MAX)).collect();
    // A recurrent layer's weights are as the square of its size.
    let power = if op.spec().inputs.iter().any(|input| input.layered) { 2 } else { 1 };
    let product = numbers.iter().fold(1u128, |product, &n| product.saturating_mul(n.max(1)));
    if product.saturating_pow(power) <= MAX_DRAWN {
        return op.draw(shape, settings, 1).ok();
    }
    if numbers.iter().any(|&n| n >= 1 << 31) {
        let (drawn, peak) = memory::peak(|| op.draw(shape, settings, 1).is_ok());
        assert!(!drawn && peak <= REFUSAL + 4 * shape.len(), "{}: {shape} is drawn, or takes {peak} bytes", op.spec().name);
    }
    None
}

/// The cases of each operation that are small enough.
fn cases() -> &'static [Vec<Request>] {
    static CASES: OnceLock<Vec<Vec<Request>>> = OnceLock::new();
    CASES.get_or_init(|| {
        let small = |op: &dyn Operation, request: &Request| {
            let elements: usize = request.tensors.values().map(|array| array.len()).sum();
            elements <= MAX_ELEMENTS && op.cost(request).is_ok_and(|cost| cost.flops <= MAX_FLOPS)
        };
        let of = |op: &dyn Operation| {
            op.cases().iter().filter_map(|case| case.request(op, 1).ok()).filter(|request| small(op, request)).collect()
        };
        REGISTRY.iter().map(|op| of(*op)).collect()
    })
}

/// The shapes of results by name.
type Shapes = BTreeMap<String, Vec<usize>>;

/// That all who look at a request come to the same conclusion about it.
fn check(op: &dyn Operation, request: &Request, gpu: &Gpu) {
    let name = op.spec().name;
    let cost = op.cost(request);
    if cost.as_ref().is_ok_and(|cost| cost.flops > MAX_FLOPS) {
        return;
    }
    let reference = op.reference(request, Precision::Plain);
    assert_eq!(cost.is_ok(), reference.is_ok(), "{name}: {:?}, yet {:?}", cost.err(), reference.err());
    let device = on_device(op, request, gpu);
    match (reference, device) {
        (Ok(reference), Ok(device)) => {
            let reference: Shapes = reference.into_iter().map(|(name, values)| (name, values.shape)).collect();
            assert_eq!(reference, device, "{name}");
        }
        (Err(_), Err(_)) => {}
        // What is right may still be more than this device has.
        (Ok(_), Err(Error::Limit { .. } | Error::Dtype { .. })) => {}
        (Ok(_), Err(error)) => panic!("{name}: refused by the device alone: {error:?}"),
        (Err(error), Ok(_)) => panic!("{name}: taken by the device alone: {error:?}"),
    }
}

fn on_device(op: &dyn Operation, request: &Request, gpu: &Gpu) -> wattn::Result<Shapes> {
    let results = op.prepare(gpu, request).and_then(|mut run| run());
    gpu.finish()?;
    Ok(results?.into_iter().map(|(name, tensor)| (name, tensor.shape().to_vec())).collect())
}

const DEVICES: usize = 3;

/// One with everything, one with WebGPU's defaults, and one whose bindings are so small that much is cut into pieces.
fn devices() -> &'static [Gpu; DEVICES] {
    static GPUS: OnceLock<[Gpu; DEVICES]> = OnceLock::new();
    GPUS.get_or_init(|| {
        let defaults = wgpu::Limits::defaults();
        let small = wgpu::Limits { max_storage_buffer_binding_size: 2 << 10, max_compute_workgroups_per_dimension: 40, ..defaults.clone() };
        let all = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
        [(all, defaults.clone()), (wgpu::Features::empty(), defaults), (all, small)].map(|(features, limits)| open(features, limits))
    })
}

fn open(features: wgpu::Features, limits: wgpu::Limits) -> Gpu {
    let noop = wgpu::NoopBackendOptions {
        features: Some(features),
        subgroup_min_size: Some(32),
        subgroup_max_size: Some(32),
        ..wgpu::NoopBackendOptions::enabled()
    };
    let descriptor = wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions { noop, ..Default::default() },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    };
    pollster::block_on(async {
        let adapter = wgpu::Instance::new(descriptor).request_adapter(&Default::default()).await.expect("the noop adapter");
        let descriptor = wgpu::DeviceDescriptor { required_features: features, required_limits: limits, ..Default::default() };
        let (device, queue) = adapter.request_device(&descriptor).await.expect("a noop device");
        Gpu::from_wgpu(&adapter, device, queue).expect("enough bindings")
    })
}
