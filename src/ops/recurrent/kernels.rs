//! The kernels that walk steps, as one family: parameters, variants, and which of them make a step of which cell.

use super::tile::Tile;
use super::{Cell, Nonlinearity, Problem, Reset};
use crate::gpu::{AnyVariant, Caps, Field, Kernel, Knobs, Params, Variant};
use crate::ops::{gru, lstm, rnn};

crate::params! {
    /// As `Params` in shaders/lib/recurrent.wgsl.
    #[derive(Default)]
    pub(super) struct StepParams {
        first: u32, steps: u32, time: u32, batch: u32, directions: u32,
        batch_begin: u32, batch_end: u32, direction_begin: u32, column_begin: u32, column_end: u32,
        tiles: u32, across: u32, down: u32, workgroups: u32, hidden: u32, outputs: u32, quads: u32,
        h_slots: u32, cell_slots: u32, m_slots: u32, keep: u32, y_time: u32, y_batch: u32, y_direction: u32, y_unit: u32,
        weight_base: u32, lengths_base: u32, peep_base: u32, gates_base: u32, h_base: u32, cells_base: u32, y_base: u32, m_base: u32,
        d_h_base: u32, d_c_base: u32, scratch_base: u32,
    }
}

/// The fields, for kernel declarations.
pub(crate) const FIELDS: &[Field] = StepParams::FIELDS;

/// What one dispatch of a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pass {
    RnnForward(Nonlinearity),
    RnnBackward(Nonlinearity),
    GruForward(Reset),
    /// The rest of a step, with the reset gate before the product.
    GruForwardCandidate,
    GruBackward(Reset),
    /// The rest of a step, with the reset gate before the product.
    GruBackwardReset,
    LstmForward {
        peep: bool,
        projected: bool,
    },
    LstmForwardProjection,
    LstmBackward {
        peep: bool,
        projected: bool,
    },
    LstmBackwardProjection,
}

impl Pass {
    /// The dispatches of one step, forward, in order.
    pub fn forward(problem: &Problem) -> Vec<Self> {
        let peep = problem.peep != super::Peep::None;
        match problem.cell {
            Cell::Rnn(nonlinearity) => vec![Pass::RnnForward(nonlinearity)],
            Cell::Gru(Reset::After) => vec![Pass::GruForward(Reset::After)],
            Cell::Gru(Reset::Before) => vec![Pass::GruForward(Reset::Before), Pass::GruForwardCandidate],
            Cell::Lstm if problem.projection => vec![Pass::LstmForward { peep, projected: true }, Pass::LstmForwardProjection],
            Cell::Lstm => vec![Pass::LstmForward { peep, projected: false }],
        }
    }

    /// The dispatches of one step, backward, in order.
    pub fn backward(problem: &Problem) -> Vec<Self> {
        let peep = problem.peep != super::Peep::None;
        match problem.cell {
            Cell::Rnn(nonlinearity) => vec![Pass::RnnBackward(nonlinearity)],
            Cell::Gru(Reset::After) => vec![Pass::GruBackward(Reset::After)],
            Cell::Gru(Reset::Before) => vec![Pass::GruBackward(Reset::Before), Pass::GruBackwardReset],
            Cell::Lstm if problem.projection => vec![Pass::LstmBackwardProjection, Pass::LstmBackward { peep, projected: true }],
            Cell::Lstm => vec![Pass::LstmBackward { peep, projected: false }],
        }
    }

    /// Columns that are written together: a vector of four units, or all gates of those.
    pub fn together(self) -> usize {
        if matches!(self, Pass::LstmForward { .. } | Pass::GruForward(_)) { 16 } else { 4 }
    }

    /// Every pass of a kind of cell.
    fn all(cell: Cell) -> Vec<Self> {
        match cell {
            Cell::Rnn(_) => {
                [Nonlinearity::Tanh, Nonlinearity::Relu].into_iter().flat_map(|n| [Pass::RnnForward(n), Pass::RnnBackward(n)]).collect()
            }
            Cell::Gru(_) => {
                let both = [Reset::After, Reset::Before].into_iter().flat_map(|reset| [Pass::GruForward(reset), Pass::GruBackward(reset)]);
                both.chain([Pass::GruForwardCandidate, Pass::GruBackwardReset]).collect()
            }
            Cell::Lstm => {
                let flags = [(false, false), (false, true), (true, false), (true, true)];
                let both = flags
                    .into_iter()
                    .flat_map(|(peep, projected)| [Pass::LstmForward { peep, projected }, Pass::LstmBackward { peep, projected }]);
                both.chain([Pass::LstmForwardProjection, Pass::LstmBackwardProjection]).collect()
            }
        }
    }
}

/// A pass with a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Step {
    pub pass: Pass,
    pub tile: Tile,
}

impl Variant for Step {
    fn kernel(&self) -> &'static Kernel {
        match self.pass {
            Pass::RnnForward(_) => &rnn::gpu::FORWARD,
            Pass::RnnBackward(_) => &rnn::gpu::BACKWARD,
            Pass::GruForward(_) => &gru::gpu::FORWARD,
            Pass::GruForwardCandidate => &gru::gpu::FORWARD_CANDIDATE,
            Pass::GruBackward(_) => &gru::gpu::BACKWARD,
            Pass::GruBackwardReset => &gru::gpu::BACKWARD_RESET,
            Pass::LstmForward { .. } => &lstm::gpu::FORWARD,
            Pass::LstmForwardProjection => &lstm::gpu::FORWARD_PROJECTION,
            Pass::LstmBackward { .. } => &lstm::gpu::BACKWARD,
            Pass::LstmBackwardProjection => &lstm::gpu::BACKWARD_PROJECTION,
        }
    }

    fn knobs(&self) -> Knobs {
        let knobs = self.tile.knobs();
        match self.pass {
            Pass::RnnForward(nonlinearity) | Pass::RnnBackward(nonlinearity) => knobs.bool("RELU", nonlinearity == Nonlinearity::Relu),
            Pass::GruForward(reset) | Pass::GruBackward(reset) => knobs.flag("BEFORE", reset == Reset::Before),
            Pass::LstmForward { peep, projected } | Pass::LstmBackward { peep, projected } => {
                knobs.flag("PEEP", peep).flag("PROJECTED", projected)
            }
            _ => knobs,
        }
    }
}

/// Every variant that walks steps of a kind of cell.
pub(super) fn all(cell: Cell, caps: &Caps) -> Vec<AnyVariant> {
    let tiles = Tile::all(caps);
    Pass::all(cell)
        .into_iter()
        .flat_map(|pass| tiles.iter().map(move |&tile| AnyVariant::of(Step { pass, tile })).collect::<Vec<_>>())
        .collect()
}
