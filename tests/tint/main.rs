//! A second compiler and a second WebGPU: Tint and Dawn, those of Chrome, under Node. wgpu and naga have no part in what they make of
//! wattn's shaders, so that what both let pass by mistake is seen here.
//!
//! Tint compiles every variant, without a warning. Every case of every operation is traced while wgpu runs it, done again by Dawn, and compared
//! with the reference; on a device with everything, and on one with WebGPU's default limits and no feature. Memory holds NaN in Dawn
//! before it is written.
//!
//! It needs Node and the package `webgpu`, which scripts/test-tint.sh installs, and so it is not run by a plain `cargo test`.

#[path = "../common/mod.rs"]
mod common;
mod dawn;
mod job;
#[path = "../shaders/variants.rs"]
mod variants;

use std::collections::{BTreeMap, HashSet};

use dawn::Dawn;
use job::{Job, Needs};
use variants::{label, variants};
use wattn::gpu::{AnyVariant, Kernel, Knobs, Optional, Step, Trace};
use wattn::ops::check::{Expected, wrong};
use wattn::ops::{Arrays, Case, Operation, REGISTRY, Request, Tuning, find};
use wattn::{Error, Gpu, GpuOptions, Tensor};

/// Shaders that are compiled at a time.
const TOGETHER: usize = 32;

/// The tests that every operation has.
macro_rules! cases {
    ($($op:ident)*) => {
        $(mod $op {
            #[test]
            fn on_the_default_device() {
                crate::replay_all(stringify!($op), false);
            }

            #[test]
            fn on_a_baseline_device() {
                crate::replay_all(stringify!($op), true);
            }
        })*

        #[test]
        fn every_operation_is_here() {
            let here = [$(stringify!($op)),*];
            assert_eq!(here.to_vec(), REGISTRY.iter().map(|op| op.spec().name).collect::<Vec<_>>());
        }
    };
}

cases! {
    matmul softmax weighted_sum sum linear cross_entropy embedding mse binary_cross_entropy attention attention_varlen additive_attention
    luong_attention multi_head_attention rnn gru lstm crf layer_norm rms_norm rotary_embedding
}

/// Matrix units are wgpu's own extension of WGSL, which no other compiler knows.
fn open(baseline: bool) -> Gpu {
    common::open(GpuOptions { baseline, ..Default::default() }).without(&[Optional::MatrixUnits])
}

/// Down to pipelines, so that Tint's writer and the driver have their say as well.
#[test]
fn every_variant_compiles_without_a_complaint() {
    let mut dawn = Dawn::start();
    let variants: Vec<AnyVariant> = variants().into_iter().filter(|variant| !variant.knobs.uses_matrix_units()).collect();
    let mut kinds: BTreeMap<Vec<&str>, Vec<&AnyVariant>> = BTreeMap::new();
    for variant in &variants {
        kinds.entry(Needs::of(variant).features()).or_default().push(variant);
    }
    let (mut compiled, mut wrong) = (0, vec![]);
    for (features, variants) in kinds {
        if let Some(lacking) = features.iter().find(|name| !dawn.features.iter().any(|has| has == *name)) {
            println!("{} variants are not compiled, this driver lacks {lacking}:", variants.len());
            variants.iter().for_each(|variant| println!("  {}", label(variant)));
            continue;
        }
        compiled += variants.len();
        for some in variants.chunks(TOGETHER) {
            wrong.extend(Job::compile(&Needs::of(some[0]), some).and_then(|job| dawn.run(&job)).err());
        }
    }
    println!("{compiled} of {} variants compiled, {}", variants.len(), dawn.driver);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(compiled >= REGISTRY.len(), "{compiled} variants cannot be all");
}

/// Operations on one device, in both implementations.
struct Session {
    gpu: Gpu,
    dawn: Dawn,
    needs: Needs,
    ran: usize,
    /// Tunings that do what another did.
    again: usize,
    skipped: usize,
    tensors: usize,
    /// Tensors whose bits are not those that wgpu gave.
    differ: usize,
}

impl Session {
    fn open(baseline: bool) -> Self {
        let (gpu, dawn) = (open(baseline), Dawn::start());
        dawn.expect_driver_of(&gpu);
        let caps = gpu.caps();
        let needs = Needs { f16: caps.f16, subgroups: caps.subgroups, default_limits: baseline };
        Session { gpu, dawn, needs, ran: 0, again: 0, skipped: 0, tensors: 0, differ: 0 }
    }

    /// Runs a request in wgpu, and again in Dawn unless that was done; compares what Dawn says.
    fn check(&mut self, fixture: &Fixture<'_>, tuning: &Tuning, done: &mut HashSet<u64>) -> Result<(), String> {
        let pinned = (tuning.pin)(&self.gpu);
        let (outputs, trace) = match fixture.record(&pinned) {
            Err(e @ Error::Dtype { .. }) if fixture.request.settings.text("dtype") == Some("f16") && !self.needs.f16 => {
                println!("{} [{}]: skipped, {e}", fixture.name, tuning.label);
                self.skipped += 1;
                return Ok(());
            }
            other => other.map_err(|e| e.to_string())?,
        };
        let job = Job::replay(&self.needs, &trace, &outputs)?;
        if !done.insert(job.fingerprint()) {
            self.again += 1;
            return Ok(());
        }
        self.dawn.run(&job)?;
        self.ran += 1;
        let got = job.results(&outputs);
        let wgpu = outputs.iter().map(|(name, tensor)| Ok((name.clone(), tensor.array()?))).collect::<Result<Arrays, Error>>();
        let wgpu = wgpu.map_err(|e| e.to_string())?;
        self.tensors += got.len();
        self.differ += got.iter().filter(|(name, array)| array.bytes() != wgpu[*name].bytes()).count();
        fixture.compare(&got).map_err(|wrong| match fixture.compare(&wgpu) {
            Ok(()) => format!("{wrong}; wgpu is right"),
            Err(same) => format!("{wrong}; in wgpu {same}"),
        })
    }
}

/// A case with its tensors and what must come out.
struct Fixture<'a> {
    name: String,
    op: &'a dyn Operation,
    request: Request,
    expected: Expected,
}

impl<'a> Fixture<'a> {
    fn new(op: &'a dyn Operation, case: &Case) -> Self {
        let name = format!("{} {}", op.spec().name, case.name);
        let request = case.request(op, 1).unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected = Expected::new(op, &request).unwrap_or_else(|e| panic!("{name}: {e}"));
        Fixture { name, op, request, expected }
    }

    fn record(&self, gpu: &Gpu) -> wattn::Result<(Vec<(String, Tensor)>, Trace)> {
        gpu.trace(|| self.op.prepare(gpu, &self.request).and_then(|mut run| run()))
    }

    fn compare(&self, got: &Arrays) -> Result<(), String> {
        wrong(&self.expected.compare(self.op, got)).map_or(Ok(()), Err)
    }
}

/// All cases of an operation on one device, under every tuning.
fn replay_all(name: &str, baseline: bool) {
    let op = find(name).unwrap_or_else(|| panic!("no operation '{name}'"));
    let mut session = Session::open(baseline);
    let mut failures = vec![];
    for case in op.cases() {
        let fixture = Fixture::new(op, &case);
        let mut done = HashSet::new();
        // Without features the choices are among those that the default device has as well: there the first, which is none, will do.
        let tunings = op.tunings(session.gpu.caps()).into_iter().take(if baseline { 1 } else { usize::MAX });
        for tuning in tunings {
            let outcome = session.check(&fixture, &tuning, &mut done);
            failures.extend(outcome.err().map(|message| format!("{} [{}]: {message}", fixture.name, tuning.label)));
        }
    }
    let Session { ran, again, skipped, tensors, differ, .. } = session;
    let device = if baseline { "baseline" } else { "default" };
    println!(
        "{name} ({device}): {ran} ran, {again} did the same as another, {skipped} skipped; {differ} of {tensors} tensors have other bits than wgpu's"
    );
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n"));
    assert!(ran > 4 * skipped, "{skipped} were skipped and only {ran} ran");
}

const fn kernel(name: &'static str, source: &'static str) -> Kernel {
    Kernel { name, source, params: &[], bindings: &[] }
}

/// What naga takes and Tint does not must be found, by name; so must a warning.
#[test]
fn a_complaint_of_tint_s_is_found() {
    static BARRIER: Kernel = kernel(
        "test/barrier",
        "@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) { if i < 3u { workgroupBarrier(); } }",
    );
    static UNREACHABLE: Kernel = kernel("test/unreachable", "@compute @workgroup_size(64) fn main() { return; workgroupBarrier(); }");
    let mut dawn = Dawn::start();
    for (kernel, words) in [(&BARRIER, "uniform control flow"), (&UNREACHABLE, "warning")] {
        let module = naga::front::wgsl::parse_str(kernel.source).unwrap();
        naga::valid::Validator::new(Default::default(), naga::valid::Capabilities::empty()).validate(&module).unwrap();
        let variant = AnyVariant { kernel, knobs: Knobs::new() };
        let found = Job::compile(&Needs::of(&variant), &[&variant]).and_then(|job| dawn.run(&job)).unwrap_err();
        assert!(found.contains(kernel.name) && found.contains(words), "{found}");
    }
}

/// So must whatever is wrong with a trace.
#[test]
fn a_damaged_trace_is_found() {
    let fixture = Fixture::new(find("softmax").unwrap(), &Case::new("damaged", "3,5", &[]));
    type Damage = fn(&mut Vec<Step>);
    let damages: [(&str, Damage); 4] = [
        ("", |_| {}),
        ("over the budget", |steps| {
            let Step::Write { bytes, .. } = &mut steps[0] else { panic!("the first step uploads x") };
            bytes[..4].copy_from_slice(&1e3f32.to_le_bytes());
        }),
        ("got NaN", |steps| drop(steps.remove(0))),
        ("softmax/backward", |steps| {
            let Some(Step::Dispatch(dispatch)) = steps.last_mut() else { panic!("the last step is a dispatch") };
            dispatch.groups = [70_000, 1, 1];
        }),
    ];
    let mut session = Session::open(true);
    for (words, damage) in damages {
        let (outputs, mut trace) = fixture.record(&session.gpu).unwrap();
        damage(&mut trace.steps);
        let job = Job::replay(&session.needs, &trace, &outputs).unwrap();
        let found = session.dawn.run(&job).and_then(|()| fixture.compare(&job.results(&outputs))).err().unwrap_or_default();
        assert!(found.contains(words) && found.is_empty() == words.is_empty(), "expected '{words}', found '{found}'");
    }
}
