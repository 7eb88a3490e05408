//! Measures once how fast a device is, when the first work comes that might be too long for one dispatch. Native only: it waits.

use std::time::{Duration, Instant};

use super::device::Shared;
use super::kernel::{AnyVariant, Binding, Kernel, Knobs, Variant};
use crate::Result;

crate::params! {
    struct CalibrateParams { rounds: u32, padding_0: u32, padding_1: u32, padding_2: u32 }
}

/// Invocations of a workgroup, and outer products between two barriers.
const LANES: usize = 64;
const TERMS: usize = 16;
/// Operations of a term: an outer product of two vectors of four, added up.
const OUTER: usize = 32;

static CALIBRATE: Kernel = Kernel {
    name: "gpu/calibrate",
    source: include_str!("../../shaders/gpu/calibrate.wgsl"),
    params: <CalibrateParams as super::kernel::Params>::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Calibrate;

impl Variant for Calibrate {
    fn kernel(&self) -> &'static Kernel {
        &CALIBRATE
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES as u32).u32("TERMS", TERMS as u32)
    }
}

/// The one kernel.
pub(super) fn kernels() -> Vec<AnyVariant> {
    vec![AnyVariant::of(Calibrate)]
}

/// More than any device runs at a time.
const WORKGROUPS: usize = 1024;
/// A time that neither the launch nor the clock's resolution is felt in.
const ENOUGH: Duration = Duration::from_millis(10);
/// Eight times as many from run to run; the last is as long as a driver lets loops be.
const ROUNDS: [u32; 5] = [1, 8, 64, 512, 2048];

/// Floating-point operations a second.
pub(super) fn measure(shared: &Shared) -> Result<f64> {
    let pipeline = shared.pipelines.get(shared, &Calibrate)?;
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let buffer = |elements: usize| {
        let descriptor = wgpu::BufferDescriptor { label: Some("calibrate"), size: 4 * elements as u64, usage, mapped_at_creation: false };
        shared.device.create_buffer(&descriptor)
    };
    let (params, x, y) = shared.scoped(|| (buffer(4), buffer(4 * LANES), buffer(4 * WORKGROUPS * LANES)))?;
    let entries =
        [(0, &params), (1, &x), (2, &y)].map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
    let descriptor = wgpu::BindGroupDescriptor { label: Some("calibrate"), layout: &pipeline.layout, entries: &entries };
    let group = shared.scoped(|| shared.device.create_bind_group(&descriptor))?;
    let run = |rounds: u32| {
        shared.queue.write_buffer(&params, 0, bytemuck::bytes_of(&[rounds, 0, 0, 0]));
        let mut encoder = shared.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline.raw);
        pass.set_bind_group(0, &group, &[0]);
        pass.dispatch_workgroups(WORKGROUPS as u32, 1, 1);
        drop(pass);
        let start = Instant::now();
        shared.scoped(|| shared.queue.submit([encoder.finish()]))?;
        shared.wait(None)?;
        Ok(start.elapsed())
    };
    // What was submitted before is waited for, and a driver may compile now.
    run(1)?;
    let mut speed = 0.0;
    for rounds in ROUNDS {
        let taken: Duration = run(rounds)?;
        speed = (WORKGROUPS * LANES * TERMS * OUTER) as f64 * f64::from(rounds) / taken.as_secs_f64().max(1e-9);
        if taken >= ENOUGH {
            break;
        }
    }
    Ok(speed)
}
