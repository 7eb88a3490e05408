//! Adapters: listing them, choosing one, and what the chosen one can do.

use super::kernel::Knobs;
use crate::{Error, Result};

/// Storage buffers a stage that every kernel may count on: WebGPU's default.
pub(super) const STORAGE_BUFFERS: u32 = 8;

/// What some devices have and every kernel can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Optional {
    /// f16 in storage and arithmetic: without it a tensor of f16 is [`Error::Dtype`].
    F16,
    /// Subgroup operations.
    Subgroups,
    /// Matrix units.
    MatrixUnits,
}

impl Optional {
    /// All of them.
    pub const ALL: [Optional; 3] = [Optional::MatrixUnits, Optional::Subgroups, Optional::F16];
}

impl std::fmt::Display for Optional {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Optional::F16 => "f16",
            Optional::Subgroups => "subgroups",
            Optional::MatrixUnits => "matrix units",
        })
    }
}

/// A shape and a pair of types that a device's matrix units multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixUnit(pub wgpu::wgt::CooperativeMatrixProperties);

impl MatrixUnit {
    /// Rows, columns and depth of what it multiplies, if kernels use it: square blocks of f16 that WGSL has a type for, added up in f32.
    fn size(&self) -> Option<u32> {
        use wgpu::wgt::CooperativeScalarType::{F16, F32};
        let unit = &self.0;
        let square = unit.m_size == unit.n_size && unit.m_size == unit.k_size && [8, 16].contains(&unit.m_size);
        (square && unit.ab_type == F16 && unit.cr_type == F32).then_some(unit.m_size)
    }
}

impl std::fmt::Display for MatrixUnit {
    /// `8x8x8 F16 into F32`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = &self.0;
        write!(f, "{}x{}x{} {:?} into {:?}", unit.m_size, unit.n_size, unit.k_size, unit.ab_type, unit.cr_type)
    }
}

/// How kernels use matrix units: the knobs of shaders/lib/matrix.wgsl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatrixTeams {
    /// Rows, columns and depth of the blocks.
    pub size: u32,
    /// Invocations of a workgroup.
    pub lanes: u32,
}

impl MatrixTeams {
    /// TEAMS of the shader: the subgroups of a workgroup, where they are as large as they get.
    pub const TEAMS: u32 = 4;

    pub fn knobs(&self) -> Knobs {
        let knobs = Knobs::new().flag("MATRIX_8", self.size == 8).flag("MATRIX_16", self.size == 16);
        knobs.u32("LANES", self.lanes).u32("TEAMS", Self::TEAMS)
    }
}

/// What a device can do, as far as a choice of kernels depends on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Caps {
    /// f16 in storage and arithmetic (`SHADER_F16`).
    pub f16: bool,
    /// Subgroup operations.
    pub subgroups: bool,
    /// The smallest subgroup that a pipeline may run with.
    pub subgroup_min: u32,
    /// The largest.
    pub subgroup_max: u32,
    /// Timestamps at the ends of a pass.
    pub timestamps: bool,
    /// Storage buffers that a kernel may bind.
    pub storage_buffers: u32,
    /// Bytes that one storage binding may span.
    pub max_binding: u64,
    /// Bytes of the largest buffer.
    pub max_buffer: u64,
    /// Bytes of workgroup memory.
    pub max_workgroup_bytes: u32,
    /// Invocations of a workgroup.
    pub max_invocations: u32,
    /// Workgroups in each dimension of a dispatch.
    pub max_workgroups: u32,
    /// Alignment of a storage binding's start, in bytes.
    pub storage_alignment: u32,
    /// Matrix units: the shapes and types of cooperative matrices.
    pub matrix_units: Vec<MatrixUnit>,
    /// Rounds of all loops together after which an invocation is stopped, silently: Mesa's lavapipe before 25 does that.
    pub max_rounds: Option<u32>,
    /// A driver that runs on the CPU.
    pub software: bool,
    /// The kind of device, which says how much work one submission may hold.
    pub kind: wgpu::DeviceType,
}

impl Caps {
    pub(super) fn of(
        info: &wgpu::AdapterInfo,
        features: wgpu::Features,
        limits: &wgpu::Limits,
        matrices: Vec<wgpu::wgt::CooperativeMatrixProperties>,
    ) -> Self {
        let usable = features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP);
        Caps {
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            subgroup_min: info.subgroup_min_size,
            subgroup_max: info.subgroup_max_size,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            storage_buffers: limits.max_storage_buffers_per_shader_stage,
            // A binding's size is a whole number of 32-bit words, and element indices inside it are u32.
            max_binding: limits.max_storage_buffer_binding_size.min(1 << 31) & !3,
            // So is a buffer's that the host writes.
            max_buffer: limits.max_buffer_size & !3,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            storage_alignment: limits.min_storage_buffer_offset_alignment,
            matrix_units: matrices.into_iter().filter(|_| usable).map(MatrixUnit).collect(),
            // Found with a sum of 70,000 terms. Work cut to fit costs later versions nothing that could be measured, so none is told apart.
            max_rounds: (info.driver == "llvmpipe").then_some(65_535),
            software: info.device_type == wgpu::DeviceType::Cpu,
            kind: info.device_type,
        }
    }

    /// A device with everything that some device has, for listing every variant without one.
    pub fn everything() -> Self {
        // Subgroups as large as are found on GPUs.
        let info =
            wgpu::AdapterInfo { subgroup_max_size: 64, ..wgpu::AdapterInfo::new(wgpu::DeviceType::DiscreteGpu, wgpu::Backend::Noop) };
        let unit = |size| wgpu::wgt::CooperativeMatrixProperties {
            m_size: size,
            n_size: size,
            k_size: size,
            ab_type: wgpu::wgt::CooperativeScalarType::F16,
            cr_type: wgpu::wgt::CooperativeScalarType::F32,
            saturating_accumulation: false,
        };
        let caps = Caps::of(&info, wgpu::Features::all(), &wgpu::Limits::defaults(), [8, 16].map(unit).to_vec());
        // What has matrix units has more of it than WebGPU asks for.
        Caps { max_workgroup_bytes: 64 << 10, ..caps }
    }

    /// Whether a kernel may use `feature`.
    pub fn has(&self, feature: Optional) -> bool {
        match feature {
            Optional::F16 => self.f16,
            Optional::Subgroups => self.subgroups,
            Optional::MatrixUnits => !self.matrix_units.is_empty(),
        }
    }

    pub(super) fn remove(&mut self, feature: Optional) {
        match feature {
            Optional::F16 => self.f16 = false,
            // Matrix units are used by whole subgroups.
            Optional::Subgroups => (self.subgroups, self.matrix_units) = (false, vec![]),
            Optional::MatrixUnits => self.matrix_units.clear(),
        }
    }

    /// Matrix units of f16 with sums in f32, the largest that there are, if a workgroup can hold the subgroups that share one.
    pub(crate) fn matrix_teams(&self) -> Option<MatrixTeams> {
        let lanes = self.subgroup_max.checked_mul(MatrixTeams::TEAMS).filter(|&lanes| lanes <= self.max_invocations)?;
        let size = self.matrix_units.iter().filter_map(MatrixUnit::size).max()?;
        self.f16.then_some(MatrixTeams { size, lanes })
    }

    /// Bytes that a binding holds from any start on: it begins at an aligned one before it.
    pub(crate) fn max_window(&self) -> usize {
        (self.max_binding - u64::from(self.storage_alignment)) as usize
    }

    /// The width of subgroups, where all have the same.
    pub fn subgroup_width(&self) -> Option<u32> {
        (self.subgroups && self.subgroup_min == self.subgroup_max).then_some(self.subgroup_min)
    }
}

/// The features and limits that wattn makes use of, as far as the adapter has them: what an application should
/// create its device with. It runs with WebGPU's defaults and no feature as well, only slower and without f16. Where the device has
/// `EXPERIMENTAL_COOPERATIVE_MATRIX` as well, which wgpu lets nobody have by accident, products of f16 take matrix units.
pub fn recommended(adapter: &wgpu::Adapter) -> (wgpu::Features, wgpu::Limits) {
    let wanted = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY;
    (adapter.features() & wanted, adapter.limits())
}

/// What wattn asks for when it creates a device itself: what it recommends, and matrix units, for which wgpu wants to be told that
/// experimental features are meant.
pub(super) fn wanted(adapter: &wgpu::Adapter) -> (wgpu::Features, wgpu::Limits) {
    let (features, limits) = recommended(adapter);
    (features | adapter.features() & wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, limits)
}

/// One adapter of this machine.
#[derive(Clone, Debug)]
pub struct AdapterReport {
    /// Its place in the list, which `--device` takes.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Discrete, integrated, virtual or software.
    pub kind: String,
    /// Vulkan, Metal, DX12 or the browser.
    pub backend: String,
    /// The driver.
    pub driver: String,
    /// Its version, in the driver's own words.
    pub driver_info: String,
    /// Why wattn cannot use it, if so.
    pub unusable: Option<String>,
    /// What a device on it could do.
    pub caps: Caps,
}

/// The adapters of this machine, the best first.
#[cfg(not(target_arch = "wasm32"))]
pub fn adapters() -> Vec<AdapterReport> {
    let report = |(index, adapter): (usize, &wgpu::Adapter)| {
        let info = adapter.get_info();
        let (features, limits) = wanted(adapter);
        AdapterReport {
            index,
            kind: kind(info.device_type).to_string(),
            backend: info.backend.to_string(),
            unusable: unusable(adapter),
            caps: Caps::of(&info, features, &limits, adapter.cooperative_matrix_properties()),
            name: info.name,
            driver: info.driver,
            driver_info: info.driver_info,
        }
    };
    pollster::block_on(list()).iter().enumerate().map(report).collect()
}

#[cfg(not(target_arch = "wasm32"))]
fn kind(device_type: wgpu::DeviceType) -> &'static str {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete",
        wgpu::DeviceType::IntegratedGpu => "integrated",
        wgpu::DeviceType::VirtualGpu => "virtual",
        wgpu::DeviceType::Cpu => "software",
        wgpu::DeviceType::Other => "other",
    }
}

/// All adapters: GPUs before software, and in the order of the drivers otherwise.
async fn list() -> Vec<wgpu::Adapter> {
    let descriptor = wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12 | wgpu::Backends::BROWSER_WEBGPU,
        // Validation layers and debug labels are for people who debug wgpu.
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    };
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters
}

fn unusable(adapter: &wgpu::Adapter) -> Option<String> {
    let flags = adapter.get_downlevel_capabilities().flags;
    let buffers = adapter.limits().max_storage_buffers_per_shader_stage;
    if !flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
        Some("it has no compute shaders".into())
    } else if buffers < STORAGE_BUFFERS {
        Some(format!("it binds {buffers} storage buffers a stage, {STORAGE_BUFFERS} are needed"))
    } else {
        None
    }
}

/// The adapter that `wanted` names: `auto`, an index, or part of a name.
pub(super) async fn pick(wanted: &str) -> Result<wgpu::Adapter> {
    let adapters = list().await;
    let describe = |(index, adapter): (usize, &wgpu::Adapter)| {
        let reason = unusable(adapter).map_or(String::new(), |why| format!(", passed over: {why}"));
        format!("{index} {}{reason}", adapter.get_info().name)
    };
    let found: Vec<String> = adapters.iter().enumerate().map(describe).collect();
    let found = if found.is_empty() { "none".to_string() } else { found.join("; ") };
    let fits = |(index, adapter): (usize, &wgpu::Adapter)| match wanted.parse::<usize>() {
        Ok(number) => index == number,
        Err(_) => wanted == "auto" || adapter.get_info().name.to_lowercase().contains(&wanted.to_lowercase()),
    };
    let chosen = adapters.iter().enumerate().position(|at| fits(at) && unusable(at.1).is_none());
    match chosen {
        Some(index) => Ok(adapters.into_iter().nth(index).unwrap_or_else(|| unreachable!("position is inside"))),
        // A name or number that is not there is the user's mistake; a machine without adapters is not.
        None if wanted != "auto" => Err(Error::Argument {
            op: "device",
            key: "device".into(),
            expected: format!("auto, cpu, or one of: {found}"),
            got: format!("'{wanted}'"),
        }),
        None => Err(Error::NoAdapter { wanted: wanted.to_string(), found }),
    }
}
