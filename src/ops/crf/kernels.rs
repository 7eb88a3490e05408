//! The kernels: their params, bindings and variants.

use crate::gpu::{AnyVariant, Binding, Kernel, Knobs, Params, Variant};

crate::params! {
    /// As `Params` in shaders/lib/chain.wgsl.
    pub(super) struct ChainParams {
        batch: u32, time: u32, columns: u32, first: u32, steps: u32, rows: u32, rows_each: u32, transposed: u32, flag: u32, scale: f32,
        emissions_base: u32, transitions_base: u32, start_base: u32, end_base: u32, tags_base: u32, lengths_base: u32, reached_base: u32,
        alphas_base: u32, norms_base: u32, state_base: u32, marginals_base: u32, links_base: u32, pointers_base: u32, last_base: u32,
        path_base: u32, d_loss_base: u32, d_emissions_base: u32, ends_base: u32, differences_base: u32, scores_base: u32, partials_base: u32,
    }
}

const FIELDS: &[crate::gpu::Field] = ChainParams::FIELDS;

static TABLE: Kernel = Kernel {
    name: "crf/table",
    source: include_str!("../../../shaders/crf/table.wgsl"),
    params: FIELDS,
    bindings: &[Binding::read("transitions"), Binding::read("start"), Binding::read("end"), Binding::write("table")],
};

static FORWARD: Kernel = Kernel {
    name: "crf/forward",
    source: include_str!("../../../shaders/crf/forward.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("emissions"),
        Binding::read("table"),
        Binding::read("lengths"),
        Binding::write("alphas"),
        Binding::write("norms"),
        Binding::write("reached"),
        Binding::write("state"),
    ],
};

static SCORES: Kernel = Kernel {
    name: "crf/scores",
    source: include_str!("../../../shaders/crf/scores.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("norms"),
        Binding::read("emissions"),
        Binding::read("table"),
        Binding::read("tags"),
        Binding::read("lengths"),
        Binding::write("differences"),
        Binding::write("flag"),
    ],
};

static LIKELIHOOD: Kernel = Kernel {
    name: "crf/likelihood",
    source: include_str!("../../../shaders/crf/likelihood.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("norms"),
        Binding::read("differences").when("TAGS"),
        Binding::read("lengths"),
        Binding::write("log_z"),
        Binding::write("nll").when("TAGS"),
    ],
};

static BACKWARD: Kernel = Kernel {
    name: "crf/backward",
    source: include_str!("../../../shaders/crf/backward.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("emissions"),
        Binding::read("table"),
        Binding::read("reached"),
        Binding::read("alphas"),
        Binding::read("norms"),
        Binding::write("marginals"),
        Binding::write("links").when("LINKS"),
        Binding::write("state"),
    ],
};

static BACKWARD_TRANSITIONS: Kernel = Kernel {
    name: "crf/backward_transitions",
    source: include_str!("../../../shaders/crf/backward_transitions.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("alphas"),
        Binding::read("links"),
        Binding::read("table"),
        Binding::read("tags"),
        Binding::read("reached"),
        Binding::read("d_loss"),
        Binding::write("partials"),
    ],
};

static BACKWARD_EMISSIONS: Kernel = Kernel {
    name: "crf/backward_emissions",
    source: include_str!("../../../shaders/crf/backward_emissions.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("marginals"),
        Binding::read("tags"),
        Binding::read("reached"),
        Binding::read("d_loss"),
        Binding::write("d_emissions"),
        Binding::write("ends"),
    ],
};

static VITERBI: Kernel = Kernel {
    name: "crf/viterbi",
    source: include_str!("../../../shaders/crf/viterbi.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("emissions"),
        Binding::read("table"),
        Binding::read("lengths"),
        Binding::write("pointers"),
        Binding::write("norms"),
        Binding::write("last"),
        Binding::write("state"),
    ],
};

static VITERBI_PATH: Kernel = Kernel {
    name: "crf/viterbi_path",
    source: include_str!("../../../shaders/crf/viterbi_path.wgsl"),
    params: FIELDS,
    bindings: &[Binding::read("pointers"), Binding::read("lengths"), Binding::read("last"), Binding::write("path")],
};

/// Invocations of a workgroup of the walks, one for each tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lanes(u32);

impl Lanes {
    /// The most tags.
    pub const MOST: usize = 256;
    const ALL: [Lanes; 2] = [Lanes(64), Lanes(Lanes::MOST as u32)];

    /// The fewest that are enough.
    pub fn of(columns: usize) -> Self {
        if columns <= 64 { Lanes(64) } else { Lanes(Lanes::MOST as u32) }
    }
}

/// A kernel of its own for each way through a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Chain {
    Table,
    Forward(Lanes),
    /// With the links that pairs of tags are made of, or without.
    Backward(Lanes, bool),
    Viterbi(Lanes),
    ViterbiPath,
    Scores,
    /// With the negative log-likelihood of tags, or without.
    Likelihood(bool),
    BackwardTransitions,
    BackwardEmissions,
}

impl Variant for Chain {
    fn kernel(&self) -> &'static Kernel {
        match self {
            Chain::Table => &TABLE,
            Chain::Forward(_) => &FORWARD,
            Chain::Backward(..) => &BACKWARD,
            Chain::Viterbi(_) => &VITERBI,
            Chain::ViterbiPath => &VITERBI_PATH,
            Chain::Scores => &SCORES,
            Chain::Likelihood(_) => &LIKELIHOOD,
            Chain::BackwardTransitions => &BACKWARD_TRANSITIONS,
            Chain::BackwardEmissions => &BACKWARD_EMISSIONS,
        }
    }

    fn knobs(&self) -> Knobs {
        let knobs = Knobs::new();
        match *self {
            Chain::Forward(Lanes(lanes)) | Chain::Viterbi(Lanes(lanes)) => knobs.u32("LANES", lanes),
            Chain::Backward(Lanes(lanes), links) => knobs.u32("LANES", lanes).flag("LINKS", links),
            Chain::Likelihood(tags) => knobs.u32("LANES", PER_SEQUENCE as u32).flag("TAGS", tags),
            Chain::ViterbiPath => knobs.u32("LANES", SEQUENCES as u32),
            Chain::Table | Chain::Scores | Chain::BackwardTransitions | Chain::BackwardEmissions => knobs.u32("LANES", ELEMENTS as u32),
        }
    }
}

/// Invocations that share the sums of a sequence.
const PER_SEQUENCE: usize = 64;
/// Sequences of a workgroup, each an invocation's.
pub(super) const SEQUENCES: usize = 64;
/// Elements of a workgroup, each an invocation's.
pub(super) const ELEMENTS: usize = 256;

/// Every kernel variant.
pub(super) fn all() -> Vec<AnyVariant> {
    let walks = Lanes::ALL.into_iter().flat_map(|lanes| {
        [Chain::Forward(lanes), Chain::Backward(lanes, false), Chain::Backward(lanes, true), Chain::Viterbi(lanes)].map(AnyVariant::of)
    });
    let others = [
        Chain::Table,
        Chain::Scores,
        Chain::Likelihood(false),
        Chain::Likelihood(true),
        Chain::ViterbiPath,
        Chain::BackwardTransitions,
        Chain::BackwardEmissions,
    ];
    walks.chain(others.map(AnyVariant::of)).collect()
}
