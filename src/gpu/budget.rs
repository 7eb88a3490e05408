//! How much work a submission may hold, so that none holds the device for long: drivers stop what runs for seconds, and a desktop
//! stutters long before.

use super::adapter::Caps;
use super::recorder::Work;

/// What a submission may hold of each kind of work. The parts that a submission takes of them, added, should be at most one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Budget {
    /// Floating-point operations.
    flops: f64,
}

/// Floating-point operations that take as long as a byte read or written, and as a workgroup that is started. Both are for drivers that run on the
/// CPU, where a row of softmax that is a workgroup of its own costs 2 µs; on a GPU neither comes near a budget.
const FLOPS_PER_BYTE: f64 = 4.0;
const FLOPS_PER_WORKGROUP: f64 = 20_000.0;

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

/// What a submission should take. Kernels differ from the measured one in how well they use a device, most by less than three times either
/// way, so that no dispatch takes half a second.
const SECONDS: f64 = 0.15;

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
