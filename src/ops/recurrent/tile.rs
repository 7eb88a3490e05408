//! The shapes of the steps' tiles, how many steps a dispatch walks, and which of them a call gets.

use super::{Cell, Problem, Reset};
use crate::gpu::{Caps, Choice, Gpu, Knobs};
use crate::ops::Tuning;

/// How a workgroup is laid out: the knobs of shaders/lib/tile.wgsl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    /// Operands go from register to register within a subgroup, which is as wide as a team.
    broadcast: bool,
    /// Invocations of a team, which shares 8 sequences.
    grid_x: u32,
    /// Teams of a workgroup.
    grid_y: u32,
    /// See shaders/lib/loops.wgsl.
    loops_stay: bool,
}

/// Steps of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// One, whose columns are spread over workgroups.
    Step,
    /// Many: a workgroup has all columns of its sequences.
    Walk,
}

/// By the units of a layer.
impl Choice for Pace {
    const NAME: &'static str = "pace";

    fn all(_caps: &Caps) -> Vec<(String, Self)> {
        vec![("step by step".into(), Pace::Step), ("many steps".into(), Pace::Walk)]
    }
}

impl Tile {
    /// The preferred one for so many sequences.
    pub fn choose(caps: &Caps, batch: usize) -> Self {
        let all = Tile::all(caps);
        let fits = |tile: &Tile| tile.broadcast || tile.rows() >= batch;
        all.iter().copied().find(fits).unwrap_or_else(|| all[all.len() - 1])
    }

    /// Every one for a device.
    ///
    /// Where subgroups have one width and run on a CPU, registers are cheap and memory is not (see ARCHITECTURE.md, "Attention, fused"):
    /// there a workgroup is one subgroup. Otherwise few sequences get wide tiles and many get square ones.
    pub fn all(caps: &Caps) -> Vec<Self> {
        if let Some(grid_x) = caps.subgroup_width().filter(|width| caps.software && (8..=16).contains(width)) {
            return vec![Tile { broadcast: true, grid_x, grid_y: 1, loops_stay: caps.software }];
        }
        [(32, 1), (32, 2), (8, 8)].map(|(grid_x, grid_y)| Tile { broadcast: false, grid_x, grid_y, loops_stay: caps.software }).into()
    }

    /// Sequences of a tile.
    pub fn rows(&self) -> usize {
        8 * self.grid_y as usize
    }

    /// Columns of a tile.
    pub fn columns(&self) -> usize {
        4 * self.grid_x as usize
    }

    /// The knobs of shaders/lib/tile.wgsl.
    pub fn knobs(self) -> Knobs {
        let knobs = Knobs::new().u32("GRID_X", self.grid_x).u32("GRID_Y", self.grid_y).u32("QUADS", 1);
        if self.broadcast { knobs.flag("SUBGROUPS", true) } else { knobs.bool("LOOPS_STAY", self.loops_stay) }
    }
}

/// Above this many units a workgroup that had them all would be too slow alone.
const WALKED: usize = 128;

/// How many steps a dispatch walks at most.
///
/// No barrier reaches across workgroups. So either a step is a dispatch, and its columns are spread over workgroups; or a workgroup
/// has all columns of its sequences and walks on by itself, which saves a dispatch for each step and leaves most of a large device idle.
/// A step of two dispatches cannot be walked.
pub(super) fn steps(gpu: &Gpu, problem: &Problem) -> usize {
    let halves = problem.projection || problem.cell == Cell::Gru(Reset::Before);
    let pace = gpu.choice(problem.hidden).unwrap_or(if problem.hidden <= WALKED { Pace::Walk } else { Pace::Step });
    if pace == Pace::Step || halves { 1 } else { usize::MAX }
}

/// The default, then both paces pinned.
pub(crate) fn tunings(caps: &Caps) -> Vec<Tuning> {
    Tuning::all::<Pace>(caps)
}
