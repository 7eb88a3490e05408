//! What naga finds in a shader, against what the host declares and what the default limits allow.

use std::collections::BTreeMap;

use naga::proc::Layouter;
use naga::valid::ModuleInfo;
use naga::{AddressSpace, GlobalVariable, Handle, Module, StorageAccess, TypeInner};
use wattn::gpu::{Access, Kernel, Knobs};
use wattn::wgpu::Limits;

fn layouter(module: &Module) -> Layouter {
    let mut layouter = Layouter::default();
    layouter.update(module.to_ctx()).expect("a valid module has a layout");
    layouter
}

fn name(variable: &GlobalVariable) -> &str {
    variable.name.as_deref().unwrap_or("without a name")
}

/// Every difference between the declaration and the shader.
pub fn compare(kernel: &Kernel, knobs: &Knobs, module: &Module) -> Result<(), String> {
    let mut wrong = vec![];
    let mut bound: BTreeMap<u32, (Handle<GlobalVariable>, &GlobalVariable)> = BTreeMap::new();
    for (handle, variable) in module.global_variables.iter() {
        if let Some(place) = variable.binding {
            if place.group != 0 {
                wrong.push(format!("'{}' is in group {}", name(variable), place.group));
            }
            if bound.insert(place.binding, (handle, variable)).is_some() {
                wrong.push(format!("binding {} is there twice", place.binding));
            }
        }
    }
    match bound.remove(&0) {
        Some((_, variable)) if variable.space == AddressSpace::Uniform => compare_params(kernel, module, variable, &mut wrong),
        Some((_, variable)) => wrong.push(format!("binding 0, '{}', is no uniform", name(variable))),
        None => wrong.push("there is no uniform at binding 0".into()),
    }
    for (number, declared) in kernel.present(knobs) {
        let access = match declared.access {
            Access::Read => StorageAccess::LOAD,
            Access::ReadWrite => StorageAccess::LOAD | StorageAccess::STORE,
        };
        match bound.remove(&number) {
            None => wrong.push(format!("'{}' is declared at binding {number}, where the shader has nothing", declared.name)),
            Some((_, variable)) if name(variable) != declared.name => {
                wrong.push(format!("binding {number} is declared as '{}' and called '{}'", declared.name, name(variable)));
            }
            Some((_, variable)) if variable.space != AddressSpace::Storage { access } => {
                wrong.push(format!("'{}' is declared as {:?} and is {:?}", declared.name, declared.access, variable.space));
            }
            Some(_) => {}
        }
    }
    wrong.extend(bound.iter().map(|(number, (_, v))| format!("'{}' at binding {number} is not declared for this variant", name(v))));
    if !module.entry_points.iter().any(|entry| entry.name == "main" && entry.stage == naga::ShaderStage::Compute) {
        wrong.push("there is no compute entry point 'main'".into());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Names, offsets and sizes of all fields, and the size of the whole.
fn compare_params(kernel: &Kernel, module: &Module, variable: &GlobalVariable, wrong: &mut Vec<String>) {
    let layouter = layouter(module);
    let TypeInner::Struct { members, span } = &module.types[variable.ty].inner else {
        return wrong.push("the uniform at binding 0 is no struct".into());
    };
    for index in 0..members.len().max(kernel.params.len()) {
        let theirs = members.get(index).map(|m| (m.name.as_deref().unwrap_or_default(), m.offset as usize, layouter[m.ty].size as usize));
        let ours = kernel.params.get(index).map(|f| (f.name, f.offset, f.size));
        if ours != theirs {
            wrong.push(format!("params field {index} (name, offset, size): declared {ours:?}, the shader has {theirs:?}"));
        }
    }
    let declared = kernel.params.iter().map(|f| f.offset + f.size).max().unwrap_or(0);
    if declared != *span as usize {
        wrong.push(format!("params take {declared} bytes as declared and {span} in the shader"));
    }
}

/// Whether every entry point is within the limits that a device must have.
pub fn fits(module: &Module, info: &ModuleInfo, limits: &Limits) -> Result<(), String> {
    let layouter = layouter(module);
    let mut wrong = vec![];
    let mut limit = |what: &str, got: u32, limit: u32| {
        if got > limit {
            wrong.push(format!("{got} {what}, over the limit of {limit}"));
        }
    };
    let storage = module.global_variables.iter().filter(|(_, v)| matches!(v.space, AddressSpace::Storage { .. }));
    // A bound buffer counts, used or not.
    limit("storage buffers", storage.count() as u32, limits.max_storage_buffers_per_shader_stage);
    for (index, entry) in module.entry_points.iter().enumerate() {
        let used = info.get_entry_point(index);
        let memory = module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
        // Counted as WebGPU does: every variable from a multiple of 16 on.
        let bytes = memory.filter(|(handle, _)| !used[*handle].is_empty()).map(|(_, v)| layouter[v.ty].size.next_multiple_of(16)).sum();
        limit("bytes of workgroup memory", bytes, limits.max_compute_workgroup_storage_size);
        let [x, y, z] = entry.workgroup_size;
        limit("invocations", x * y * z, limits.max_compute_invocations_per_workgroup);
        limit("invocations in x", x, limits.max_compute_workgroup_size_x);
        limit("invocations in y", y, limits.max_compute_workgroup_size_y);
        limit("invocations in z", z, limits.max_compute_workgroup_size_z);
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
