//! How much work a submission may hold, so that none holds the device for long: drivers stop what runs for seconds, and a desktop
//! stutters long before.

use super::adapter::Caps;
use super::calibrate::measure;
use super::device::Gpu;
use super::recorder::Work;

/// What a submission may hold, counted in floating-point operations that take as long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Budget {
    flops: f64,
}

/// Floating-point operations that take as long as a byte read or written, and as a workgroup that is started. Both are for drivers that run on the
/// CPU, where a row of softmax that is a workgroup of its own costs 2 µs; on a GPU neither comes near a budget.
const FLOPS_PER_BYTE: f64 = 4.0;
const FLOPS_PER_WORKGROUP: f64 = 20_000.0;

/// What a submission should take, in seconds. Kernels differ from the measured one in how well they use a device, most by less than three
/// times either way, so that no dispatch takes half a second.
const SECONDS: f64 = 0.15;

/// The smallest workgroup of a kernel that writes an element in each invocation.
const SMALLEST: usize = 64;

impl Budget {
    /// This many floating-point operations, or what takes as long.
    pub fn of(flops: f64) -> Self {
        Budget { flops }
    }

    /// For a slow device of this kind, before it has been measured.
    pub fn cautious(caps: &Caps) -> Self {
        Budget::of(match caps.kind {
            wgpu::DeviceType::Cpu => 2e8,
            wgpu::DeviceType::DiscreteGpu => 2e11,
            _ => 2e10,
        })
    }

    /// For a device that does this many floating-point operations a second. No measurement makes it less than a tenth, or more than a
    /// hundred times, of what a slow device of its kind gets.
    pub fn measured(caps: &Caps, flops_per_second: f64) -> Self {
        let Budget { flops } = Budget::cautious(caps);
        Budget::of((SECONDS * flops_per_second).clamp(flops / 10.0, flops * 100.0))
    }

    /// The part of the budget that a dispatch takes.
    pub fn share(self, work: Work, workgroups: f64) -> f64 {
        (work.flops + FLOPS_PER_BYTE * work.bytes + FLOPS_PER_WORKGROUP * workgroups) / self.flops
    }
}

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

    /// Elements that one dispatch should write, one to an invocation, of `count` that move this many bytes each: no more of 4 bytes than a
    /// binding holds.
    pub(crate) fn elements_at_once(&self, bytes: usize, count: usize) -> usize {
        let each = Work { flops: 0.0, bytes: (bytes * SMALLEST) as f64 };
        let (most, workgroups) = (self.caps().max_window() / 4, count.div_ceil(SMALLEST));
        let at_once = self.at_once(each, workgroups);
        if at_once == workgroups { most } else { most.min(SMALLEST * at_once) }
    }

    /// What a submission of this handle may hold, as far as is known.
    pub(super) fn budget(&self) -> Budget {
        let measured = || self.shared.measured_budget.get().copied();
        self.fixed_budget.or_else(measured).unwrap_or_else(|| Budget::cautious(&self.shared.caps))
    }

    fn budget_for(&self, work: Work, workgroups: usize) -> Budget {
        let (known, shared) = (self.budget(), &self.shared);
        if self.fixed_budget.is_some() || known.share(work, workgroups as f64) <= 1.0 || cfg!(target_arch = "wasm32") {
            return known;
        }
        // A device that cannot be measured is taken to be a slow one; what is wrong with it shows at the next dispatch.
        *shared.measured_budget.get_or_init(|| measure(shared).map_or(known, |speed| Budget::measured(&shared.caps, speed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_that_went_wrong_is_bounded() {
        let caps = Caps { kind: wgpu::DeviceType::IntegratedGpu, ..Caps::everything() };
        let cautious = Budget::cautious(&caps).flops;
        let measured = |speed| Budget::measured(&caps, speed).flops;
        assert_eq!((measured(0.0), measured(f64::INFINITY)), (cautious / 10.0, cautious * 100.0));
        assert_eq!(measured(cautious / SECONDS), cautious);
    }

    #[test]
    fn all_work_counts() {
        let budget = Budget::of(1e6);
        assert_eq!(budget.share(Work { flops: 5e5, bytes: 0.0 }, 0.0), 0.5);
        assert_eq!(budget.share(Work { flops: 0.0, bytes: 5e5 }, 0.0), 0.5 * FLOPS_PER_BYTE);
        assert_eq!(budget.share(Work::default(), 50.0), 50.0 * FLOPS_PER_WORKGROUP / 1e6);
    }
}
