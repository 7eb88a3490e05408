//! Copies that turn matrices over, in tiles: the host side of shaders/transpose/tiles.wgsl.

use crate::gpu::{AnyVariant, Bind, Binding, Caps, Choice, Gpu, Kernel, Knobs, Params, Variant, View, Work, spread};
use crate::ops::strided::KERNEL_DIMS;
use crate::{DType, Result};

crate::params! {
    /// As in shaders/transpose/tiles.wgsl.
    struct TilesParams {
        tiles: u32, column_tiles: u32, row_tiles: u32, columns: u32, rows: u32, inner: u32,
        x_base: u32, x_outer: u32, x_inner: u32, x_row: u32,
        y_base: u32, y_outer: u32, y_inner: u32, y_column: u32,
        padding_0: u32, padding_1: u32,
    }
}

static TILES: Kernel = Kernel {
    name: "transpose/tiles",
    source: include_str!("../../../shaders/transpose/tiles.wgsl"),
    params: TilesParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

/// Invocations of a workgroup.
const LANES: u32 = 256;

/// Rows and columns of a tile.
const SIDE: u32 = 32;

/// Below so many rows or columns most of a tile would be empty, and what is read past is soon asked for again.
const FEWEST: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tiled {
    elem: DType,
}

impl Variant for Tiled {
    fn kernel(&self) -> &'static Kernel {
        &TILES
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().dtype("elem", self.elem).u32("LANES", LANES).u32("SIDE", SIDE)
    }
}

/// The variant of a type.
pub(super) fn kernel(elem: DType) -> AnyVariant {
    AnyVariant::of(Tiled { elem })
}

/// How matrices are turned over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Each invocation copies an element, from wherever it is.
    Elements,
    /// In tiles. A driver that runs on the CPU has a cache to read from and pays for the barrier.
    Tiles,
}

impl Choice for Way {
    const NAME: &'static str = "transpose.way";

    fn all(_caps: &Caps) -> Vec<(String, Self)> {
        vec![("by elements".into(), Way::Elements), ("by tiles".into(), Way::Tiles)]
    }
}

/// Matrices that are turned over, at most two dimensions of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Matrices {
    /// Sizes and strides of x and y: the matrices, their rows (neighbours in y) and their columns (neighbours in x).
    outer: (u32, [u32; 2]),
    inner: (u32, [u32; 2]),
    rows: (u32, u32),
    columns: (u32, u32),
}

impl Matrices {
    /// The dimensions of a copy as matrices, where it turns some over.
    pub fn of(sizes: [u32; KERNEL_DIMS], strides: [[u32; KERNEL_DIMS]; 2]) -> Option<Self> {
        let [x, y] = strides;
        let last = KERNEL_DIMS - 1;
        let columns = (0..last).find(|&axis| x[axis] == 1 && sizes[axis] >= FEWEST)?;
        if y[last] != 1 || sizes[last] < FEWEST {
            return None;
        }
        let mut others = (0..last).filter(|&axis| axis != columns).map(|axis| (sizes[axis], [x[axis], y[axis]]));
        let (outer, inner) = (others.next()?, others.next()?);
        Some(Matrices { outer, inner, rows: (sizes[last], x[last]), columns: (sizes[columns], y[columns]) })
    }

    /// Records the copy of elements stored as `elem`, f32 or f16.
    pub fn copy(self, gpu: &Gpu, elem: DType, x: View, y: View) -> Result<()> {
        let Matrices { outer, inner, rows: (rows, x_row), columns: (columns, y_column) } = self;
        let (column_tiles, row_tiles) = (columns.div_ceil(SIDE), rows.div_ceil(SIDE));
        let tiles = outer.0 * inner.0 * column_tiles * row_tiles;
        let params = TilesParams {
            tiles,
            column_tiles,
            row_tiles,
            columns,
            rows,
            inner: inner.0,
            x_base: x.base(),
            x_outer: outer.1[0],
            x_inner: inner.1[0],
            x_row,
            y_base: y.base(),
            y_outer: outer.1[1],
            y_inner: inner.1[1],
            y_column,
            padding_0: 0,
            padding_1: 0,
        };
        let count = f64::from(outer.0) * f64::from(inner.0) * f64::from(rows) * f64::from(columns);
        let work = Work { flops: 0.0, bytes: 2.0 * count * elem.bytes() as f64 };
        gpu.dispatch(Tiled { elem }, &params, &[Bind::Read(x), Bind::Write(y)], spread(tiles as usize, gpu.caps()), work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_matrices_over() {
        // [2, 3, 65, 33] from [2, 3, 33, 65].
        let turned = Matrices::of([2, 3, 65, 33], [[6435, 2145, 1, 65], [6435, 2145, 33, 1]]).unwrap();
        assert_eq!((turned.rows, turned.columns), ((33, 65), (65, 33)));
        assert_eq!((turned.outer, turned.inner), ((2, [6435; 2]), (3, [2145; 2])));
        // Columns that are not next to the rows: [64, 5, 32] from [5, 32, 64].
        let apart = Matrices::of([1, 64, 5, 32], [[0, 1, 2048, 64], [0, 160, 32, 1]]).unwrap();
        assert_eq!((apart.outer.0, apart.inner, apart.columns), (1, (5, [2048, 32]), (64, 160)));
        // Neighbours stay neighbours; too few rows; too few columns; every other column.
        assert_eq!(Matrices::of([1, 5, 7, 64], [[0, 64, 320, 1], [0, 448, 64, 1]]), None);
        assert_eq!(Matrices::of([1, 1, 64, 15], [[0, 0, 1, 64], [0, 0, 15, 1]]), None);
        assert_eq!(Matrices::of([1, 1, 15, 64], [[0, 0, 1, 15], [0, 0, 64, 1]]), None);
        assert_eq!(Matrices::of([1, 1, 64, 64], [[0, 0, 2, 128], [0, 0, 64, 1]]), None);
    }
}
