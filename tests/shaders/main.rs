//! Every variant of every kernel through the shader compilers' front doors, without a GPU.
//!
//! What naga accepts with no more than the variant says it needs, what its SPIR-V, MSL, HLSL and WGSL writers take, what fits
//! WebGPU's default limits, and what is declared on the host exactly as in the shader, has a fair chance on drivers that nobody here
//! has. Four things that naga lets pass are looked for as well. The compilers of browsers refuse barriers in control
//! flow that may differ between invocations, constants that are not finite, and `enable` lines that the composer does not write. And a
//! component of a vector may not be written by itself where other invocations write the others.

mod components;
mod layout;
mod uniformity;
mod variants;
mod writers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use wattn::gpu::{AnyVariant, Binding, Caps, Field, Kernel, Knobs, LIBRARY, Params, compose};
use wattn::ops::REGISTRY;
use wattn::wgpu;

use variants::{label, variants};

/// A variant that naga has parsed and validated.
struct Checked {
    variant: AnyVariant,
    text: String,
    module: naga::Module,
    info: ModuleInfo,
}

/// Every variant, parsed and validated once for all tests; or what is wrong with it.
fn every_variant() -> &'static [(AnyVariant, Result<Checked, String>)] {
    static ALL: OnceLock<Vec<(AnyVariant, Result<Checked, String>)>> = OnceLock::new();
    ALL.get_or_init(|| variants().into_iter().map(|variant| (variant.clone(), parse(&variant))).collect())
}

/// Runs `check` on every variant and fails with all complaints at once, each under its shader and variant.
fn for_every_variant(check: impl Fn(&Checked) -> Result<(), String>) {
    let variants = every_variant();
    assert!(variants.len() >= REGISTRY.len(), "{} variants cannot be all", variants.len());
    let complaint = |(variant, parsed): &(AnyVariant, Result<Checked, String>)| {
        let checked = parsed.as_ref().map_err(String::clone).and_then(&check);
        checked.err().map(|message| format!("{}:\n{message}", label(variant)))
    };
    let complaints: Vec<String> = variants.iter().filter_map(complaint).collect();
    println!("{} variants", variants.len());
    assert!(complaints.is_empty(), "{} of {} variants\n\n{}", complaints.len(), variants.len(), complaints.join("\n\n"));
}

/// What the variant says it needs, and nothing else.
fn capabilities(knobs: &Knobs) -> Capabilities {
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::SHADER_FLOAT16, knobs.uses_f16());
    capabilities.set(Capabilities::SUBGROUP, knobs.uses_subgroups());
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, knobs.uses_matrix_units());
    capabilities
}

/// Composes, parses and validates. The message carries the compiler's caret.
fn parse(variant: &AnyVariant) -> Result<Checked, String> {
    let text = compose(variant.kernel, &variant.knobs).map_err(|e| e.to_string())?;
    let (module, info) = validate(&text, &variant.knobs)?;
    Ok(Checked { variant: variant.clone(), text, module, info })
}

fn validate(text: &str, knobs: &Knobs) -> Result<(naga::Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities(knobs));
    let info = validator.validate(&module).map_err(|e| e.emit_to_string(text))?;
    Ok((module, info))
}

#[test]
fn every_variant_is_valid_with_minimal_capabilities() {
    for_every_variant(|_| Ok(()));
}

#[test]
fn every_variant_is_declared_as_it_is_written() {
    for_every_variant(|checked| layout::compare(checked.variant.kernel, &checked.variant.knobs, &checked.module));
}

/// WebGPU's defaults, and more of the workgroup memory that whatever has matrix units has more of.
fn limits(knobs: &Knobs) -> wgpu::Limits {
    let mut limits = wgpu::Limits::defaults();
    if knobs.uses_matrix_units() {
        limits.max_compute_workgroup_storage_size = Caps::everything().max_workgroup_bytes;
    }
    limits
}

#[test]
fn every_variant_fits_the_default_limits() {
    for_every_variant(|checked| layout::fits(&checked.module, &checked.info, &limits(&checked.variant.knobs)));
}

#[test]
fn every_variant_is_written_for_every_backend() {
    for_every_variant(|checked| {
        let again = writers::write_all(checked)?;
        validate(&again, &checked.variant.knobs).map(drop).map_err(|e| format!("naga's own WGSL output: {e}"))
    });
}

#[test]
fn every_barrier_is_in_uniform_control_flow() {
    for_every_variant(|checked| uniformity::check(&checked.module, &checked.text));
}

#[test]
fn no_component_of_a_shared_vector_is_written_alone() {
    for_every_variant(|checked| components::check(&checked.module, &checked.info, &checked.text));
}

#[test]
fn no_constant_is_infinite_or_nan() {
    for_every_variant(|checked| writers::finite_constants(&checked.module));
}

/// A pipeline at default limits on wgpu's backend that does everything but the work: wgpu's own checks of layout against shader.
#[test]
fn every_variant_makes_a_pipeline() {
    // SAFETY: this backend runs nothing.
    let experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
    let device = |required_features, required_limits| {
        let descriptor = wgpu::DeviceDescriptor { required_features, required_limits, experimental_features, ..Default::default() };
        wgpu::Device::noop(&descriptor).0
    };
    for_every_variant(|Checked { variant, text, .. }| {
        let mut features = wgpu::Features::empty();
        features.set(wgpu::Features::SHADER_F16, variant.knobs.uses_f16());
        features.set(wgpu::Features::SUBGROUP, variant.knobs.uses_subgroups());
        features.set(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, variant.knobs.uses_matrix_units());
        let device = device(features, limits(&variant.knobs));
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let source = wgpu::ShaderSource::Wgsl(text.as_str().into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let entries = variant.layout_entries();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let layouts = [Some(&layout)];
        let descriptor = wgpu::PipelineLayoutDescriptor { label: None, bind_group_layouts: &layouts, immediate_size: 0 };
        let layout = device.create_pipeline_layout(&descriptor);
        let _pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        match pollster::block_on(scope.pop()) {
            None => Ok(()),
            Some(error) => Err(error.to_string()),
        }
    });
}

fn shaders() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders")
}

/// The stems of all shaders, `operation/file`, sorted.
fn stems() -> Vec<String> {
    let mut stems = vec![];
    for folder in std::fs::read_dir(shaders()).unwrap().map(|entry| entry.unwrap().path()) {
        for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            assert!(file.extension().is_some_and(|e| e == "wgsl"), "{} is no shader", file.display());
            let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_string();
            stems.push(format!("{}/{}", name(&folder), name(&file)));
        }
    }
    stems.sort();
    stems
}

/// A kernel's name is its path, its text is that file, and no file is left over.
#[test]
fn kernels_and_files_are_the_same() {
    let kernels: BTreeMap<&str, &Kernel> = variants().iter().map(|v| (v.kernel.name, v.kernel)).collect();
    let files: Vec<String> = stems().into_iter().filter(|stem| !stem.starts_with("lib/")).collect();
    let idle: Vec<&String> = files.iter().filter(|file| !kernels.contains_key(file.as_str())).collect();
    assert!(idle.is_empty(), "no operation dispatches {idle:?}");
    for (name, kernel) in kernels {
        let path = shaders().join(format!("{name}.wgsl"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("kernel {name}: {}: {e}", path.display()));
        assert!(text == kernel.source, "kernel {name} is not made from {}", path.display());
    }
}

/// Every library file is in the composer's list and is imported by some shader.
#[test]
fn library_files_are_listed_and_imported() {
    let listed: Vec<String> = LIBRARY.iter().map(|(stem, _)| format!("lib/{stem}")).collect();
    let files: Vec<String> = stems().into_iter().filter(|stem| stem.starts_with("lib/")).collect();
    assert_eq!(listed, files, "src/gpu/compose.rs lists other files than shaders/lib has");
    let texts: Vec<String> = stems().iter().map(|stem| std::fs::read_to_string(shaders().join(format!("{stem}.wgsl"))).unwrap()).collect();
    for (stem, _) in LIBRARY {
        let import = format!("#import {stem}");
        assert!(texts.iter().any(|text| text.lines().any(|line| line.trim() == import)), "no shader imports lib/{stem}");
    }
}

/// The composer writes them: naga refuses `enable subgroups;`, which browsers ask for.
#[test]
fn no_file_enables_anything() {
    for stem in stems() {
        let text = std::fs::read_to_string(shaders().join(format!("{stem}.wgsl"))).unwrap();
        let line = text.lines().find(|line| line.starts_with("enable") || line.starts_with("requires") || line.starts_with("diagnostic"));
        assert_eq!(line, None, "{stem}.wgsl");
    }
}

/// The WGSL specification's reserved words, section 16.2. naga lets some of them pass; browsers let none.
const RESERVED: &str =
    "NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become cast catch class co_await
    co_return co_yield coherent column_major common compile compile_fragment concept const_cast consteval constexpr constinit crate debugger
    decltype delete demote demote_to_helper do dynamic_cast enum explicit export extends extern external fallthrough filter final finally
    friend from fxgroup get goto groupshared highp impl implements import inline instanceof interface layout lowp macro macro_rules match
    mediump meta mod module move mut mutable namespace new nil noexcept noinline nointerpolation non_coherent noncoherent noperspective null
    nullptr of operator package packoffset partial pass patch pixelfragment precise precision premerge priv protected pub public readonly
    ref regardless register reinterpret_cast require resource restrict self set shared sizeof smooth snorm static static_assert static_cast
    std subroutine super target template this thread_local throw trait try type typedef typeid typename typeof union unless unorm unsafe
    unsized use using varying virtual volatile wgsl where with writeonly yield";

#[test]
fn no_name_is_a_reserved_word() {
    let reserved: BTreeSet<&str> = RESERVED.split_whitespace().collect();
    let mut found = vec![];
    for stem in stems() {
        let text = std::fs::read_to_string(shaders().join(format!("{stem}.wgsl"))).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#')) {
            let code = line.split("//").next().unwrap_or_default();
            let words = code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| reserved.contains(word));
            found.extend(words.map(|word| format!("{stem}.wgsl:{}: {word}", number + 1)));
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

wattn::params! {
    /// What the shader of the tests below says.
    struct Right { count: u32, scale: f32, sizes: [u32; 2], strides: [u32; 4] }
}

wattn::params! {
    /// `scale` and `sizes` are the other way round.
    struct Swapped { count: u32, sizes: [u32; 2], scale: f32, strides: [u32; 4] }
}

wattn::params! {
    /// `strides` is too short.
    struct Short { count: u32, scale: f32, sizes: [u32; 2], strides: [u32; 2] }
}

const SOURCE: &str = "
struct Params { count: u32, scale: f32, sizes: vec2<u32>, strides: vec4<u32> }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
#if MASK
@group(0) @binding(2) var<storage, read> mask: array<u32>;
#end
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
var<workgroup> partial: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    partial[i] = params.scale * x[i];
    workgroupBarrier();
    y[i] = partial[63u - i];
}";

const BINDINGS: &[Binding] = &[Binding::read("x"), Binding::read("mask").when("MASK"), Binding::write("y")];

/// The complaint about SOURCE under this declaration.
fn complaint(params: &'static [Field], bindings: &'static [Binding], knobs: Knobs) -> Option<String> {
    let kernel = Box::leak(Box::new(Kernel { name: "test/kernel", source: SOURCE, params, bindings }));
    let checked = parse(&AnyVariant { kernel, knobs }).unwrap();
    layout::compare(kernel, &checked.variant.knobs, &checked.module).err()
}

/// The comparison must be able to fail.
#[test]
fn a_wrong_declaration_is_found() {
    let right = Right::FIELDS;
    assert_eq!(complaint(right, BINDINGS, Knobs::new()), None);
    assert_eq!(complaint(right, BINDINGS, Knobs::new().flag("MASK", true)), None);
    let finds = |params, bindings, words: &str| {
        let found = complaint(params, bindings, Knobs::new()).unwrap_or_else(|| panic!("nothing was found, expected: {words}"));
        assert!(found.contains(words), "{found}");
    };
    finds(Swapped::FIELDS, BINDINGS, "field 1");
    finds(Short::FIELDS, BINDINGS, "field 3");
    finds(&right[..3], BINDINGS, "strides");
    finds(right, const { &[Binding::write("x"), Binding::read("mask").when("MASK"), Binding::write("y")] }, "'x'");
    finds(right, const { &[Binding::read("x"), Binding::read("mask").when("MASK"), Binding::read("y")] }, "'y'");
    finds(right, const { &[Binding::read("x"), Binding::read("mask"), Binding::write("y")] }, "'mask'");
    finds(right, const { &[Binding::read("x"), Binding::write("y")] }, "binding 2");
    finds(right, const { &[Binding::read("z"), Binding::read("mask").when("MASK"), Binding::write("y")] }, "'z'");
    finds(right, const { &[Binding::read("x"), Binding::read("mask").when("MASK")] }, "binding 3");
}

/// So must the check of the limits.
#[test]
fn too_much_of_anything_is_found() {
    let checked = |text: &str| validate(text, &Knobs::new()).unwrap();
    let finds = |text: &str, words: &str| {
        let (module, info) = checked(text);
        let found = layout::fits(&module, &info, &wgpu::Limits::defaults()).unwrap_err();
        assert!(found.contains(words), "{found}");
    };
    finds("@compute @workgroup_size(16, 17) fn main() {}", "272 invocations");
    let memory = "var<workgroup> a: array<f32, 4096>; var<workgroup> b: u32; @compute @workgroup_size(1) fn main()";
    finds(&format!("{memory} {{ a[0] = 1.0; b = 1u; }}"), "16400 bytes");
    let (module, info) = checked(&format!("{memory} {{ a[0] = 1.0; }}"));
    assert_eq!(layout::fits(&module, &info, &wgpu::Limits::defaults()), Ok(()), "unused memory counts for nothing");
    let nine = (0..9).map(|i| format!("@group(0) @binding({i}) var<storage, read> b{i}: array<f32>;")).collect::<String>();
    finds(&format!("{nine} @compute @workgroup_size(1) fn main() {{}}"), "9 storage buffers");
}

/// And a shader that the compiler refuses is reported with its place.
#[test]
fn an_invalid_shader_is_reported_with_a_caret() {
    static BROKEN: Kernel = Kernel { name: "test/broken", source: "fn main() {\n    let x: u32 = 1.5f;\n}", params: &[], bindings: &[] };
    let message = parse(&AnyVariant { kernel: &BROKEN, knobs: Knobs::new() }).err().unwrap();
    assert!(message.contains("let x: u32 = 1.5f;") && message.contains('^'), "{message}");
}
