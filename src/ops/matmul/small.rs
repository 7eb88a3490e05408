//! Batches of small matrices: the host side of shaders/matmul/small.wgsl.

use crate::DType;
use crate::gpu::{Binding, Caps, Kernel, Knobs, Variant};
use crate::ops::host::floats;
use crate::ops::product::{self, Extra, Product, Tiled};

static SMALL: Kernel = Kernel {
    name: "matmul/small",
    source: include_str!("../../../shaders/matmul/small.wgsl"),
    params: product::FIELDS,
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::read("bias").when("BIAS"), Binding::write("y")],
};

/// Invocations of a workgroup, and the rows and columns of each: LANES and EACH of the shader.
const LANES: usize = 64;
const EACH: usize = 4;
/// Rows and columns up to which a matrix is small: those of a workgroup.
const MOST: usize = 32;
/// Terms up to which a sum is for one invocation.
const TERMS: usize = 256;

/// The product of small matrices that are stored alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Small {
    operands: DType,
    y: DType,
    bias: bool,
}

impl Small {
    /// Whether a product is one for this kernel.
    pub fn serves(product: &Product) -> bool {
        let small = product.m <= MOST && product.n <= MOST && product.k <= TERMS;
        small && product.batch.iter().any(|&size| size > 1) && product.a.tensor.dtype() == product.b.tensor.dtype()
    }

    pub fn of(product: &Product) -> Self {
        let Product { a, y, .. } = product;
        Small { operands: a.tensor.dtype(), y: y.tensor.dtype(), bias: matches!(product.extra, Extra::OfY(_)) }
    }

    /// Every variant.
    pub fn all(caps: &Caps) -> Vec<Small> {
        let types = floats(caps).iter().flat_map(|&operands| floats(caps).iter().map(move |&y| (operands, y)));
        types.flat_map(|(operands, y)| [false, true].map(|bias| Small { operands, y, bias })).collect()
    }
}

impl Tiled for Small {
    fn tile(&self) -> [usize; 2] {
        [MOST, MOST]
    }

    fn matrices(&self, m: usize, n: usize) -> usize {
        LANES / (m.div_ceil(EACH) * n.div_ceil(EACH))
    }
}

impl Variant for Small {
    fn kernel(&self) -> &'static Kernel {
        &SMALL
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().dtype("elem", self.operands).dtype("elem_y", self.y).flag("BIAS", self.bias)
    }
}
