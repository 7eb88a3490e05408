//! The shapes of tiles, and which one a device gets.

use crate::DType;
use crate::gpu::{Caps, Choice, Gpu, Knobs, MatrixTeams};
use crate::ops::Tuning;

/// How operands reach those that multiply them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Workgroup,
    Units,
}

/// By the dimension of a head.
impl Choice for Scheme {
    const NAME: &'static str = "attention tile";

    fn all(caps: &Caps) -> Vec<(String, Self)> {
        let has = |which: fn(&Tile) -> bool| Tile::all(caps).iter().any(which);
        let (broadcast, units) = (has(|tile| tile.broadcast), has(|tile| tile.units.is_some()));
        let staged = (broadcast || units).then(|| ("workgroup memory".into(), Scheme::Workgroup));
        let units = (units && caps.software).then(|| ("matrix units".into(), Scheme::Units));
        staged.into_iter().chain(units).collect()
    }
}

/// How a workgroup is laid out: the knobs of shaders/lib/tile.wgsl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    /// Matrix units multiply, which serve the forward of f16.
    pub units: Option<MatrixTeams>,
    /// Operands go from register to register within a subgroup, which is as wide as a team.
    pub broadcast: bool,
    /// A team shares 16 rows, otherwise 8: for the forward alone, in registers, where it halves what is read of keys and values.
    pub tall: bool,
    /// Invocations of a team.
    pub grid_x: u32,
    /// Teams of a workgroup.
    pub grid_y: u32,
    /// Vectors of 4 columns of a wide product that an invocation holds.
    pub quads: u32,
    /// Steps that are staged in workgroup memory at a time.
    pub panel: u32,
    /// See shaders/lib/loops.wgsl.
    pub loops_stay: bool,
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
        Tile::find(gpu, dim, rows, |tile| tile.serves_all())
    }

    fn find(gpu: &Gpu, dim: usize, rows: usize, serves: impl Fn(&Tile) -> bool) -> Option<Self> {
        let staged = gpu.choice(dim) == Some(Scheme::Workgroup);
        let fits = |tile: &Tile| tile.dim() >= dim && tile.few() == (rows <= FEW) && !(staged && tile.broadcast);
        Tile::all(gpu.caps()).into_iter().find(|tile| fits(tile) && serves(tile))
    }

    /// The one for the forward of q, k and v that are stored alike: on matrix units, where they are and what they take, and else as
    /// [`Tile::choose`], or a tall one. Software pretends to have units, and is slower with them.
    pub fn choose_forward(gpu: &Gpu, elem: DType, dim: usize, rows: usize) -> Option<Self> {
        let scheme = gpu.choice(dim);
        let wanted = scheme == Some(Scheme::Units) || (scheme.is_none() && !gpu.caps().software);
        let serves = |tile: &Tile| tile.units.is_some() && tile.dim() >= dim;
        let units = Tile::all(gpu.caps()).into_iter().find(serves).filter(|_| wanted && elem == DType::F16 && rows > FEW);
        units.or_else(|| Tile::find(gpu, dim, rows, |tile| tile.tall)).or_else(|| Tile::choose(gpu, dim, rows))
    }

    /// Whether a handle has been told which tile to take for a head dimension.
    pub fn is_chosen(gpu: &Gpu, dim: usize) -> bool {
        gpu.choice::<Scheme>(dim).is_some()
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
        let loops_stay = caps.software;
        let staged =
            |grid_x, grid_y, quads, panel| Tile { units: None, broadcast: false, tall: false, grid_x, grid_y, quads, panel, loops_stay };
        let mut all = vec![];
        if let Some(width) = caps.subgroup_width().filter(|width| caps.software && (8..=16).contains(width)) {
            let broadcast =
                |tall, quads, grid_y| Tile { units: None, broadcast: true, tall, grid_x: width, grid_y, quads, panel: 0, loops_stay };
            all.extend([1, 2].map(|quads| broadcast(false, quads, 64 / width)));
            all.extend([1, 2].map(|quads| broadcast(true, quads, 32 / width)));
            all.extend([1, 2].map(|quads| broadcast(false, quads, 1)));
        }
        all.extend([staged(8, 8, 1, 8), staged(8, 8, 2, 8), staged(16, 4, 2, 8), staged(32, 2, 2, 4)]);
        all.extend([staged(32, 1, 1, 4), staged(32, 1, 2, 4)]);
        if let Some(teams) = caps.matrix_teams() {
            let grid_y = |grid_x| teams.lanes / grid_x;
            let on_units = |grid_x, quads| Tile {
                units: Some(teams),
                broadcast: false,
                tall: false,
                grid_x,
                grid_y: grid_y(grid_x),
                quads,
                panel: 0,
                loops_stay,
            };
            let tiles = [(8, 1), (8, 2), (16, 2), (32, 2)].map(|(grid_x, quads)| on_units(grid_x, quads));
            all.extend(tiles.into_iter().filter(|tile| tile.fits(caps, teams)));
        }
        all
    }

    /// Whether the blocks of matrix units divide this tile evenly among the subgroups, and a workgroup has memory for it.
    fn fits(&self, caps: &Caps, MatrixTeams { size, lanes }: MatrixTeams) -> bool {
        let (rows, columns, width) = (8 * self.grid_y, 4 * self.grid_x, 4 * self.quads * self.grid_x);
        let blocks = |columns: u32| (rows * columns).is_multiple_of(MatrixTeams::TEAMS * size * size);
        let even = |columns: u32| rows.is_multiple_of(size) && columns.is_multiple_of(size) && blocks(columns);
        let results = ((MatrixTeams::TEAMS + 1) * size * size).max(self.grid_x * rows);
        // As in shaders/lib/tile_units.wgsl, and a little for single variables.
        let bytes = 2 * ((rows + columns) * 32).max(size * width) + 2 * 2 * rows * columns + 4 * results + 32;
        lanes.is_multiple_of(self.grid_x) && even(columns) && even(width) && bytes <= caps.max_workgroup_bytes
    }

    /// The largest head dimension that it serves.
    pub fn dim(&self) -> usize {
        4 * (self.quads * self.grid_x) as usize
    }

    /// Whether it is for few rows.
    pub fn few(&self) -> bool {
        self.grid_y == 1 && self.units.is_none()
    }

    /// Whether every kernel has a variant of it, not the forward alone.
    pub fn serves_all(&self) -> bool {
        self.units.is_none() && !self.tall
    }

    /// Rows of a tile.
    pub fn rows(&self) -> usize {
        (if self.tall { 16 } else { 8 }) * self.grid_y as usize
    }

    /// Columns of a tile.
    pub fn columns(&self) -> usize {
        4 * self.grid_x as usize
    }

    /// The knobs of shaders/lib/tile.wgsl.
    pub fn knobs(self) -> Knobs {
        if let Some(teams) = self.units {
            let knobs = teams.knobs().flag("UNITS", true).u32("GRID_X", self.grid_x).u32("QUADS", self.quads);
            return knobs.bool("LOOPS_STAY", self.loops_stay);
        }
        let knobs = Knobs::new().u32("GRID_X", self.grid_x).u32("GRID_Y", self.grid_y).u32("QUADS", self.quads);
        let knobs = knobs.bool("LOOPS_STAY", self.loops_stay).flag("SUBGROUPS", self.broadcast);
        if self.broadcast { knobs.flag("TALL", self.tall) } else { knobs.u32("PANEL", self.panel) }
    }
}
