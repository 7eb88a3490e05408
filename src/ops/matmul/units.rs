//! Products on matrix units: the host side of shaders/matmul/units.wgsl.

use crate::DType;
use crate::gpu::{Binding, Caps, Kernel, Knobs, MatrixTeams, Variant};
use crate::ops::host::floats;
use crate::ops::product::{self, Extra, Product};

static UNITS: Kernel = Kernel {
    name: "matmul/units",
    source: include_str!("../../../shaders/matmul/units.wgsl"),
    params: product::FIELDS,
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::read("bias").when("BIAS"), Binding::write("y")],
};

/// The product of f16 on matrix units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Units {
    teams: MatrixTeams,
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
        let knobs = self.teams.knobs().dtype("elem_y", self.y).flag("BIAS", self.bias);
        knobs.bool("A_ALONG_K", self.along.a_k).bool("B_ALONG_K", self.along.b_k).flag("QUADS", self.along.quads)
    }
}

impl Units {
    /// The variant for a product, where there is one.
    pub fn choose(caps: &Caps, product: &Product) -> Option<Self> {
        let Product { a, b, y, k, .. } = product;
        let storage = [a, b].map(|operand| operand.tensor.dtype());
        let teams = caps.matrix_teams().filter(|_| storage == [DType::F16; 2])?;
        let (a_k, b_k) = (a.col == 1, b.row == 1);
        let a_quads = if a_k { a.quads(a.col, a.row, *k) } else { a.quads(a.row, a.col, product.m) };
        let b_quads = if b_k { b.quads(b.row, b.col, *k) } else { b.quads(b.col, b.row, product.n) };
        let along = Along { a_k, b_k, quads: a_quads && b_quads };
        Some(Units { teams, y: y.tensor.dtype(), bias: matches!(product.extra, Extra::OfY(_)), along })
    }

    /// Every variant that a device may come to.
    pub fn all(caps: &Caps) -> Vec<Units> {
        let Some(teams) = caps.matrix_teams() else { return vec![] };
        let flags = || (0..16).map(|bits| [1, 2, 4, 8].map(|bit| bits & bit != 0));
        let of = |y| flags().map(move |[a_k, b_k, quads, bias]| Units { teams, y, bias, along: Along { a_k, b_k, quads } });
        floats(caps).iter().flat_map(|&y| of(y)).collect()
    }
}
