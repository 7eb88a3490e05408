//! Every variant of every kernel: the list that is checked here, and by tests/tint.

use std::collections::BTreeMap;

use wattn::gpu::{AnyVariant, Caps};
use wattn::ops::REGISTRY;
use wattn::wgpu;

/// The name that failures are reported under.
pub fn label(variant: &AnyVariant) -> String {
    format!("{} ({})", variant.kernel.name, variant.knobs)
}

/// A device with WebGPU's default limits and no feature.
fn baseline() -> Caps {
    let limits = wgpu::Limits::defaults();
    Caps {
        f16: false,
        subgroups: false,
        timestamps: false,
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
        max_binding: limits.max_storage_buffer_binding_size,
        max_buffer: limits.max_buffer_size,
        max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
        max_invocations: limits.max_compute_invocations_per_workgroup,
        max_workgroups: limits.max_compute_workgroups_per_dimension,
        storage_alignment: limits.min_storage_buffer_offset_alignment,
        matrix_units: vec![],
        ..Caps::everything()
    }
}

/// A driver on the CPU whose subgroups all have this width.
fn software(width: u32) -> Caps {
    let mut caps = Caps { software: true, subgroup_min: width, subgroup_max: width, ..Caps::everything() };
    // As lavapipe has them, whatever its width: one size.
    caps.matrix_units.retain(|unit| unit.0.m_size == 8);
    caps
}

/// The variants of all operations on a device with everything, on one with nothing and on software of each width, and the device layer's
/// own, each once.
pub fn variants() -> Vec<AnyVariant> {
    let caps: Vec<Caps> = [Caps::everything(), baseline()].into_iter().chain([4, 8, 16].map(software)).collect();
    let all = caps.iter().flat_map(|caps| REGISTRY.iter().flat_map(|op| op.kernels(caps))).chain(wattn::gpu::kernels());
    let unique: BTreeMap<String, AnyVariant> = all.map(|variant| (label(&variant), variant)).collect();
    unique.into_values().collect()
}
