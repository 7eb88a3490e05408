//! The shapes of tiles, and which one a device gets.

use crate::gpu::{Caps, Choice, Gpu, Knobs};
use crate::ops::Tuning;

/// How operands reach those that multiply them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Workgroup,
}

/// By the dimension of a head.
impl Choice for Scheme {
    const NAME: &'static str = "attention tile";

    fn all(caps: &Caps) -> Vec<(String, Self)> {
        let broadcast = Tile::all(caps).iter().any(|tile| tile.broadcast);
        broadcast.then(|| ("workgroup memory".into(), Scheme::Workgroup)).into_iter().collect()
    }
}

/// How a workgroup is laid out: the knobs of shaders/lib/tile.wgsl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    /// Operands go from register to register within a subgroup, which is as wide as a team.
    pub broadcast: bool,
    /// Invocations of a team, which shares 8 rows.
    pub grid_x: u32,
    /// Teams of a workgroup.
    pub grid_y: u32,
    /// Vectors of 4 columns of a wide product that an invocation holds.
    pub quads: u32,
    /// Steps that are staged in workgroup memory at a time.
    pub panel: u32,
}

/// Queries of a sequence up to which it is decoding.
pub(crate) const FEW: usize = 16;

/// The largest head dimension with a tile.
pub(crate) const MAX_DIM: usize = 256;

impl Tile {
    /// The one for a head dimension, the larger of those of keys and values, and a number of rows: the first that serves it.
    ///
    /// Few rows are queries that decode: there a workgroup is one team, and the keys are split over several (see [`FEW`]).
    pub fn choose(gpu: &Gpu, dim: usize, rows: usize) -> Option<Self> {
        let staged = gpu.choice(dim) == Some(Scheme::Workgroup);
        let serves = |tile: &Tile| tile.dim() >= dim && !(staged && tile.broadcast) && tile.few() == (rows <= FEW);
        Tile::all(gpu.caps()).into_iter().find(serves)
    }

    /// The choice of a device, and what it would have been without its subgroups.
    pub fn tunings(caps: &Caps) -> Vec<Tuning> {
        Tuning::all::<Scheme>(caps)
    }

    /// Every one for a device, the preferred first among those that serve a head dimension.
    ///
    /// In workgroup memory 64 invocations take 12 to 15 KiB. Where subgroups have one width and run on a CPU, registers are cheap and
    /// memory is not, so that teams of a subgroup win.
    pub fn all(caps: &Caps) -> Vec<Self> {
        let staged = |grid_x, grid_y, quads, panel| Tile { broadcast: false, grid_x, grid_y, quads, panel };
        let mut all = vec![];
        if let Some(width) = caps.subgroup_width().filter(|width| caps.software && (8..=16).contains(width)) {
            let broadcast = |quads, grid_y| Tile { broadcast: true, grid_x: width, grid_y, quads, panel: 4 };
            all.extend([broadcast(1, 64 / width), broadcast(2, 64 / width), broadcast(1, 1), broadcast(2, 1)]);
        }
        all.extend([staged(8, 8, 1, 8), staged(8, 8, 2, 8), staged(16, 4, 2, 8), staged(32, 2, 2, 4)]);
        all.extend([staged(32, 1, 1, 4), staged(32, 1, 2, 4)]);
        all
    }

    /// The largest head dimension that it serves.
    pub fn dim(&self) -> usize {
        4 * (self.quads * self.grid_x) as usize
    }

    /// Whether it is for few rows.
    pub fn few(&self) -> bool {
        self.grid_y == 1
    }

    /// Rows of a tile.
    pub fn rows(&self) -> usize {
        8 * self.grid_y as usize
    }

    /// Columns of a tile.
    pub fn columns(&self) -> usize {
        4 * self.grid_x as usize
    }

    /// The knobs of shaders/lib/tile.wgsl.
    pub fn knobs(self) -> Knobs {
        let knobs = Knobs::new().u32("GRID_X", self.grid_x).u32("GRID_Y", self.grid_y).u32("QUADS", self.quads).u32("PANEL", self.panel);
        knobs.flag("SUBGROUPS", self.broadcast)
    }
}
