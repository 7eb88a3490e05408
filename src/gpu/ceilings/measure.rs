//! Measures the ceilings. Whatever is timed is also checked: a driver that leaves work out would set a ceiling that nothing can reach.

use std::time::Instant;

use super::Ceilings;
use super::kernels::{CopyParams, Copying, Empty, EmptyParams, Fma, RoundsParams, Units};
use crate::gpu::adapter::MatrixTeams;
use crate::gpu::{Bind, Caps, Gpu, Span, Variant, Work};
use crate::{DType, Error, Result, Tensor};

/// A time that neither the launch nor the clock's resolution is felt in, and that no device is held for too long by.
const ENOUGH: f64 = 0.02;
/// How much longer than the last run the next may be while that was too short: eight times `ENOUGH` is the most that a dispatch takes.
const GROWTH: f64 = 8.0;
/// Timed runs, of which the best counts: what else goes on on a machine only ever makes one longer.
const REPEATS: usize = 7;
/// Rounds of a loop, where the driver knows no bound: a device that is through with as many within `ENOUGH` there is not.
const MOST_ROUNDS: u32 = 1 << 20;
/// Multiply-adds of each element in a round of the shader, as the sums that it returns confirm.
const TURNS: usize = 32;
/// Empty dispatches of a submission.
const LAUNCHES: usize = 512;
/// Bytes of a vector.
const VECTOR: usize = 16;

impl Gpu {
    /// Measures what the device can do at most, which takes about a second, and longer where memory or shaders are slow.
    ///
    /// # Errors
    /// [`Error::Wrong`] when a kernel did not do all of its work, so that nothing is known; those of [`Gpu::dispatch`] and of a read;
    /// [`Error::Argument`] on a handle to a user's own encoder.
    pub fn ceilings(&self) -> Result<Ceilings> {
        let f16 = if self.caps().f16 { Some(flops(self, DType::F16)?) } else { None };
        let (launch, submission) = launches(self)?;
        Ok(Ceilings {
            f32_flops: flops(self, DType::F32)?,
            f16_flops: f16,
            matrix_flops: self.caps().matrix_teams().map(|teams| units(self, teams)).transpose()?,
            bytes: copy(self)?,
            launch,
            submission,
            clock: self.clock(),
        })
    }
}

/// The time of what `operations` dispatches, by the better clock.
fn seconds(gpu: &Gpu, operations: impl FnOnce() -> Result<()>) -> Result<f64> {
    let ((), spans) = gpu.profile_by(gpu.clock(), operations)?;
    Ok(Span::total(&spans).max(1e-9))
}

fn best(mut run: impl FnMut() -> Result<f64>) -> Result<f64> {
    (0..REPEATS).try_fold(f64::INFINITY, |best, _| Ok(best.min(run()?)))
}

fn wrong(kernel: &str, expected: impl std::fmt::Debug, got: impl std::fmt::Debug) -> Error {
    Error::Wrong { faults: format!("{kernel}, which measures what the device can do, gave {got:?} instead of {expected:?}") }
}

/// Floating-point operations a second in `elem`, with as many chains as this device likes better.
fn flops(gpu: &Gpu, elem: DType) -> Result<f64> {
    let [few, many] = [false, true].map(|many| fma(gpu, Fma { elem, many }));
    Ok(few?.max(many?))
}

/// Workgroups that keep a device busy: a few for each processor of a machine; on a GPU so many that the last ones, which leave most of it
/// idle, do not matter.
fn workgroups(gpu: &Gpu) -> usize {
    if gpu.caps().software { 256 } else { 16_384 }
}

fn fma(gpu: &Gpu, variant: Fma) -> Result<f64> {
    let invocations = workgroups(gpu) * Fma::LANES;
    // Of vectors of four elements.
    let chains = if variant.many { 8 } else { 2 };
    let sum = 4 * (chains * (chains - 1) / 2 + chains * TURNS);
    let y = gpu.empty(DType::I32, &[invocations, 2])?;
    let (rounds, taken) = enough(gpu, variant, &[0.0, 1.0, 1.0, 0.0], &y, gpu.caps().max_rounds)?;
    all_alike("gpu/fma", &y.read_blocking()?, &[sum as i32, mark(rounds)])?;
    Ok(2.0 * (invocations * 4 * chains * TURNS) as f64 * f64::from(rounds) / taken)
}

/// Floating-point operations a second of matrix units.
fn units(gpu: &Gpu, teams: MatrixTeams) -> Result<f64> {
    let workgroups = workgroups(gpu);
    let depth = teams.size as usize;
    let sum = Units::CHAINS * (Units::CHAINS - 1) / 2 + Units::CHAINS * Units::TURNS * depth;
    let y = gpu.empty(DType::I32, &[workgroups * teams.lanes as usize, 4])?;
    // Each round is a loop of TURNS.
    let most = gpu.caps().max_rounds.map(|most| most / (Units::TURNS as u32 + 1));
    let (rounds, taken) = enough(gpu, Units(teams), &[1.0, 1.0, -1.0], &y, most)?;
    let got = y.read_blocking()?;
    // How many there are is for the driver to say.
    let subgroups = got[2];
    all_alike("gpu/units", &got, &[sum as i32, mark(rounds), subgroups, 0])?;
    let flops = 2 * workgroups * subgroups as usize * Units::CHAINS * Units::TURNS * depth.pow(3);
    Ok(flops as f64 * f64::from(rounds) / taken)
}

/// The time of as many rounds as are enough, an odd number of at most `most`, and how many they are.
fn enough(gpu: &Gpu, variant: impl Variant, x: &[f32], y: &Tensor, most: Option<u32>) -> Result<(u32, f64)> {
    let x = gpu.tensor(x, &[x.len()])?;
    let most = most.unwrap_or(MOST_ROUNDS);
    let run = |rounds: u32| {
        let params = RoundsParams { rounds, padding_0: 0, padding_1: 0, padding_2: 0 };
        let binds = [Bind::Read(x.view()), Bind::Write(y.view())];
        seconds(gpu, || gpu.dispatch(variant, &params, &binds, [workgroups(gpu) as u32, 1, 1], Work::default()))
    };
    // A driver may compile at the first launch.
    run(1)?;
    let mut rounds = 1;
    loop {
        let taken = run(rounds)?;
        if taken >= ENOUGH || rounds >= most - 1 {
            break;
        }
        rounds = odd(f64::from(rounds) * (1.2 * ENOUGH / taken).clamp(3.0, GROWTH), most);
    }
    Ok((rounds, best(|| run(rounds))?))
}

/// Whether every row of what a kernel left is as it must be.
fn all_alike(kernel: &str, got: &[i32], row: &[i32]) -> Result<()> {
    match got.chunks_exact(row.len()).find(|got| *got != row) {
        Some(got) => Err(wrong(kernel, row, got)),
        None => Ok(()),
    }
}

/// The odd number of rounds next to this many, at most `most`.
fn odd(rounds: f64, most: u32) -> u32 {
    ((rounds as u32).min(most) - 1) | 1
}

/// What the shader makes of this many rounds.
fn mark(rounds: u32) -> i32 {
    (0..rounds).fold(0i32, |mark, _| mark.wrapping_mul(5).wrapping_add(1))
}

/// Bytes of each side of the copy: much more than caches hold, as far as the device has them.
fn copied_bytes(caps: &Caps) -> usize {
    let wanted = match caps.kind {
        wgpu::DeviceType::DiscreteGpu => 1 << 30,
        wgpu::DeviceType::Cpu => 128 << 20,
        _ => 256 << 20,
    };
    let bound = caps.max_window().min(usize::try_from(caps.max_buffer).unwrap_or(usize::MAX));
    let grid = caps.max_workgroups as usize * Copying::LANES * Copying::ITEMS * VECTOR;
    wanted.min(bound).min(grid) / VECTOR * VECTOR
}

/// Bytes a second, read and written.
fn copy(gpu: &Gpu) -> Result<f64> {
    let mut bytes = copied_bytes(gpu.caps());
    let (x, y) = loop {
        let pair = || Ok((gpu.empty(DType::I32, &[bytes / 4])?, gpu.empty(DType::I32, &[bytes / 4])?));
        match pair() {
            Err(Error::OutOfMemory { .. }) if bytes > 1 << 20 => bytes = bytes / 2 / VECTOR * VECTOR,
            other => break other?,
        }
    };
    let rate = copy_between(gpu, &x, &y);
    drop((x, y));
    // So much memory is not to stay with wattn.
    gpu.finish()?;
    gpu.trim();
    rate
}

fn copy_between(gpu: &Gpu, x: &Tensor, y: &Tensor) -> Result<f64> {
    let bytes = |count: usize| 2.0 * (count * VECTOR) as f64;
    let run = |from: &Tensor, to: &Tensor, count: usize| {
        let params = CopyParams { count: count as u32, padding_0: 0, padding_1: 0, padding_2: 0 };
        let groups = [count.div_ceil(Copying::LANES * Copying::ITEMS) as u32, 1, 1];
        let work = Work { flops: 0.0, bytes: bytes(count) };
        seconds(gpu, || gpu.dispatch(Copying, &params, &[Bind::Read(from.view()), Bind::Write(to.view())], groups, work))
    };
    let all = x.len() / 4;
    let part = all.div_ceil(16);
    // The first launch finds memory that the driver has yet to give or to clear.
    run(x, y, part)?;
    let fits = (GROWTH * ENOUGH / run(x, y, part)? * part as f64) as usize;
    let count = all.min(fits.max(1));
    run(x, y, count)?;
    // x is written anew each time, and holds twice the index.
    let taken = best(|| run(y, x, count))?;
    let last = count - 1;
    let end = Tensor::from_buffer(gpu, x.buffer().clone(), x.offset() + (last * VECTOR) as u64, &[4], DType::I32)?;
    let (got, expected) = (end.read_blocking::<i32>()?, [(last as u32).wrapping_mul(2) as i32; 4]);
    if got == expected { Ok(bytes(count) / taken) } else { Err(wrong("gpu/copy", expected, got)) }
}

/// Seconds of a launch among others, and of a submission that holds one.
fn launches(gpu: &Gpu) -> Result<(f64, f64)> {
    let y = gpu.empty(DType::I32, &[1])?;
    let params = EmptyParams { write: 0, padding_0: 0, padding_1: 0, padding_2: 0 };
    let run = |count: usize| {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let launch = |gpu: &Gpu| gpu.dispatch(Empty, &params, &[Bind::Write(y.view())], [1, 1, 1], Work::default());
        gpu.encode(&mut encoder, |gpu| (0..count).try_for_each(|_| launch(gpu)))?;
        let commands = encoder.finish();
        // What the host has yet to write goes first.
        gpu.queue().submit([]);
        gpu.finish()?;
        let start = Instant::now();
        gpu.queue().submit([commands]);
        gpu.finish()?;
        Ok(start.elapsed().as_secs_f64())
    };
    run(1)?;
    let (one, many) = (best(|| run(1))?, best(|| run(LAUNCHES))?);
    // Where a launch costs nothing that can be measured, one submission may by chance take longer than another with more in it.
    Ok(((many - one).max(0.0) / (LAUNCHES - 1) as f64, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_odd_and_within_bounds() {
        assert_eq!([1.0, 2.0, 7.9, 8.0, 1e9].map(|rounds| odd(rounds, 65_535)), [1, 1, 7, 7, 65_535]);
        assert_eq!(odd(1e9, 1 << 20), (1 << 20) - 1);
    }

    #[test]
    fn the_copy_keeps_to_what_a_binding_and_a_grid_hold() {
        let of = |kind, binding| copied_bytes(&Caps { kind, max_binding: binding, max_buffer: binding, ..Caps::everything() });
        assert_eq!(of(wgpu::DeviceType::Cpu, 1 << 31), 128 << 20);
        assert_eq!(of(wgpu::DeviceType::DiscreteGpu, 1 << 31), 1 << 30);
        let small = of(wgpu::DeviceType::DiscreteGpu, 128 << 20);
        assert!(small < 128 << 20 && small.is_multiple_of(VECTOR), "{small}");
    }
}
