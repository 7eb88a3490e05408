//! The norm of all gradients together, and what they are multiplied by to be no longer than that.

use super::OP;
use super::gradients::{self, Part, Tables};
use super::options::check_number;
use crate::gpu::{AnyVariant, Bind, Binding, Caps, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::ops::host::expect_dtype;
use crate::{DType, Error, Result};

crate::params! {
    /// As in shaders/optimizer/squares.wgsl.
    struct SquaresParams {
        stretches: u32, sums_base: u32, padding_0: u32, padding_1: u32,
        starts: [u32; 12], lengths: [u32; 12], g_bases: [u32; 12],
    }
}

crate::params! {
    /// As in shaders/optimizer/norm.wgsl.
    struct NormParams { count: u32, limit: f32, padding_0: u32, padding_1: u32 }
}

static SQUARES: Kernel = Kernel {
    name: "optimizer/squares",
    source: include_str!("../../../shaders/optimizer/squares.wgsl"),
    params: SquaresParams::FIELDS,
    bindings: &gradients::before::<1, 12>([Binding::write("sums")]),
};

static NORM: Kernel = Kernel {
    name: "optimizer/norm",
    source: include_str!("../../../shaders/optimizer/norm.wgsl"),
    params: NormParams::FIELDS,
    bindings: &[Binding::read("sums"), Binding::write("clip")],
};

/// Invocations of a workgroup.
const LANES: u32 = 256;

/// Elements of a gradient whose squares a workgroup adds up. It decides the order of the sum, so it never depends on a device.
const STRETCH: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Squares {
    many: bool,
}

impl Variant for Squares {
    fn kernel(&self) -> &'static Kernel {
        &SQUARES
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES).u32("STRETCH", STRETCH as u32).flag("MANY", self.many)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Norm;

impl Variant for Norm {
    fn kernel(&self) -> &'static Kernel {
        &NORM
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES)
    }
}

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    let squares = gradients::choices(caps).iter().map(|&many| AnyVariant::of(Squares { many }));
    squares.chain([AnyVariant::of(Norm)]).collect()
}

/// The norm of some gradients, and what [`Optimizer::step`](super::Optimizer::step) multiplies them by.
#[derive(Clone, Debug)]
pub struct Clip {
    /// The norm before clipping, a scalar: for a log, once in a while.
    pub norm: Tensor,
    /// min(1, limit / (norm + 1e-6)), a scalar.
    pub factor: Tensor,
    /// Both, `[2]`.
    pub(super) both: Tensor,
}

/// That a norm can be limited to this.
pub(super) fn check_limit(key: &str, limit: f64) -> Result<()> {
    check_number(key, limit)
}

/// Some stretches of a gradient.
#[derive(Clone, Copy)]
struct Piece<'a> {
    gradient: &'a Tensor,
    first: usize,
    stretches: usize,
}

impl<'a> Piece<'a> {
    /// What a dispatch reads of it whose stretches before it are `start`.
    fn part(&self, start: usize) -> Part<'a> {
        let first = self.first * STRETCH;
        let elements = (self.stretches * STRETCH).min(self.gradient.len() - first);
        Part { view: self.gradient.window(first, elements), elements, start }
    }
}

/// √(Σ g²) over all elements of all gradients (f32), and the factor that makes it no more than `limit`: `torch.nn.utils.clip_grad_norm_`
/// with the norm's order of 2. Nothing is read back, and the gradients stay as they are. The squares neither overflow nor vanish; the order of
/// the sum is fixed. O(elements of the gradients).
///
/// # Errors
/// [`Error::Argument`] for a limit that is negative or no number, or for no gradients at all; [`Error::Dtype`] for other types;
/// [`Error::Limit`] on a device whose bindings hold less than 16 KiB; those of [`Gpu::dispatch`].
pub fn grad_norm(gpu: &Gpu, gradients: &[Tensor], limit: f64) -> Result<Clip> {
    check_limit("limit", limit)?;
    gradients.iter().enumerate().try_for_each(|(i, gradient)| expect_dtype(OP, &format!("gradients[{i}]"), gradient, DType::F32))?;
    let total: usize = gradients.iter().map(|gradient| gradient.len().div_ceil(STRETCH)).sum();
    if total == 0 {
        return Err(super::options::wrong("gradients", "at least one", "none"));
    }
    let sums = gpu.empty(DType::F32, &[2 * total])?;
    let together = at_once(gpu, total)?;
    let (mut group, mut done): (Vec<Piece>, usize) = (vec![], 0);
    for gradient in gradients {
        let stretches = gradient.len().div_ceil(STRETCH);
        for first in (0..stretches).step_by(together) {
            let piece = Piece { gradient, first, stretches: together.min(stretches - first) };
            let recorded: usize = group.iter().map(|piece| piece.stretches).sum();
            if group.len() == gradients::together(gpu.caps()) || recorded + piece.stretches > together {
                squares(gpu, &group, &sums, done)?;
                done += recorded;
                group.clear();
            }
            group.push(piece);
        }
    }
    squares(gpu, &group, &sums, done)?;
    let both = gpu.empty(DType::F32, &[2])?;
    let params = NormParams { count: total as u32, limit: limit as f32, padding_0: 0, padding_1: 0 };
    let work = Work { flops: 2.0 * total as f64, bytes: 8.0 * total as f64 };
    gpu.dispatch(Norm, &params, &[Bind::Read(sums.view()), Bind::Write(both.view())], [1, 1, 1], work)?;
    Ok(Clip { norm: both.part(0, &[])?, factor: both.part(1, &[])?, both })
}

/// What adding up a stretch takes.
const EACH: Work = Work { flops: 3.0 * STRETCH as f64, bytes: 4.0 * STRETCH as f64 };

/// Stretches that a dispatch takes.
fn at_once(gpu: &Gpu, total: usize) -> Result<usize> {
    let caps = gpu.caps();
    let room = caps.max_window() / (STRETCH * DType::F32.bytes());
    if room == 0 {
        let what = "bytes of a stretch of a gradient with its alignment, which one binding must hold".to_string();
        let got = (STRETCH * DType::F32.bytes()) as u64 + u64::from(caps.storage_alignment);
        return Err(Error::Limit { op: OP, what, limit: caps.max_binding, got });
    }
    Ok(room.min(gpu.at_once(EACH, total)))
}

/// Records the sums of some pieces, which go behind the `done` ones that there are.
fn squares(gpu: &Gpu, pieces: &[Piece], sums: &Tensor, done: usize) -> Result<()> {
    let mut stretches = 0;
    let parts = pieces.iter().map(|piece| {
        stretches += piece.stretches;
        piece.part(stretches - piece.stretches)
    });
    let parts: Vec<Part> = parts.collect();
    let Tables { starts, lengths, g_bases } = Tables::new(&parts);
    let sums = sums.window(2 * done, 2 * stretches);
    let params =
        SquaresParams { stretches: stretches as u32, sums_base: sums.base() / 2, padding_0: 0, padding_1: 0, starts, lengths, g_bases };
    let mut binds = gradients::binds(&parts);
    binds.push(Bind::Write(sums));
    let times = stretches as f64;
    let work = Work { flops: EACH.flops * times, bytes: EACH.bytes * times };
    gpu.dispatch(Squares { many: gradients::is_many(&parts) }, &params, &binds, spread(stretches, gpu.caps()), work)
}
