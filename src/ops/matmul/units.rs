//! Products on matrix units: the host side of shaders/matmul/units.wgsl.

use crate::DType;
use crate::gpu::{Binding, Caps, Kernel, Knobs, Variant};
use crate::ops::host::floats;
use crate::ops::product::{self, Extra, Product};

static UNITS: Kernel = Kernel {
    name: "matmul/units",
    source: include_str!("../../../shaders/matmul/units.wgsl"),
    params: product::FIELDS,
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::read("bias").when("BIAS"), Binding::write("y")],
};

/// TEAMS of the shader: the subgroups that share a tile.
const TEAMS: u32 = 4;

/// The product on matrix units, of operands that are stored alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Units {
    /// Rows, columns and depth of what a unit multiplies.
    size: u32,
    /// The most invocations that a subgroup has.
    width: u32,
    operands: DType,
    y: DType,
    bias: bool,
    along: Along,
}

/// How a and b lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Along {
    /// Rows of a go along memory, otherwise its columns.
    a_k: bool,
    /// Columns of b go along memory, otherwise its rows.
    b_k: bool,
    /// Both can be read in vectors of 4.
    quads: bool,
}

impl Variant for Units {
    fn kernel(&self) -> &'static Kernel {
        &UNITS
    }

    fn knobs(&self) -> Knobs {
        let types = Knobs::new().dtype("elem", self.operands).dtype("elem_y", self.y).flag("BIAS", self.bias);
        let along = types.bool("A_ALONG_K", self.along.a_k).bool("B_ALONG_K", self.along.b_k).flag("QUADS", self.along.quads);
        along.u32("LANES", self.width * TEAMS).flag("MATRIX_16", self.size == 16).flag("MATRIX_8", self.size == 8)
    }
}

impl Units {
    /// The size of units for operands of a type and the width of subgroups, on a device that has them.
    fn of(caps: &Caps, dtype: DType) -> Option<(u32, u32)> {
        let fits = caps.subgroup_max * TEAMS <= caps.max_invocations;
        caps.matrix_unit(dtype).filter(|_| fits).map(|size| (size, caps.subgroup_max))
    }

    /// The variant for a product, where there is one.
    pub fn choose(caps: &Caps, product: &Product) -> Option<Self> {
        let Product { a, b, y, k, .. } = product;
        let operands = a.tensor.dtype();
        let (size, width) = Units::of(caps, operands).filter(|_| b.tensor.dtype() == operands)?;
        let (a_k, b_k) = (a.col == 1, b.row == 1);
        let a_quads = if a_k { a.quads(a.col, a.row, *k) } else { a.quads(a.row, a.col, product.m) };
        let b_quads = if b_k { b.quads(b.row, b.col, *k) } else { b.quads(b.col, b.row, product.n) };
        let along = Along { a_k, b_k, quads: a_quads && b_quads };
        Some(Units { size, width, operands, y: y.tensor.dtype(), bias: matches!(product.extra, Extra::OfY(_)), along })
    }

    /// Every variant that a device may come to.
    pub fn all(caps: &Caps) -> Vec<Units> {
        let mut all = vec![];
        for &operands in floats(caps) {
            let Some((size, width)) = Units::of(caps, operands) else { continue };
            for &y in floats(caps) {
                for bits in 0..16 {
                    let [a_k, b_k, quads, bias] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
                    all.push(Units { size, width, operands, y, bias, along: Along { a_k, b_k, quads } });
                }
            }
        }
        all
    }
}
