//! What a launch costs: a chain of tiny dispatches, each of which needs the one before, through [`Gpu::dispatch`] and in bare wgpu.
//!
//! Time is the host's, from the first recording until the number at the chain's end has been read, since a launch is the host's work
//! first of all. Both sides run on one device and by turns. The bare side does what a program written for this chain alone would do: its
//! buffers and pipeline are there, every launch has params and a bind group of its own, all params are written at once, and all launches
//! are one pass of one submission.

mod common;

use std::time::Instant;

use common::{Timer, median};
use wattn::gpu::{Bind, Binding, Kernel, Knobs, Params, Variant, Work};
use wattn::ops::Cost;
use wattn::{Error, Gpu, Result, Tensor};

/// Dispatches of a chain.
const LAUNCHES: usize = 1000;

wattn::params! {
    /// As in launch.wgsl.
    struct CountParams { launch: i32 }
}

static COUNT: Kernel = Kernel {
    name: "bench/launch",
    source: include_str!("launch.wgsl"),
    params: CountParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Count;

impl Variant for Count {
    fn kernel(&self) -> &'static Kernel {
        &COUNT
    }

    fn knobs(&self) -> Knobs {
        Knobs::new()
    }
}

/// The chain through wattn, from one cell to the other and back: how many launches were counted.
fn through_wattn(gpu: &Gpu, cells: &[Tensor; 2]) -> Result<i32> {
    for launch in 0..LAUNCHES {
        let params = CountParams { launch: launch as i32 };
        let binds = [Bind::Read(cells[launch % 2].view()), Bind::Write(cells[(launch + 1) % 2].view())];
        gpu.dispatch(Count, &params, &binds, [1, 1, 1], Work { flops: 1.0, bytes: 8.0 })?;
    }
    Ok(cells[LAUNCHES % 2].read_blocking()?[0])
}

/// The same chain in bare wgpu.
struct Bare {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    cells: [wgpu::Buffer; 2],
    uniforms: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// Bytes between the params of two launches.
    stride: usize,
}

/// Bytes of a cell.
const CELL: u64 = 4;

impl Bare {
    fn new(gpu: &Gpu) -> Self {
        let (device, queue) = (gpu.device().clone(), gpu.queue().clone());
        let source = wgpu::ShaderSource::Wgsl(COUNT.source.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        use wgpu::BufferUsages as U;
        let buffer = |size, usage| device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        let stride = device.limits().min_uniform_buffer_offset_alignment as usize;
        Bare {
            cells: [(); 2].map(|()| buffer(CELL, U::STORAGE | U::COPY_SRC)),
            uniforms: buffer((stride * LAUNCHES) as u64, U::UNIFORM | U::COPY_DST),
            staging: buffer(CELL, U::MAP_READ | U::COPY_DST),
            layout: pipeline.get_bind_group_layout(0),
            pipeline,
            stride,
            device,
            queue,
        }
    }

    fn run(&self) -> Result<i32> {
        let mut params = vec![0; self.stride * LAUNCHES];
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        for launch in 0..LAUNCHES {
            let at = launch * self.stride;
            params[at..][..size_of::<CountParams>()].copy_from_slice(bytemuck::bytes_of(&CountParams { launch: launch as i32 }));
            let uniform = wgpu::BufferBinding {
                buffer: &self.uniforms,
                offset: at as u64,
                size: std::num::NonZeroU64::new(size_of::<CountParams>() as u64),
            };
            let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &self.layout,
                entries: &[
                    wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(uniform) },
                    wgpu::BindGroupEntry { binding: 1, resource: self.cells[launch % 2].as_entire_binding() },
                    wgpu::BindGroupEntry { binding: 2, resource: self.cells[(launch + 1) % 2].as_entire_binding() },
                ],
            });
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(1, 1, 1);
        }
        drop(pass);
        encoder.copy_buffer_to_buffer(&self.cells[LAUNCHES % 2], 0, &self.staging, 0, CELL);
        self.queue.write_buffer(&self.uniforms, 0, &params);
        self.queue.submit([encoder.finish()]);
        self.staging.map_async(wgpu::MapMode::Read, .., |_| {});
        let failed = |message: String| Error::Device { message };
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| failed(e.to_string()))?;
        let bytes = self.staging.get_mapped_range(..).map_err(|e| failed(e.to_string()))?;
        let count = bytemuck::pod_read_unaligned(&bytes);
        drop(bytes);
        self.staging.unmap();
        Ok(count)
    }
}

/// The seconds of a chain, and that it was whole.
fn seconds(run: impl FnOnce() -> Result<i32>) -> Result<f64> {
    let start = Instant::now();
    let counted = run()?;
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(counted, LAUNCHES as i32, "launches that ran, each after the one before");
    Ok(seconds)
}

fn main() -> Result<()> {
    let mut timer = Timer::new("launch").by_the_wall();
    let gpu = timer.gpu.clone();
    let (shape, cost) = (LAUNCHES.to_string(), Cost { flops: LAUNCHES as f64, bytes: 8.0 * LAUNCHES as f64 });
    let mut of_bare = vec![];
    let mut of_wattn = timer.time("chain_wattn", &shape, cost, || {
        let cells = [(); 2].map(|()| gpu.tensor(&[0], &[1]).unwrap_or_else(|error| panic!("a cell: {error}")));
        let bare = Bare::new(&gpu);
        let both = move || Ok((seconds(|| through_wattn(&gpu, &cells))?, seconds(|| bare.run())?));
        // Pipelines are made, and both are right, before anything is timed.
        both().unwrap_or_else(|error: Error| panic!("the chain: {error}"));
        let of_bare = &mut of_bare;
        move |iterations| {
            let mut of_wattn = vec![];
            for _ in 0..iterations {
                let (wattn, bare) = both()?;
                of_wattn.push(wattn);
                of_bare.push(bare);
            }
            Ok(of_wattn)
        }
    });
    timer.record("chain_bare", &shape, cost, &mut of_bare);
    if !timer.testing() && !of_wattn.is_empty() {
        let (wattn, bare, ms) = (median(&mut of_wattn), median(&mut of_bare), 1e3);
        let fastest = of_wattn[0] / of_bare[0];
        println!(
            "{LAUNCHES} launches: wattn {:.2} ms, bare wgpu {:.2} ms: {:.2} times as long, of the fastest runs {fastest:.2}",
            wattn * ms,
            bare * ms,
            wattn / bare
        );
    }
    timer.finish();
    Ok(())
}
