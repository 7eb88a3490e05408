//! What a device can do at most, measured: arithmetic, memory and launches, which a kernel's time is compared with.

mod kernels;
#[cfg(not(target_arch = "wasm32"))]
mod measure;

use super::profile::Clock;
use super::recorder::Work;

pub(super) use kernels::kernels;

/// The measured ceilings of a device, from [`Gpu::ceilings`](crate::Gpu::ceilings).
///
/// They are what simple kernels of wattn's own reach, not what a data sheet says. A kernel whose data stay in a cache can be faster than the copy
/// that measures memory, since that is made larger than caches are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// Floating-point operations a second, of f32 multiply-adds in registers; one counts as two.
    pub f32_flops: f64,
    /// The same in f16, on devices that have it.
    pub f16_flops: Option<f64>,
    /// The same of matrix units, of f16 with sums in f32, on devices that have such.
    pub matrix_flops: Option<f64>,
    /// Bytes a second, read and written, of a copy.
    pub bytes: f64,
    /// Seconds that one more dispatch takes in a submission, by the host's clock.
    pub launch: f64,
    /// Seconds from a submission with one empty dispatch to the host's knowing that it is done.
    pub submission: f64,
    /// What measured arithmetic and memory.
    pub clock: Clock,
}

/// Which ceiling a kernel is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Even with arithmetic at its ceiling it would take longer than its memory traffic does.
    Arithmetic,
    /// The other way round.
    Memory,
}

impl Bound {
    /// `arithmetic` or `memory`.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Arithmetic => "arithmetic",
            Bound::Memory => "memory",
        }
    }
}

impl Ceilings {
    /// The seconds that `work` takes at least: what is slower of its arithmetic, in f32 as all kernels accumulate or on matrix units, and its
    /// memory traffic. Divided by the time that it took, it is the share of the device's peak.
    pub fn shortest(&self, work: Work, matrix_units: bool) -> f64 {
        let [arithmetic, memory] = self.least(work, matrix_units);
        arithmetic.max(memory)
    }

    /// What decides [`Ceilings::shortest`].
    pub fn bound(&self, work: Work, matrix_units: bool) -> Bound {
        let [arithmetic, memory] = self.least(work, matrix_units);
        if arithmetic > memory { Bound::Arithmetic } else { Bound::Memory }
    }

    /// The seconds of arithmetic and of memory.
    fn least(&self, work: Work, matrix_units: bool) -> [f64; 2] {
        let flops = self.matrix_flops.filter(|_| matrix_units).unwrap_or(self.f32_flops);
        [work.flops / flops, work.bytes / self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_of_arithmetic_and_memory_decides() {
        let ceilings = Ceilings {
            f32_flops: 1e12,
            f16_flops: None,
            matrix_flops: Some(1e13),
            bytes: 1e11,
            launch: 1e-6,
            submission: 1e-5,
            clock: Clock::Device,
        };
        let cases = [(1e9, 1e6, 1e-3, Bound::Arithmetic), (1e6, 1e9, 1e-2, Bound::Memory), (0.0, 1e9, 1e-2, Bound::Memory)];
        for (flops, bytes, seconds, bound) in cases {
            let work = Work { flops, bytes };
            assert_eq!((ceilings.shortest(work, false), ceilings.bound(work, false)), (seconds, bound), "{work:?}");
        }
        let work = Work { flops: 1e9, bytes: 1e6 };
        assert_eq!((ceilings.shortest(work, true), ceilings.bound(work, true)), (1e-4, Bound::Arithmetic));
    }
}
