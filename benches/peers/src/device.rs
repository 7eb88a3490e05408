//! burn's device, on the adapter that wattn has opened, and what goes to it and comes back.

use std::fmt::{self, Display};
use std::str::FromStr;

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use wattn::{Array, wgpu};

use crate::Result;
use crate::case::floats;
use crate::turns::Outputs;

const KINDS: [DeviceKind; 5] =
    [DeviceKind::DiscreteGpu(0), DeviceKind::IntegratedGpu(0), DeviceKind::VirtualGpu(0), DeviceKind::Cpu, DeviceKind::DefaultDevice];

const APIS: [WgpuBackend; 3] = [WgpuBackend::Vulkan, WgpuBackend::Metal, WgpuBackend::Dx12];

/// Where burn finds an adapter: it takes a kind and a number where wattn takes a name. As text, it goes to another process.
#[derive(Clone)]
pub struct Place {
    kind: DeviceKind,
    api: WgpuBackend,
}

impl Place {
    /// Opens the device there.
    pub fn open(&self) -> Result<(Device, wgpu::AdapterInfo)> {
        let options = Device::wgpu_options().device_kind(self.kind.clone()).graphics_api(self.api);
        let (device, setup) = options.init_with_setup()?;
        Ok((device, setup.adapter.get_info()))
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.kind, self.api)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut all = KINDS.into_iter().flat_map(|kind| APIS.map(|api| Place { kind: kind.clone(), api }));
        all.find(|place| place.to_string() == text).ok_or_else(|| format!("no place is '{text}'"))
    }
}

/// Opens a device on the adapter that wattn has opened.
pub fn open(wanted: &wgpu::AdapterInfo) -> Result<(Device, Place)> {
    let place = Place { kind: kind(wanted), api: api(wanted)? };
    let (device, info) = place.open()?;
    if (&info.name, &info.driver, &info.driver_info) != (&wanted.name, &wanted.driver, &wanted.driver_info) {
        return Err(format!("burn opens '{}', wattn '{}': choose an adapter that is the first of its kind", info.name, wanted.name).into());
    }
    Ok((device, place))
}

fn kind(info: &wgpu::AdapterInfo) -> DeviceKind {
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu(0),
        wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu(0),
        wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu(0),
        wgpu::DeviceType::Cpu => DeviceKind::Cpu,
        wgpu::DeviceType::Other => DeviceKind::DefaultDevice,
    }
}

fn api(info: &wgpu::AdapterInfo) -> Result<WgpuBackend> {
    match info.backend {
        wgpu::Backend::Vulkan => Ok(WgpuBackend::Vulkan),
        wgpu::Backend::Metal => Ok(WgpuBackend::Metal),
        wgpu::Backend::Dx12 => Ok(WgpuBackend::Dx12),
        other => Err(format!("burn is not asked for {other}").into()),
    }
}

/// A tensor of these values.
pub fn upload<const N: usize>(values: &[f32], shape: [usize; N], device: &Device) -> Tensor<N> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// A drawn tensor.
pub fn drawn<const N: usize>(array: &Array, device: &Device) -> Result<Tensor<N>> {
    Ok(upload(floats(array)?, array.shape().try_into()?, device))
}

/// A tensor's values.
pub fn read<const N: usize>(tensor: Tensor<N>) -> Result<Vec<f32>> {
    Ok(tensor.into_data().try_into_vec()?)
}

/// What gives the values of one of burn's results, which is on the device until then.
type Pending = Box<dyn FnOnce() -> Result<Vec<f32>>>;

/// burn's results by name.
#[derive(Default)]
pub struct Pendings(Vec<(String, Pending)>);

impl Pendings {
    /// A result that is one tensor.
    pub fn push<const N: usize>(&mut self, name: impl Into<String>, tensor: Tensor<N>) {
        self.push_with(name, move || read(tensor));
    }

    /// A result that `values` makes of what it holds.
    pub fn push_with(&mut self, name: impl Into<String>, values: impl FnOnce() -> Result<Vec<f32>> + 'static) {
        self.0.push((name.into(), Box::new(values)));
    }

    /// Waits for the device.
    pub fn finish(self, device: &Device) -> Result<Outputs> {
        device.sync()?;
        Ok(Box::new(move || self.0.into_iter().map(|(name, values)| Ok((name, values()?))).collect()))
    }
}
