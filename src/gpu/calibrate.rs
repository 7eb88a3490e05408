//! Measures once how fast a device is, when the first work comes that might be too long for one dispatch. Native only: it waits.

use std::time::{Duration, Instant};

use super::budget::Budget;
use super::device::{Gpu, Shared};
use super::kernel::{AnyVariant, Binding, Kernel, Knobs, Variant};
use super::recorder::Work;
use crate::Result;

crate::params! {
    struct CalibrateParams { rounds: u32, padding_0: u32, padding_1: u32, padding_2: u32 }
}

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
        Knobs::new()
    }
}

/// The kernels of the device layer itself.
pub fn kernels() -> Vec<AnyVariant> {
    vec![AnyVariant::of(Calibrate)]
}

const LANES: usize = 64;
const TERMS: usize = 16;
/// Operations of a term: an outer product of two vectors of four, added up.
const OUTER: usize = 32;
/// More than any device runs at a time.
const WORKGROUPS: usize = 1024;
/// A time that neither the launch nor the clock's resolution is felt in.
const ENOUGH: Duration = Duration::from_millis(10);
/// Eight times as many from run to run; the last is as long as a driver lets loops be.
const ROUNDS: [u32; 5] = [1, 8, 64, 512, 2048];

impl Gpu {
    /// The part of a submission's budget that a dispatch of `work` takes. An operation cuts what is more than one, where it can do so
    /// without changing the order of a sum. What a device's budget is, is measured once, when some work may be over it.
    pub fn share(&self, work: Work, workgroups: usize) -> f64 {
        self.budget_for(work, workgroups).share(work, workgroups as f64)
    }

    /// Workgroups that one dispatch should have when each does this work; at least one.
    pub fn at_once(&self, each: Work, workgroups: usize) -> usize {
        let all = Work { flops: each.flops * workgroups as f64, bytes: each.bytes * workgroups as f64 };
        let share = self.share(all, workgroups);
        if share <= 1.0 { workgroups } else { ((workgroups as f64 / share) as usize).max(1) }
    }
}

impl Gpu {
    /// Elements that one dispatch should write, one to an invocation, of `count` that move this many bytes each: no more of 4 bytes than a
    /// binding holds.
    pub(crate) fn elements_at_once(&self, bytes: usize, count: usize) -> usize {
        let each = Work { flops: 0.0, bytes: (bytes * LANES) as f64 };
        let (most, workgroups) = (self.caps().max_window() / 4, count.div_ceil(LANES));
        let at_once = self.at_once(each, workgroups);
        if at_once == workgroups { most } else { most.min(LANES * at_once) }
    }

    fn budget_for(&self, work: Work, workgroups: usize) -> Budget {
        let (known, shared) = (self.budget(), &self.shared);
        if self.is_budget_fixed() || known.share(work, workgroups as f64) <= 1.0 || cfg!(target_arch = "wasm32") {
            return known;
        }
        // A device that cannot be measured is taken to be a slow one; what is wrong with it shows at the next dispatch.
        *shared.measured_budget.get_or_init(|| measure(shared).map_or(known, |speed| Budget::measured(&shared.caps, speed)))
    }
}

/// Floating-point operations a second.
fn measure(shared: &Shared) -> Result<f64> {
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
