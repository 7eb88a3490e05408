//! Copies on the device between runs of neighbours: rows into a key/value cache, and rows that get wider.

use crate::Result;
use crate::gpu::{Gpu, Tensor};
use crate::ops::host::expect_dtype;
use crate::ops::transpose::gpu::CopyPart;

/// Where runs of neighbouring elements lie in a tensor: the first one's start, and the distance from one to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs<'a> {
    pub tensor: &'a Tensor,
    pub start: usize,
    pub stride: usize,
}

/// Copies `outer` runs of `count` elements each. Neither may be 0, and every run lies within its tensor. The tensors are f32 or f16, both
/// the same, and in different buffers, since wgpu lets no dispatch read and write one.
///
/// # Errors
/// [`Error::Dtype`](crate::Error::Dtype) for tensors of different types; those of [`Gpu::dispatch`].
pub(crate) fn copy(gpu: &Gpu, op: &'static str, from: Runs, to: Runs, [outer, count]: [usize; 2]) -> Result<()> {
    pad(gpu, op, from, to, outer, [count, count])
}

/// The same with runs that are longer in the destination: `[from, to]` elements, and zeros in what is left over. `from` may also be the
/// longer one; then its runs are cut.
///
/// # Errors
/// As [`copy`].
pub(crate) fn pad(gpu: &Gpu, op: &'static str, from: Runs, to: Runs, outer: usize, [x_count, count]: [usize; 2]) -> Result<()> {
    let elem = to.tensor.dtype();
    expect_dtype(op, "x", from.tensor, elem)?;
    let room = gpu.elements_at_once(2 * elem.bytes(), outer * count);
    for part in parts(room, [outer, count], from.stride.max(to.stride)) {
        let given = x_count.saturating_sub(part.first).min(part.count);
        let window =
            |runs: &Runs<'_>, count: usize| (runs.start + part.run * runs.stride + part.first, (part.runs - 1) * runs.stride + count);
        // A part without any of x binds one element that is not read.
        let ((x_first, x_len), (y_first, y_len)) = (window(&from, given.max(1)), window(&to, part.count));
        let x_first = x_first.min(from.tensor.len() - x_len.min(from.tensor.len()));
        let (x, y) = (from.tensor.window(x_first, x_len), to.tensor.window(y_first, y_len));
        let sizes = [1, 1, part.runs as u32, part.count as u32];
        let strides = [from.stride, to.stride].map(|stride| [0, 0, stride as u32, 1]);
        CopyPart { x, y, sizes, strides, given: given as u32 }.run(gpu, elem)?;
    }
    Ok(())
}

/// What one dispatch copies: `count` elements from `first` on of each of the `runs` from `run` on.
#[derive(Clone, Copy, Debug)]
struct Part {
    run: usize,
    runs: usize,
    first: usize,
    count: usize,
}

/// Cuts the runs so that no part reaches over more than `room` elements of a tensor: several whole runs, or a piece of one.
fn parts(room: usize, [outer, count]: [usize; 2], stride: usize) -> impl Iterator<Item = Part> {
    let together = if count > room { 1 } else { (room - count) / stride.max(1) + 1 };
    let piece = count.min(room);
    (0..outer).step_by(together).flat_map(move |run| {
        let runs = together.min(outer - run);
        (0..count).step_by(piece).map(move |first| Part { run, runs, first, count: piece.min(count - first) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element is copied once, and no part reaches too far.
    #[test]
    fn parts_cover_everything_once() {
        for (room, outer, count, stride) in
            [(100, 1, 1, 0), (100, 7, 13, 13), (100, 7, 13, 40), (100, 3, 100, 100), (100, 3, 250, 300), (5, 4, 5, 9)]
        {
            let mut copied = vec![0; outer * count];
            for part in parts(room, [outer, count], stride) {
                assert!((part.runs - 1) * stride + part.count <= room, "{part:?}");
                for run in part.run..part.run + part.runs {
                    (part.first..part.first + part.count).for_each(|i| copied[run * count + i] += 1);
                }
            }
            assert!(copied.iter().all(|&times| times == 1), "room {room}, {outer} runs of {count} every {stride}: {copied:?}");
        }
    }
}
