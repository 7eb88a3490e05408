//! The gradients of several parameters that one dispatch reads: the host side of shaders/lib/parameter_gradients.wgsl.

use crate::gpu::{Bind, Binding, Caps, View};

/// Gradients that a dispatch reads on any device: Adam with everything has five bindings beside them, and there are eight.
const FEW: usize = 3;
/// Gradients that a dispatch reads where there are sixteen bindings.
const MANY: usize = 11;
/// Numbers in a table of the params: three vectors.
const ENTRIES: usize = 12;

const fn many(name: &'static str) -> Binding {
    Binding::read(name).when("MANY")
}

const BINDINGS: [Binding; MANY] = [
    Binding::read("g0"),
    Binding::read("g1"),
    Binding::read("g2"),
    many("g3"),
    many("g4"),
    many("g5"),
    many("g6"),
    many("g7"),
    many("g8"),
    many("g9"),
    many("g10"),
];

/// A kernel's bindings: the gradients and, behind them, its `own`.
pub(super) const fn before<const OWN: usize, const ALL: usize>(own: [Binding; OWN]) -> [Binding; ALL] {
    assert!(ALL == MANY + OWN);
    let mut all = [BINDINGS[0]; ALL];
    let mut i = 0;
    while i < ALL {
        all[i] = if i < MANY { BINDINGS[i] } else { own[i - MANY] };
        i += 1;
    }
    all
}

/// How many gradients a dispatch of a device may read.
pub(super) fn together(caps: &Caps) -> usize {
    // Adam's bindings, of which three gradients take three.
    if caps.storage_buffers as usize >= 8 - FEW + MANY { MANY } else { FEW }
}

/// Whether a dispatch reads many, in all the ways that a device has.
pub(super) fn choices(caps: &Caps) -> &'static [bool] {
    if together(caps) > FEW { &[false, true] } else { &[false] }
}

/// What a dispatch reads of a gradient.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub view: View<'a>,
    pub elements: usize,
    /// Where it begins among what the dispatch works on.
    pub start: usize,
}

/// The tables of the params, for no more than [`together`] parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    pub starts: [u32; ENTRIES],
    pub lengths: [u32; ENTRIES],
    pub g_bases: [u32; ENTRIES],
}

impl Tables {
    pub fn new(parts: &[Part]) -> Self {
        let of = |number: &dyn Fn(&Part) -> u32, absent: u32| std::array::from_fn(|i| parts.get(i).map_or(absent, number));
        Tables {
            // What is beyond every element begins no range.
            starts: of(&|part| part.start as u32, u32::MAX),
            lengths: of(&|part| part.elements as u32, 0),
            g_bases: of(&|part| part.view.base(), 0),
        }
    }
}

/// Whether the parts take the variant that reads many.
pub(super) fn is_many(parts: &[Part]) -> bool {
    parts.len() > FEW
}

/// The parts as they are bound, at least one: the first again where there is no other, and nothing where a variant has no binding.
pub(super) fn binds<'a>(parts: &[Part<'a>]) -> Vec<Bind<'a>> {
    let present = if is_many(parts) { MANY } else { FEW };
    let bind = |i: usize| if i < present { Bind::Read(parts.get(i).unwrap_or(&parts[0]).view) } else { Bind::Absent };
    (0..MANY).map(bind).collect()
}
