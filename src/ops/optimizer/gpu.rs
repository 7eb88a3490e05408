//! The kernels of a step: their host side.

use super::gradients::{self, Part, Tables};
use super::{Clip, Kind, OptimizerOptions};
use crate::Result;
use crate::gpu::{AnyVariant, Bind, Binding, Caps, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};

crate::params! {
    /// As `Params` in shaders/lib/update.wgsl.
    struct StepParams {
        count: u32, p_base: u32, state_base_0: u32, state_base_1: u32, state_base_2: u32,
        rate: f32, keep: f32, l2: f32, momentum: f32, nesterov: u32,
        beta1: f32, rest1: f32, beta2: f32, rest2: f32, root: f32, eps: f32,
        starts: [u32; 12], lengths: [u32; 12], g_bases: [u32; 12],
    }
}

static SGD: Kernel = Kernel {
    name: "optimizer/sgd",
    source: include_str!("../../../shaders/optimizer/sgd.wgsl"),
    params: StepParams::FIELDS,
    bindings: &gradients::before::<3, 14>([
        Binding::read("clip").when("CLIP"),
        Binding::write("p"),
        Binding::write("buf").when("MOMENTUM"),
    ]),
};

static ADAM: Kernel = Kernel {
    name: "optimizer/adam",
    source: include_str!("../../../shaders/optimizer/adam.wgsl"),
    params: StepParams::FIELDS,
    bindings: &gradients::before::<5, 16>([
        Binding::read("clip").when("CLIP"),
        Binding::write("p"),
        Binding::write("m"),
        Binding::write("v"),
        Binding::write("vmax").when("AMSGRAD"),
    ]),
};

/// Invocations of a workgroup.
const LANES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sgd {
    momentum: bool,
    clip: bool,
    many: bool,
}

impl Variant for Sgd {
    fn kernel(&self) -> &'static Kernel {
        &SGD
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES as u32).flag("MOMENTUM", self.momentum).flag("CLIP", self.clip).flag("MANY", self.many)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Adam {
    amsgrad: bool,
    clip: bool,
    many: bool,
}

impl Variant for Adam {
    fn kernel(&self) -> &'static Kernel {
        &ADAM
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES as u32).flag("AMSGRAD", self.amsgrad).flag("CLIP", self.clip).flag("MANY", self.many)
    }
}

/// Every kernel variant of a step.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    const BOTH: [bool; 2] = [false, true];
    let flags = BOTH.into_iter().flat_map(|flag| BOTH.map(|clip| (flag, clip)));
    let all = flags.flat_map(|(flag, clip)| gradients::choices(caps).iter().map(move |&many| (flag, clip, many)));
    let kernels =
        |(flag, clip, many)| [AnyVariant::of(Sgd { momentum: flag, clip, many }), AnyVariant::of(Adam { amsgrad: flag, clip, many })];
    all.flat_map(kernels).collect()
}

/// Elements of one parameter and of its gradient, from the same one on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub gradient: &'a Tensor,
    /// The first element of the gradient.
    pub first: usize,
    /// The same one's place among the parameters that are neighbours.
    pub place: usize,
    pub count: usize,
}

impl<'a> Piece<'a> {
    /// What a dispatch reads of it that begins at `place`.
    fn part(&self, place: usize) -> Part<'a> {
        Part { view: self.gradient.window(self.first, self.count), elements: self.count, start: self.place - place }
    }
}

/// What one dispatch does to parameters that are neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update<'a> {
    pub options: &'a OptimizerOptions,
    /// The number of the step, from 1 on.
    pub t: u64,
    /// All of the parameters, with what lies between.
    pub parameters: &'a Tensor,
    /// Their state, one tensor for each of [`OptimizerOptions::states`], laid out likewise.
    pub state: &'a [Tensor],
    pub clip: Option<&'a Clip>,
}

/// Bytes that a step moves for each element of this many states.
pub(super) fn bytes(states: usize) -> usize {
    4 * (3 + 2 * states)
}

impl Update<'_> {
    /// Records the step of these pieces, at least one and no more than [`gradients::together`], in the order of their places.
    pub fn run(&self, gpu: &Gpu, pieces: &[Piece]) -> Result<()> {
        let options = self.options;
        let (first, last) = (pieces[0], pieces[pieces.len() - 1]);
        let count = last.place + last.count - first.place;
        let window = |tensor: &'_ Tensor| tensor.window(first.place, count).base();
        let base = |state: usize| self.state.get(state).map_or(0, window);
        let parts: Vec<Part> = pieces.iter().map(|piece| piece.part(first.place)).collect();
        let Tables { starts, lengths, g_bases } = Tables::new(&parts);
        let (t, decoupled) = (self.t as f64, options.kind == Kind::AdamW);
        let corrected = |beta: f64| 1.0 - beta.powf(t);
        let params = StepParams {
            count: count as u32,
            p_base: window(self.parameters),
            state_base_0: base(0),
            state_base_1: base(1),
            state_base_2: base(2),
            rate: (if options.kind == Kind::Sgd { options.lr } else { options.lr / corrected(options.beta1) }) as f32,
            keep: (if decoupled { 1.0 - options.lr * options.weight_decay } else { 1.0 }) as f32,
            l2: (if decoupled { 0.0 } else { options.weight_decay }) as f32,
            momentum: options.momentum as f32,
            nesterov: u32::from(options.nesterov),
            beta1: options.beta1 as f32,
            rest1: (1.0 - options.beta1) as f32,
            beta2: options.beta2 as f32,
            rest2: (1.0 - options.beta2) as f32,
            root: (1.0 / corrected(options.beta2).sqrt()) as f32,
            eps: options.eps as f32,
            starts,
            lengths,
            g_bases,
        };
        let clip = self.clip.map(|clip| clip.both.view());
        let (mut binds, many) = (gradients::binds(&parts), gradients::is_many(&parts));
        binds.extend([Bind::maybe(clip), Bind::Write(self.parameters.window(first.place, count))]);
        binds.extend(self.state.iter().map(|state| Bind::Write(state.window(first.place, count))));
        let groups = spread(count.div_ceil(LANES), gpu.caps());
        let elements = pieces.iter().map(|piece| piece.count).sum::<usize>() as f64;
        let work = Work { flops: options.flops() * elements, bytes: bytes(self.state.len()) as f64 * elements };
        match options.kind {
            Kind::Sgd => {
                // A binding that a variant lacks has a place in the list nevertheless.
                binds.resize_with(SGD.bindings.len(), || Bind::Absent);
                let variant = Sgd { momentum: options.momentum > 0.0, clip: clip.is_some(), many };
                gpu.dispatch(variant, &params, &binds, groups, work)
            }
            Kind::Adam | Kind::AdamW => {
                binds.resize_with(ADAM.bindings.len(), || Bind::Absent);
                let variant = Adam { amsgrad: options.amsgrad, clip: clip.is_some(), many };
                gpu.dispatch(variant, &params, &binds, groups, work)
            }
        }
    }
}
