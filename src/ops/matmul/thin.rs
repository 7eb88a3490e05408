//! Products with few rows, few columns or short sums: the host side of shaders/matmul/thin.wgsl, and sums that are split so that few
//! outputs keep a device busy.

use crate::gpu::{Binding, Caps, Gpu, Kernel, Knobs, Variant};
use crate::ops::host::floats;
use crate::ops::product::{self, Extra, Matrices, Product, TILE};
use crate::ops::strided::{Dims, contiguous};
use crate::ops::sum::gpu::Reduction;
use crate::{DType, Result};

static THIN: Kernel = Kernel {
    name: "matmul/thin",
    source: include_str!("../../../shaders/matmul/thin.wgsl"),
    params: product::FIELDS,
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::read("bias").when("BIAS"), Binding::write("y")],
};

/// Rows up to which a product is thin: those of a workgroup.
const FEW: usize = 4;
/// Terms up to which a sum is short.
const SHORT: usize = 2;
/// Invocations of a workgroup.
const LANES: u32 = 256;

/// The product with few rows or short sums, of operands that are stored alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thin {
    operands: DType,
    y: DType,
    bias: bool,
    /// One row, otherwise four.
    single: bool,
    /// Invocations that share a sum.
    parts: u32,
    /// Columns of b go along memory, otherwise its rows.
    b_along_k: bool,
}

impl Thin {
    /// The product with few rows where it has few columns: y and its transpose are the same memory.
    pub fn turned<'a>(product: &Product<'a>) -> Product<'a> {
        if product.n < product.m && product.n <= FEW { product.transposed() } else { *product }
    }

    /// Whether a product is one for this kernel. It goes by the whole of it: the last rows of another are few as well.
    pub fn serves(product: &Product) -> bool {
        (product.m <= FEW || product.k <= SHORT) && product.a.tensor.dtype() == product.b.tensor.dtype()
    }

    pub fn of(product: &Product) -> Self {
        let Product { a, b, y, .. } = product;
        let bias = matches!(product.extra, Extra::OfY(_));
        let b_along_k = b.row == 1;
        // Neighbours in memory are neighbours in a workgroup.
        let parts = if product.k <= SHORT {
            1
        } else if b_along_k {
            32
        } else {
            8
        };
        Thin { operands: a.tensor.dtype(), y: y.tensor.dtype(), bias, single: product.m == 1, parts, b_along_k }
    }

    /// Rows and columns of a workgroup.
    pub fn tile(&self) -> [usize; 2] {
        [if self.single { 1 } else { 4 }, (LANES / self.parts) as usize]
    }

    /// Every variant.
    pub fn all(caps: &Caps) -> Vec<Thin> {
        let mut all = vec![];
        for &operands in floats(caps) {
            for &y in floats(caps) {
                for bits in 0..8 {
                    let [bias, single, b_along_k] = [1, 2, 4].map(|bit| bits & bit != 0);
                    let long = if b_along_k { 32 } else { 8 };
                    all.extend([1, long].map(|parts| Thin { operands, y, bias, single, parts, b_along_k }));
                }
            }
        }
        all
    }
}

impl Variant for Thin {
    fn kernel(&self) -> &'static Kernel {
        &THIN
    }

    fn knobs(&self) -> Knobs {
        let types = Knobs::new().dtype("elem", self.operands).dtype("elem_y", self.y).flag("BIAS", self.bias).flag("SINGLE", self.single);
        types.u32("PARTS", self.parts).u32("COLS", LANES / self.parts).bool("B_ALONG_K", self.b_along_k)
    }
}

/// Steps of a slice of a sum: as many as kernels add on their own.
const SLICE: usize = 2048;

/// The slices that a sum is split into where a device would have nothing else to do: 1 for all but long sums of few outputs.
pub(super) fn slices(gpu: &Gpu, product: &Product) -> usize {
    let tiles = product.batch.iter().product::<usize>() * product.m.div_ceil(TILE) * product.n.div_ceil(TILE);
    let wanted: usize = if gpu.caps().software { 8 } else { 256 };
    let splits = matches!(product.extra, Extra::None) && product.y.tensor.dtype() == DType::F32;
    if splits { (wanted / tiles).min(product.k / SLICE).max(1) } else { 1 }
}

/// Records y = a b, or y += a b, as so many products over slices of k and a sum over them, in order.
pub(super) fn split(gpu: &Gpu, product: &Product, slices: usize, run: impl Fn(&Product) -> Result<()>) -> Result<()> {
    let Product { batch, m, n, k, a, b, y, .. } = *product;
    let length = (k / slices).next_multiple_of(4).min(k);
    let whole = k / length;
    let outputs = batch.iter().product::<usize>() * m * n;
    let partial = gpu.empty(DType::F32, &[whole, outputs])?;
    let inner = contiguous(batch, m * n);
    let prefixed = |stride: usize, strides: &[usize]| [&[stride], strides].concat();
    let sizes = prefixed(whole, batch);
    let (a_batch, b_batch, y_batch) = (prefixed(length * a.col, a.batch), prefixed(length * b.row, b.batch), prefixed(outputs, &inner));
    let into = Matrices { tensor: &partial, start: 0, row: n, col: 1, batch: &y_batch };
    let slice = Product {
        batch: &sizes,
        k: length,
        accumulate: false,
        a: Matrices { batch: &a_batch, ..a },
        b: Matrices { batch: &b_batch, ..b },
        y: into,
        ..*product
    };
    run(&slice)?;
    // What is left over goes to the last slice.
    let rest = k - whole * length;
    if rest > 0 {
        let (a, b) = (a.at(whole * length * a.col), b.at(whole * length * b.row));
        let y = Matrices { batch: &inner, ..into.at((whole - 1) * outputs) };
        run(&Product { k: rest, accumulate: true, a, b, y, ..*product })?;
    }
    let strides = batch.iter().zip(&inner).zip(y.batch).map(|((&size, &from), &to)| (size, [from, to]));
    let kept = Dims::new(strides.chain([(m, [n, y.row]), (n, [1, y.col])]));
    let summed = Dims::new([(whole, [outputs])]);
    let accumulate = product.accumulate;
    Reduction { x: &partial, y: y.tensor, start: [0, y.start], kept, summed, scale: 1.0, accumulate }.run(gpu)
}
