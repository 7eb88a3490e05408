//! burn's device, on the adapter that wattn has opened.

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use wattn::wgpu;

use crate::Result;

/// Opens a device on the adapter that wattn has opened.
pub fn open(wanted: &wgpu::AdapterInfo) -> Result<Device> {
    let (device, setup) = Device::wgpu_options().device_kind(kind(wanted)).graphics_api(api(wanted)?).init_with_setup()?;
    let info = setup.adapter.get_info();
    // burn takes a kind and a number where wattn takes a name.
    if (&info.name, &info.driver, &info.driver_info) != (&wanted.name, &wanted.driver, &wanted.driver_info) {
        return Err(format!("burn opens '{}', wattn '{}': choose an adapter that is the first of its kind", info.name, wanted.name).into());
    }
    Ok(device)
}

/// A tensor of these values.
pub fn upload<const N: usize>(values: &[f32], shape: [usize; N], device: &Device) -> Tensor<N> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// A tensor's values.
pub fn read<const N: usize>(tensor: Tensor<N>) -> Result<Vec<f32>> {
    Ok(tensor.into_data().try_into_vec()?)
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
