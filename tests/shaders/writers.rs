//! naga's writers, with the options that wgpu gives them: what a Vulkan, Metal or DX12 device would be handed.
//!
//! The options are those of wgpu-hal 30.0.1: vulkan/adapter.rs (naga_options) and vulkan/device.rs (compile_stage), metal/device.rs (load_shader,
//! create_pipeline_layout), dx12/device.rs (load_shader, create_pipeline_layout). What is left at its default here is the same there, or
//! has no part in a compute shader.

use std::collections::{BTreeMap, HashSet};

use naga::back::spv::Capability;
use naga::back::{hlsl, msl, spv, wgsl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::{Expression, Literal, Module, ResourceBinding, ScalarKind, ShaderStage};
use wattn::gpu::AnyVariant;
use wattn::wgpu::{BindingType, BufferBindingType};

use crate::Checked;

/// Writes SPIR-V, MSL, HLSL and WGSL, and returns the last.
pub fn write_all(checked: &Checked) -> Result<String, String> {
    spirv(checked).map_err(|e| format!("SPIR-V: {e}"))?;
    metal(checked).map_err(|e| format!("MSL: {e}"))?;
    if !checked.variant.knobs.uses_matrix_units() {
        // Direct3D has no such thing, so no device of it gets such a variant.
        direct3d(checked).map_err(|e| format!("HLSL: {e}"))?;
    }
    wgsl::write_string(&checked.module, &checked.info, wgsl::WriterFlags::empty()).map_err(|e| format!("WGSL: {e}"))
}

/// The variant's bindings as a pipeline layout has them: what wgpu gives numbers in a driver's terms, used by the shader or not.
fn bindings(variant: &AnyVariant) -> impl Iterator<Item = (ResourceBinding, BufferBindingType)> {
    variant.layout_entries().into_iter().map(|entry| {
        let BindingType::Buffer { ty, .. } = entry.ty else { unreachable!("kernels bind buffers alone") };
        (ResourceBinding { group: 0, binding: entry.binding }, ty)
    })
}

fn checks(buffer: BoundsCheckPolicy) -> BoundsCheckPolicies {
    let restrict = BoundsCheckPolicy::Restrict;
    BoundsCheckPolicies { index: restrict, buffer, image_load: restrict, binding_array: BoundsCheckPolicy::Unchecked }
}

/// For Vulkan 1.1, and for 1.3 with what its devices check and clear on their own; with the capabilities of a device that has no more
/// than the variant needs.
fn spirv(checked: &Checked) -> Result<(), String> {
    let mut allowed = vec![Capability::Shader, Capability::Matrix];
    if checked.variant.knobs.uses_subgroups() {
        let subgroups = [Capability::GroupNonUniform, Capability::GroupNonUniformVote, Capability::GroupNonUniformArithmetic];
        allowed.extend(subgroups);
        allowed.extend([Capability::GroupNonUniformBallot, Capability::GroupNonUniformShuffle]);
        allowed.extend([Capability::GroupNonUniformShuffleRelative, Capability::GroupNonUniformQuad]);
    }
    if checked.variant.knobs.uses_f16() {
        allowed.push(Capability::Float16);
    }
    if checked.variant.knobs.uses_matrix_units() {
        allowed.extend([Capability::CooperativeMatrixKHR, Capability::VulkanMemoryModel]);
    }
    let info = |(place, number): (ResourceBinding, u32)| {
        (place, spv::BindingInfo { descriptor_set: place.group, binding: number, binding_array_size: None })
    };
    let binding_map: spv::BindingMap = bindings(&checked.variant).map(|(place, _)| place).zip(0..).map(info).collect();
    let devices = [
        ((1, 3), BoundsCheckPolicy::Restrict, spv::ZeroInitializeWorkgroupMemoryMode::Polyfill),
        ((1, 6), BoundsCheckPolicy::Unchecked, spv::ZeroInitializeWorkgroupMemoryMode::Native),
    ];
    devices.into_iter().try_for_each(|(lang_version, buffer, zero_initialize_workgroup_memory)| {
        let options = spv::Options {
            lang_version,
            flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
            fake_missing_bindings: false,
            binding_map: binding_map.clone(),
            capabilities: Some(allowed.iter().copied().collect()),
            bounds_check_policies: checks(buffer),
            zero_initialize_workgroup_memory,
            use_storage_input_output_16: false,
            ..Default::default()
        };
        let entry = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
        spv::write_vec(&checked.module, &checked.info, &options, Some(&entry)).map(drop).map_err(|e| e.to_string())
    })
}

/// For Metal 2.3, that of the first Macs with Apple silicon, and for the newest.
fn metal(checked: &Checked) -> Result<(), String> {
    let slots = bindings(&checked.variant).zip(0..).map(|((place, ty), slot)| {
        let mutable = ty == BufferBindingType::Storage { read_only: false };
        (place, msl::BindTarget { buffer: Some(slot), mutable, ..Default::default() })
    });
    let resources: BTreeMap<_, _> = slots.collect();
    let sizes_buffer = Some(resources.len() as u8);
    let entry = msl::EntryPointResources { resources, immediates_buffer: None, sizes_buffer };
    [(2, 3), (4, 0)].into_iter().try_for_each(|lang_version| {
        let options = msl::Options {
            lang_version,
            per_entry_point_map: [("main".to_string(), entry.clone())].into(),
            fake_missing_bindings: false,
            bounds_check_policies: checks(BoundsCheckPolicy::Restrict),
            ..Default::default()
        };
        let entry_point = Some((ShaderStage::Compute, "main".into()));
        let pipeline = msl::PipelineOptions { entry_point, vertex_pulling_transform: true, ..Default::default() };
        let (_, info) = msl::write_string(&checked.module, &checked.info, &options, &pipeline).map_err(|e| e.to_string())?;
        info.entry_point_names.into_iter().try_for_each(|name| name.map(drop).map_err(|e| e.to_string()))
    })
}

/// For the first shader model that has what the variant needs, 5.1 if that will do, and for the newest.
fn direct3d(checked: &Checked) -> Result<(), String> {
    let first = match (checked.variant.knobs.uses_f16(), checked.variant.knobs.uses_subgroups()) {
        (true, _) => hlsl::ShaderModel::V6_2,
        (false, true) => hlsl::ShaderModel::V6_0,
        (false, false) => hlsl::ShaderModel::V5_1,
    };
    // Constants, buffers that are read and buffers that are written have registers of their own, each from 0 on. Direct3D checks the
    // bounds of all of them: naga is told to check none.
    let (mut read, mut written) = (0.., 0..);
    let binding_map: BTreeMap<_, _> = bindings(&checked.variant)
        .map(|(place, ty)| {
            let register = match ty {
                BufferBindingType::Uniform => Some(0),
                BufferBindingType::Storage { read_only: true } => read.next(),
                BufferBindingType::Storage { read_only: false } => written.next(),
            };
            (place, hlsl::BindTarget { register: register.unwrap_or_default(), ..Default::default() })
        })
        .collect();
    [first, hlsl::ShaderModel::V6_9].into_iter().try_for_each(|shader_model| {
        let options = hlsl::Options {
            shader_model,
            // The number of workgroups is not built in there: wgpu passes it, after the only uniform.
            special_constants_binding: Some(hlsl::BindTarget { register: 1, ..Default::default() }),
            binding_map: binding_map.clone(),
            fake_missing_bindings: false,
            ..Default::default()
        };
        let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())) };
        let mut text = String::new();
        let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
        let info = writer.write(&checked.module, &checked.info, None).map_err(|e| e.to_string())?;
        info.entry_point_names.into_iter().try_for_each(|name| name.map(drop).map_err(|e| e.to_string()))
    })
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
