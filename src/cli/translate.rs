//! A composed shader in the languages that drivers take, through naga: what `wattn shaders` prints and checks.

use naga::back::{hlsl, msl, spv, wgsl};
use naga::valid::{Capabilities, ModuleInfo, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, Module};

use crate::gpu::{AnyVariant, compose};
use crate::{Error, Result};

/// One variant of a kernel, composed, parsed and validated.
pub struct Translated {
    kernel: &'static str,
    text: String,
    module: Module,
    info: ModuleInfo,
}

impl Translated {
    /// Composes, parses and validates a variant, with no capability beyond what it declares.
    ///
    /// # Errors
    /// [`Error::Shader`] with the compiler's message and its caret.
    pub fn new(variant: &AnyVariant) -> Result<Self> {
        let kernel = variant.kernel.name;
        let text = compose(variant.kernel, &variant.knobs)?;
        let failed = |message| Error::Shader { kernel: format!("{kernel} {}", variant.knobs), message };
        let module = naga::front::wgsl::parse_str(&text).map_err(|e| failed(e.emit_to_string_with_path(&text, kernel)))?;
        let mut capabilities = Capabilities::SUBGROUP;
        if variant.knobs.uses_f16() {
            capabilities |= Capabilities::SHADER_FLOAT16;
        }
        if variant.knobs.uses_matrix_units() {
            capabilities |= Capabilities::COOPERATIVE_MATRIX;
        }
        let info = Validator::new(ValidationFlags::all(), capabilities)
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(SubgroupOperationSet::all())
            .validate(&module)
            .map_err(|e| failed(e.emit_to_string_with_path(&text, kernel)))?;
        Ok(Translated { kernel, text, module, info })
    }

    /// The composed WGSL, as the device gets it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parsed module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The WGSL that naga writes: what remains of the text when names, comments and constants have been resolved.
    ///
    /// # Errors
    /// [`Error::Shader`] when the writer refuses.
    pub fn wgsl(&self) -> Result<String> {
        wgsl::write_string(&self.module, &self.info, wgsl::WriterFlags::empty()).map_err(|e| self.failed("WGSL", e))
    }

    /// SPIR-V 1.3, for Vulkan.
    ///
    /// # Errors
    /// [`Error::Shader`] when the writer refuses.
    pub fn spirv(&self) -> Result<Vec<u32>> {
        let options = spv::Options { lang_version: (1, 3), flags: spv::WriterFlags::empty(), ..Default::default() };
        let entry = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".into() };
        spv::write_vec(&self.module, &self.info, &options, Some(&entry)).map_err(|e| self.failed("SPIR-V", e))
    }

    /// The Metal Shading Language. Buffers keep their binding numbers; the sizes of runtime-sized arrays follow the last.
    ///
    /// # Errors
    /// [`Error::Shader`] when the writer refuses.
    pub fn msl(&self) -> Result<String> {
        let mut slots = msl::EntryPointResources::default();
        for (_, variable) in self.module.global_variables.iter() {
            let Some(binding) = variable.binding else { continue };
            let slot = u8::try_from(binding.binding).map_err(|e| self.failed("MSL", e))?;
            let mutable = matches!(variable.space, AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE));
            slots.resources.insert(binding, msl::BindTarget { buffer: Some(slot), mutable, ..Default::default() });
            slots.sizes_buffer = slots.sizes_buffer.max(slot.checked_add(1));
        }
        let options = msl::Options {
            lang_version: (2, 4),
            per_entry_point_map: [("main".to_string(), slots)].into(),
            fake_missing_bindings: false,
            ..Default::default()
        };
        let (text, _) =
            msl::write_string(&self.module, &self.info, &options, &msl::PipelineOptions::default()).map_err(|e| self.failed("MSL", e))?;
        Ok(text)
    }

    /// HLSL, shader model 6.2, for Direct3D 12.
    ///
    /// # Errors
    /// [`Error::Shader`] when the writer refuses.
    pub fn hlsl(&self) -> Result<String> {
        let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_2, ..Default::default() };
        let pipeline = hlsl::PipelineOptions::default();
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &pipeline).write(&self.module, &self.info, None).map_err(|e| self.failed("HLSL", e))?;
        Ok(text)
    }

    fn failed(&self, language: &str, error: impl std::fmt::Display) -> Error {
        Error::Shader { kernel: self.kernel.to_string(), message: format!("no {language} can be written: {error}") }
    }
}

/// Composes a variant and passes it through every writer; without HLSL where it is for matrix units, which that language does not have.
///
/// # Errors
/// [`Error::Shader`] for the first that refuses.
pub fn check(variant: &AnyVariant) -> Result<()> {
    let translated = Translated::new(variant)?;
    translated.wgsl()?;
    translated.spirv()?;
    translated.msl()?;
    if !variant.knobs.uses_matrix_units() {
        translated.hlsl()?;
    }
    Ok(())
}
