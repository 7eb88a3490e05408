//! naga's writers, with the options that wgpu gives them: what a Vulkan, Metal or DX12 device would be handed.

use std::collections::{BTreeMap, HashSet};

use naga::back::spv::Capability;
use naga::back::{hlsl, msl, spv, wgsl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::{AddressSpace, Expression, Literal, Module, ResourceBinding, ScalarKind, ShaderStage, StorageAccess};

use crate::Checked;

/// Writes SPIR-V, MSL, HLSL and WGSL, and returns the last.
pub fn write_all(checked: &Checked) -> Result<String, String> {
    spirv(checked).map_err(|e| format!("SPIR-V: {e}"))?;
    metal(checked).map_err(|e| format!("MSL: {e}"))?;
    direct3d(checked).map_err(|e| format!("HLSL: {e}"))?;
    wgsl::write_string(&checked.module, &checked.info, wgsl::WriterFlags::empty()).map_err(|e| format!("WGSL: {e}"))
}

fn bindings(module: &Module) -> impl Iterator<Item = (ResourceBinding, AddressSpace)> {
    module.global_variables.iter().filter_map(|(_, variable)| Some((variable.binding?, variable.space)))
}

fn checks() -> BoundsCheckPolicies {
    let restrict = BoundsCheckPolicy::Restrict;
    BoundsCheckPolicies { index: restrict, buffer: restrict, image_load: restrict, binding_array: BoundsCheckPolicy::Unchecked }
}

/// For Vulkan 1.1, with the capabilities of a device that has no more than the variant needs.
fn spirv(checked: &Checked) -> Result<(), String> {
    let mut allowed = vec![Capability::Shader, Capability::Matrix];
    if checked.variant.knobs.has("SUBGROUPS") {
        let subgroups = [Capability::GroupNonUniform, Capability::GroupNonUniformVote, Capability::GroupNonUniformArithmetic];
        allowed.extend(subgroups);
        allowed.extend([Capability::GroupNonUniformBallot, Capability::GroupNonUniformShuffle]);
    }
    if checked.variant.knobs.uses_f16() {
        allowed.extend([Capability::Float16, Capability::StorageBuffer16BitAccess, Capability::UniformAndStorageBuffer16BitAccess]);
    }
    let binding_map = bindings(&checked.module)
        .map(|(place, _)| (place, spv::BindingInfo { descriptor_set: place.group, binding: place.binding, binding_array_size: None }));
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
        fake_missing_bindings: false,
        binding_map: binding_map.collect(),
        capabilities: Some(allowed.into_iter().collect()),
        bounds_check_policies: checks(),
        use_storage_input_output_16: false,
        ..Default::default()
    };
    let entry = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
    spv::write_vec(&checked.module, &checked.info, &options, Some(&entry)).map(drop).map_err(|e| e.to_string())
}

/// For Metal 2.3, that of the first Macs with Apple silicon.
fn metal(checked: &Checked) -> Result<(), String> {
    let slots = bindings(&checked.module).zip(0..).map(|((place, space), slot)| {
        let mutable = matches!(space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE));
        (place, msl::BindTarget { buffer: Some(slot), mutable, ..Default::default() })
    });
    let resources: BTreeMap<_, _> = slots.collect();
    let sizes_buffer = Some(resources.len() as u8);
    let entry = msl::EntryPointResources { resources, immediates_buffer: None, sizes_buffer };
    let options = msl::Options {
        lang_version: (2, 3),
        per_entry_point_map: [("main".to_string(), entry)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: checks(),
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())), ..Default::default() };
    let (_, info) = msl::write_string(&checked.module, &checked.info, &options, &pipeline).map_err(|e| e.to_string())?;
    info.entry_point_names.into_iter().try_for_each(|name| name.map(drop).map_err(|e| e.to_string()))
}

/// For shader model 5.1, which every DX12 device has, or the first that has what the variant needs.
fn direct3d(checked: &Checked) -> Result<(), String> {
    let shader_model = match (checked.variant.knobs.uses_f16(), checked.variant.knobs.has("SUBGROUPS")) {
        (true, _) => hlsl::ShaderModel::V6_2,
        (false, true) => hlsl::ShaderModel::V6_0,
        (false, false) => hlsl::ShaderModel::V5_1,
    };
    let target = |register| hlsl::BindTarget { space: 0, register, restrict_indexing: true, ..Default::default() };
    let binding_map: BTreeMap<_, _> = bindings(&checked.module).zip(0..).map(|((place, _), register)| (place, target(register))).collect();
    let options = hlsl::Options {
        shader_model,
        // The number of workgroups is not built in there: wgpu passes it.
        special_constants_binding: Some(target(binding_map.len() as u32)),
        binding_map,
        fake_missing_bindings: false,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())) };
    let mut text = String::new();
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    let info = writer.write(&checked.module, &checked.info, None).map_err(|e| e.to_string())?;
    info.entry_point_names.into_iter().try_for_each(|name| name.map(drop).map_err(|e| e.to_string()))
}

/// Literals that are not finite, also those made from bits: other compilers refuse both.
pub fn finite_constants(module: &Module) -> Result<(), String> {
    let functions = module.functions.iter().map(|(_, f)| f).chain(module.entry_points.iter().map(|e| &e.function));
    let arenas = functions.map(|f| &f.expressions).chain([&module.global_expressions]);
    let mut wrong: HashSet<String> = HashSet::new();
    for arena in arenas {
        for (_, expression) in arena.iter() {
            let value = match *expression {
                Expression::Literal(Literal::F32(x)) => x,
                Expression::Literal(Literal::F16(x)) => x.to_f32(),
                Expression::As { expr, kind: ScalarKind::Float, convert: None } => match arena[expr] {
                    Expression::Literal(Literal::U32(bits)) => f32::from_bits(bits),
                    Expression::Constant(constant) => match module.global_expressions[module.constants[constant].init] {
                        Expression::Literal(Literal::U32(bits)) => f32::from_bits(bits),
                        _ => continue,
                    },
                    _ => continue,
                },
                _ => continue,
            };
            if !value.is_finite() {
                wrong.insert(format!("{value} is a constant"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into_iter().collect::<Vec<_>>().join("\n")) }
}
