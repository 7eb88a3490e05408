//! Every operation, every case, every tuning: device against reference. One file for each operation, which holds what is peculiar to it.
//!
//! Each operation runs on three devices: the default one; one with WebGPU's default limits and no feature; and one with all features whose
//! bindings are so small that what does not fit must be processed in pieces. Every case is run three times and must give the same bits, and the
//! last run must create no buffer and no pipeline; on the default device it is run again with its work cut into small submissions. What is
//! skipped is printed with the reason (`cargo test --test ops -- --nocapture`).
//!
//! Without an adapter the tests fail. `WATTN_DEVICE` chooses one, as `--device` does.

mod activation;
mod additive_attention;
mod attention;
mod attention_varlen;
mod binary_cross_entropy;
mod bounds;
mod cache;
#[path = "../common/mod.rs"]
mod common;
mod concat;
mod crf;
mod cross_entropy;
mod cuts;
mod dropout;
mod elementwise;
mod embedding;
#[path = "../drivers/faults.rs"]
mod faults;
mod gru;
mod layer_norm;
mod linear;
mod lstm;
mod luong_attention;
mod matmul;
mod mse;
mod multi_head_attention;
mod optimizer;
mod recurrent;
mod rms_norm;
mod rnn;
mod rotary_embedding;
mod slice;
mod softmax;
mod sum;
mod transpose;
mod weighted_sum;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use wattn::gpu::Step;
use wattn::ops::check::{Expected, Outcome, wrong};
use wattn::ops::philox::Rng;
use wattn::ops::{Arrays, Case, Operation, REGISTRY, Request, Settings, Tuning, find};
use wattn::{Array, Data, Error, Gpu, GpuOptions, Tensor, wgpu};

/// The tests that every operation has.
macro_rules! cases {
    ($op:literal) => {
        #[test]
        fn cases_on_the_default_device() {
            crate::check_all($op, crate::Device::Default);
        }

        #[test]
        fn cases_on_a_baseline_device() {
            crate::check_all($op, crate::Device::Baseline);
        }

        #[test]
        fn cases_in_pieces() {
            crate::check_all($op, crate::Device::SmallBindings);
        }
    };
}
pub(crate) use cases;

/// Bytes of the smallest bindings: a row of 4096 f32 fits, and a matrix of 128 x 128 is cut in four.
const SMALL_BINDING: u64 = 20 << 10;

/// The devices that everything is tested on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Device {
    Default,
    Baseline,
    SmallBindings,
}

impl Device {
    /// A device of its own, so that the counters show one test's doings alone.
    fn open(self) -> Gpu {
        let limits = wgpu::Limits { max_storage_buffer_binding_size: SMALL_BINDING, ..wgpu::Limits::defaults() };
        let options = GpuOptions {
            baseline: self == Device::Baseline,
            limits: (self == Device::SmallBindings).then_some(limits),
            ..Default::default()
        };
        common::open(options)
    }

    /// Whether a case runs under a tuning; quick ones do under all, and all under the default. Most pinned choices are for the default
    /// device: few cases show what limits and pieces do to them. What is done without subgroups is otherwise for the small bindings.
    fn tries(self, case: &Case, tuning: &Tuning) -> bool {
        let without_subgroups = tuning.label == "workgroup memory";
        // softmax has all cases under every way of reducing a row; the composed path needs one.
        let rows_again = tuning.label.starts_with("composed ") && tuning.label != "composed lanes=64";
        let pinned = match self {
            Device::Default => !without_subgroups && !rows_again,
            Device::Baseline => false,
            Device::SmallBindings => without_subgroups,
        };
        case.quick || tuning.label == "auto" || pinned
    }
}

/// The default device, shared by the tests that hold laws of single operations.
fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| Device::Default.open())
}

/// A case's tensors and reference, evaluated once for all devices.
fn expected(op: &'static dyn Operation, case: &Case) -> Arc<(Request, Expected)> {
    type Slot = Arc<OnceLock<Arc<(Request, Expected)>>>;
    static CACHE: OnceLock<Mutex<HashMap<(&str, &str), Slot>>> = OnceLock::new();
    let slot = CACHE.get_or_init(Mutex::default).lock().unwrap().entry((op.spec().name, case.name)).or_default().clone();
    let evaluate = || {
        let request = case.request(op, 1).unwrap_or_else(|e| panic!("{} {}: {e}", op.spec().name, case.name));
        let expected = Expected::new(op, &request).unwrap_or_else(|e| panic!("{} {}: {e}", op.spec().name, case.name));
        Arc::new((request, expected))
    };
    slot.get_or_init(evaluate).clone()
}

/// All cases of an operation on one device; the quick ones under every tuning.
fn check_all(name: &str, device: Device) {
    let op = find(name).unwrap_or_else(|| panic!("no operation '{name}'"));
    let gpu = device.open();
    println!("{name} on {} ({device:?})", gpu.info().name);
    let (mut ran, mut skipped, mut failures) = (0, 0, vec![]);
    let mut cases = op.cases();
    if device == Device::SmallBindings {
        // The baseline device needs the same variants at the same time: a driver that keeps them on disk compiles each once when the
        // two start from both ends.
        cases.reverse();
    }
    for case in cases {
        let fixture = expected(op, &case);
        for tuning in op.tunings(gpu.caps()).into_iter().filter(|tuning| device.tries(&case, tuning)) {
            let known = faults::expected(faults::KNOWN, gpu.info(), name, case.name, &tuning.label);
            match faults::judge(known, check(&gpu, op, &fixture, &tuning, device)) {
                Ok(Some(None)) => ran += 1,
                Ok(Some(Some(reason))) => {
                    println!("{name} {} [{}]: skipped, {reason}", case.name, tuning.label);
                    skipped += 1;
                }
                Ok(None) => println!("{name} {} [{}]: a known fault of the driver, {known:?}", case.name, tuning.label),
                Err(message) => failures.push(format!("{name} {} [{}]: {message}", case.name, tuning.label)),
            }
        }
    }
    println!("{name} ({device:?}): {ran} ran, {skipped} skipped");
    assert!(failures.is_empty(), "{} of {} failed\n{}", failures.len(), ran + failures.len(), failures.join("\n"));
    assert!(ran > 4 * skipped, "{skipped} cases were skipped and only {ran} ran");
}

/// Compares one case, then repeats it. `Ok(Some(…))` is why it cannot run here.
fn check(gpu: &Gpu, op: &dyn Operation, fixture: &(Request, Expected), tuning: &Tuning, device: Device) -> Result<Option<String>, String> {
    let (request, expected) = fixture;
    let checks = match expected.verify(gpu, op, request, tuning) {
        Ok(Outcome::Checked(checks)) => checks,
        Ok(Outcome::Skipped(reason)) => return Ok(Some(reason)),
        Err(e @ Error::Limit { .. }) if device == Device::SmallBindings && has_long_row(request) => return Ok(Some(e.to_string())),
        Err(e) => return Err(e.to_string()),
    };
    if let Some(wrong) = wrong(&checks) {
        return Err(wrong);
    }
    let pinned = (tuning.pin)(gpu);
    let first = repeat(&pinned, op, request)?;
    bounds::check(&pinned, op, request)?;
    if device == Device::Default {
        cuts::compare(&pinned, op, request, &first)?;
        bounds::check(&pinned.submitting(cuts::TINY), op, request)?;
    }
    Ok(None)
}

/// Whether a row of some tensor is too long for one small binding, or a CRF's moves, all of which each of its steps reads: then, and only
/// then, a case may be refused.
fn has_long_row(request: &Request) -> bool {
    let row = |array: &Array| array.shape().last().copied().unwrap_or(1) as u64 * 4;
    let moves = request.tensor("transitions").map_or(0, |array| array.bytes().len() as u64 + 2 * row(array));
    request.tensors.values().map(row).chain([moves]).any(|bytes| bytes + 512 > SMALL_BINDING)
}

/// The bits of what an operation makes, by name.
type Results = Vec<(String, Vec<u8>)>;

/// Runs a request three times: the same bits each time, and nothing new in the last.
fn repeat(gpu: &Gpu, op: &dyn Operation, request: &Request) -> Result<Results, String> {
    let mut run = op.prepare(gpu, request).map_err(|e| e.to_string())?;
    let mut first: Option<Results> = None;
    let mut before = (gpu.memory().buffers_created, gpu.counters().pipelines);
    for round in 0..3 {
        let results = run().and_then(|outputs| bits_of(&outputs)).map_err(|e| e.to_string())?;
        match &first {
            None => first = Some(results),
            Some(first) => {
                for ((name, first), (_, bytes)) in first.iter().zip(&results) {
                    if first != bytes {
                        return Err(format!("{name} has other bits in run {round} than in run 0"));
                    }
                }
            }
        }
        let now = (gpu.memory().buffers_created, gpu.counters().pipelines);
        if round > 0 && now != before {
            return Err(format!("run {round} made {} buffers and {} pipelines", now.0 - before.0, now.1 - before.1));
        }
        before = now;
    }
    first.ok_or_else(|| "nothing ran".into())
}

fn bits_of(outputs: &[(String, Tensor)]) -> wattn::Result<Results> {
    outputs.iter().map(|(name, tensor)| Ok((name.clone(), tensor.array()?.bytes().to_vec()))).collect()
}

/// Runs an operation on these tensors.
fn try_run(gpu: &Gpu, op: &str, tensors: &[(&str, &Array)], settings: &[(&str, &str)]) -> wattn::Result<Arrays> {
    let op = find(op).unwrap_or_else(|| panic!("no operation '{op}'"));
    let settings = Settings::new(settings.iter().map(|&(key, value)| (key.to_string(), value.to_string())));
    let tensors = tensors.iter().map(|&(name, array)| (name.to_string(), array.clone())).collect();
    let request = Request::new(op.spec(), tensors, settings)?;
    let mut run = op.prepare(gpu, &request)?;
    run()?.into_iter().map(|(name, tensor)| Ok((name, tensor.array()?))).collect()
}

/// The same on the default device, where nothing may go wrong.
fn run(op: &str, tensors: &[(&str, &Array)], settings: &[(&str, &str)]) -> Arrays {
    try_run(gpu(), op, tensors, settings).unwrap_or_else(|e| panic!("{e}"))
}

/// Standard-normal values.
fn normal(seed: u64, shape: &[usize]) -> Array {
    Array::f32(shape, Rng::new(seed).normals(shape.iter().product()))
}

fn floats(array: &Array) -> &[f32] {
    match array.data() {
        Data::F32(values) => values,
        _ => panic!("{} is not f32", array.dtype()),
    }
}

/// The bits of f32 values: equal bits also tell zeros and NaNs apart.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// That two lists of numbers differ by at most `tolerance` anywhere.
fn assert_close(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len());
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() <= tolerance, "[{i}] = {got}, expected {expected} within {tolerance}");
    }
}

/// No operation of the registry is left out: each has a module here, and so the tests above.
#[test]
fn every_operation_is_here() {
    let source = include_str!("main.rs");
    let missing: Vec<&str> = REGISTRY.iter().map(|op| op.spec().name).filter(|op| !source.contains(&format!("\nmod {op};\n"))).collect();
    assert!(missing.is_empty(), "tests/ops/main.rs lacks {missing:?}");
}

/// The runner must be able to fail: a reference of other numbers is not met.
#[test]
fn a_wrong_result_is_found() {
    let op = find("softmax").unwrap();
    let request = Case::new("right", "3,5", &[]).request(op, 1).unwrap();
    let other = Case::new("wrong", "3,5", &[]).request(op, 2).unwrap();
    let expected = Expected::new(op, &other).unwrap();
    let found = check(gpu(), op, &(request, expected), &Tuning::default(), Device::Default);
    let message = found.unwrap_err();
    assert!(message.contains("over the budget"), "{message}");
}

/// Where a device has matrix units, cases of f16 run on them and are right: on software when asked, otherwise of themselves.
/// scripts/test-matrix-units.sh sees to it that there is such a device.
fn run_on_matrix_units(op: &str, cases: &[Case], kernel: &str) {
    // Of its own: a trace is of everything that runs on a device.
    let gpu = Device::Default.open();
    let op = find(op).unwrap();
    let caps = gpu.caps();
    let named = op.tunings(caps).into_iter().find(|tuning| tuning.label == "matrix units");
    let tuning = named.or_else(|| (!caps.software && !caps.matrix_units.is_empty()).then(Tuning::default));
    let Some(tuning) = tuning else {
        assert!(std::env::var_os("WATTN_MATRIX_UNITS").is_none(), "{} has no matrix units: {:?}", gpu.info().name, caps.matrix_units);
        println!("not tested: {} has no matrix units", gpu.info().name);
        return;
    };
    for case in cases {
        let request = case.request(op, 1).unwrap();
        let (outcome, trace) = gpu.trace(|| Expected::new(op, &request)?.verify(&gpu, op, &request, &tuning)).unwrap();
        let Outcome::Checked(checks) = outcome else { panic!("{} was not run", case.name) };
        assert_eq!(wrong(&checks), None, "{}", case.name);
        let is = |step: &Step| match step {
            Step::Dispatch(dispatch) => dispatch.variant.kernel.name == kernel && dispatch.variant.knobs.uses_matrix_units(),
            Step::Write { .. } => false,
        };
        assert!(trace.steps.iter().any(is), "{}: {:?}", case.name, trace.steps);
    }
}
