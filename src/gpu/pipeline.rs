//! Pipelines, made once for each (kernel, variant).

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::compose::compose;
use super::device::Shared;
use super::kernel::{Access, Field, Kernel, Knobs, Variant};
use crate::{Error, Result};

/// A compiled variant.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub raw: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    pub kernel: &'static Kernel,
    pub knobs: Knobs,
    /// Bytes that the params uniform takes.
    pub params_size: usize,
    /// For each of the kernel's bindings its number and access, or `None` where the variant lacks it.
    pub bindings: Vec<Option<(u32, Access)>>,
}

type Variants<V> = HashMap<V, Arc<Pipeline>>;

/// The pipelines of one device, by the type of the variant and then by the variant itself.
#[derive(Debug, Default)]
pub(super) struct Cache {
    by_type: Mutex<HashMap<TypeId, Box<dyn Any + Send>>>,
}

impl Cache {
    /// The variant's pipeline, compiled at the first call.
    pub fn get<V: Variant>(&self, shared: &Shared, variant: &V) -> Result<Arc<Pipeline>> {
        // Held while compiling: two threads that want the same variant compile it once.
        let mut by_type = self.by_type.lock().unwrap_or_else(PoisonError::into_inner);
        let variants = by_type.entry(TypeId::of::<V>()).or_insert_with(|| Box::new(Variants::<V>::new()));
        let Some(variants) = variants.downcast_mut::<Variants<V>>() else { unreachable!("the entry of V's TypeId holds Variants<V>") };
        if let Some(pipeline) = variants.get(variant) {
            return Ok(pipeline.clone());
        }
        let pipeline = Arc::new(compile(shared, variant.kernel(), variant.knobs())?);
        variants.insert(*variant, pipeline.clone());
        Ok(pipeline)
    }
}

/// Bytes that the params uniform takes.
fn params_size(fields: &[Field]) -> usize {
    fields.iter().map(|f| f.offset + f.size).max().unwrap_or(0)
}

/// The layout entries of a variant: the uniform, then the bindings that are present.
pub(super) fn layout_entries(kernel: &Kernel, knobs: &Knobs) -> Vec<wgpu::BindGroupLayoutEntry> {
    let entry = |binding, ty, size| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: size },
        count: None,
    };
    let size = std::num::NonZeroU64::new(params_size(kernel.params) as u64);
    // Every dispatch has a bind group of its own anyway, so no offset is dynamic: lavapipe would make a second group for each that is
    // (lvp_execute.c, apply_dynamic_offsets), which made a launch half as long again.
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform, size)];
    entries.extend(kernel.present(knobs).map(|(number, binding)| {
        let ty = wgpu::BufferBindingType::Storage { read_only: binding.access == Access::Read };
        entry(number, ty, None)
    }));
    entries
}

fn compile(shared: &Shared, kernel: &'static Kernel, knobs: Knobs) -> Result<Pipeline> {
    let text = compose(kernel, &knobs)?;
    let device = &shared.device;
    let refused = |e| match e {
        Error::Device { message } => Error::Shader { kernel: format!("{} ({knobs})", kernel.name), message },
        other => other,
    };
    let module = shared.scoped(|| {
        device
            .create_shader_module(wgpu::ShaderModuleDescriptor { label: Some(kernel.name), source: wgpu::ShaderSource::Wgsl(text.into()) })
    });
    let module = module.map_err(refused)?;
    let pipeline = shared.scoped(|| {
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(kernel.name),
            entries: &layout_entries(kernel, &knobs),
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(kernel.name),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        (raw, layout)
    });
    let (raw, layout) = pipeline.map_err(refused)?;
    let bindings = kernel.bindings.iter().zip(1..).map(|(b, number)| b.present(&knobs).then_some((number, b.access))).collect();
    shared.count_pipeline();
    Ok(Pipeline { raw, layout, kernel, knobs, params_size: params_size(kernel.params), bindings })
}
