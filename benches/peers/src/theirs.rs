//! burn's side.

use burn::tensor::module::{attention, attention_fallback};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use wattn::wgpu;

use crate::{Case, Drawn, Outputs, Result, Side};

/// The inputs on burn's device: plain ones for inference, others that autodiff follows.
pub struct Burn {
    device: Device,
    plain: [Tensor<4>; 3],
    tracked: [Tensor<4>; 3],
    d_o: Tensor<4>,
}

impl Burn {
    /// Opens a device on the adapter that wattn has opened.
    pub fn new(wanted: &wgpu::AdapterInfo, drawn: &Drawn) -> Result<Self> {
        let (device, setup) = Device::wgpu_options().device_kind(kind(wanted)).graphics_api(api(wanted)?).init_with_setup()?;
        let info = setup.adapter.get_info();
        // burn takes a kind and a number where wattn takes a name.
        if (&info.name, &info.driver, &info.driver_info) != (&wanted.name, &wanted.driver, &wanted.driver_info) {
            return Err(
                format!("burn opens '{}', wattn '{}': choose an adapter that is the first of its kind", info.name, wanted.name).into()
            );
        }
        let upload = |values: &[f32], device: &Device| Tensor::from_data(TensorData::new(values.to_vec(), drawn.shape()), device);
        let differentiating = device.clone().autodiff();
        let all = |device: &Device| [&drawn.q, &drawn.k, &drawn.v].map(|values| upload(values, device));
        let (plain, tracked) = (all(&device), all(&differentiating).map(Tensor::require_grad));
        let d_o = upload(&drawn.d_o, &differentiating);
        device.sync()?;
        Ok(Burn { device, plain, tracked, d_o })
    }

    pub fn side(&self, case: Case) -> Side<'_> {
        let run = move || if case.backward { self.both(case) } else { self.forward(case, attention) };
        Side { name: "burn", run: Box::new(run) }
    }

    pub fn composed(&self, case: Case) -> Side<'_> {
        Side { name: "burn composed", run: Box::new(move || self.forward(case, attention_fallback)) }
    }

    fn forward(&self, case: Case, attend: Attend) -> Result<Outputs> {
        let [q, k, v] = self.plain.clone();
        let o = attend(q, k, v, None, None, options(case));
        self.finish(vec![("o", o)])
    }

    fn both(&self, case: Case) -> Result<Outputs> {
        let [q, k, v] = self.tracked.clone();
        let o = attention(q, k, v, None, None, options(case));
        let gradients = (o.clone() * self.d_o.clone()).backward();
        let mut tensors = vec![("o", o.without_autodiff())];
        for (name, tensor) in ["d_q", "d_k", "d_v"].into_iter().zip(&self.tracked) {
            tensors.push((name, tensor.grad(&gradients).ok_or("burn returns no gradient")?));
        }
        self.finish(tensors)
    }

    fn finish(&self, tensors: Vec<(&'static str, Tensor<4>)>) -> Result<Outputs> {
        self.device.sync()?;
        Ok(Box::new(move || tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.into_data().try_into_vec()?))).collect()))
    }
}

/// `attention` or `attention_fallback`.
type Attend =
    fn(Tensor<4>, Tensor<4>, Tensor<4>, Option<Tensor<4, burn::tensor::Bool>>, Option<Tensor<4>>, AttentionModuleOptions) -> Tensor<4>;

// No scale: burn's default is wattn's, and its fused kernel takes no other.
fn options(case: Case) -> AttentionModuleOptions {
    AttentionModuleOptions { is_causal: case.causal, ..Default::default() }
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
