//! An operation in an application that has its own wgpu device: its buffers, its encoder, its submission.
//!
//!     cargo run --release --example own_device
//!
//! Nothing is copied between the application and wattn, and wattn submits nothing: it records its dispatches between the
//! application's own passes.

use wattn::ops::softmax;
use wattn::wgpu::{self, util::DeviceExt};
use wattn::{DType, Gpu, Tensor};

const ROWS: usize = 3;
const COLUMNS: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    // What the application has anyway. `recommended` says what wattn can make use of; WebGPU's defaults are enough for it.
    let instance = wgpu::Instance::default();
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await?;
    let (required_features, required_limits) = wattn::recommended(&adapter);
    let descriptor = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
    let (device, queue) = adapter.request_device(&descriptor).await?;
    let scores: Vec<f32> = (0..ROWS * COLUMNS).map(|i| (i as f32).sin()).collect();
    let buffer = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: Some("scores"),
        contents: wattn::bytemuck::cast_slice(&scores),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    });

    // wattn joins in: a handle to the same device, which installs no handler on it, and a tensor that is the application's buffer.
    let gpu = Gpu::from_wgpu(&adapter, device.clone(), queue.clone())?;
    device.set_device_lost_callback(gpu.device_lost_callback());
    let x = Tensor::from_buffer(&gpu, buffer, 0, &[ROWS, COLUMNS], DType::F32)?;

    // The application's encoder. Its own passes may come before and after.
    let mut encoder = device.create_command_encoder(&Default::default());
    let softmax = gpu.encode(&mut encoder, |gpu| softmax::forward(gpu, &x, None, &Default::default()))?;
    let result = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("result"),
        size: softmax.y.bytes(),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    encoder.copy_buffer_to_buffer(softmax.y.buffer(), softmax.y.offset(), &result, 0, softmax.y.bytes());
    queue.submit([encoder.finish()]);

    // Read by the application's own means…
    result.map_async(wgpu::MapMode::Read, .., |outcome| outcome.expect("mapping for reading"));
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let weights: Vec<f32> = wattn::bytemuck::cast_slice(&result.get_mapped_range(..)?).to_vec();
    // …or by wattn's, which waits for what was submitted before.
    assert_eq!(weights, softmax.y.read::<f32>().await?);

    for (row, logits) in weights.chunks(COLUMNS).zip(scores.chunks(COLUMNS)) {
        let sum: f32 = logits.iter().map(|x| x.exp()).sum();
        for (weight, logit) in row.iter().zip(logits) {
            assert!((weight - logit.exp() / sum).abs() < 1e-6, "{weight} is not the softmax of {logit}");
        }
        println!("{row:.4?}");
    }
    Ok(())
}
