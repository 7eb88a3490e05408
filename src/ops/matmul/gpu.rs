//! The kernels' host side.

use super::small::Small;
use super::thin::{self, Thin};
use super::units::Units;
use super::{MatmulOptions, OP, Operand, Problem};
use crate::gpu::{AnyVariant, Binding, Caps, Choice, Gpu, Kernel, Knobs, Tensor, Variant};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::{expect_dtype, expect_float, expect_shape, floats};
use crate::ops::product::{self, Extra, Matrices, Product, TILE, Tiled};
use crate::ops::strided::contiguous;
use crate::ops::{Prepared, Request, Tuning, sum};
use crate::{DType, Result};

static FORWARD: Kernel = Kernel {
    name: "matmul/forward",
    source: include_str!("../../../shaders/matmul/forward.wgsl"),
    params: product::FIELDS,
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::read("bias").when("BIAS"), Binding::write("y")],
};

/// The product, by storage types. The gradients are products too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Forward {
    pub a: DType,
    pub b: DType,
    pub y: DType,
    pub bias: bool,
    /// Tiles of [`WIDE`] rows and columns.
    pub wide: bool,
}

/// Rows and columns of the larger tiles, which read memory half as often and take four times the invocations.
const WIDE: usize = 2 * TILE;

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        let knobs = Knobs::new().dtype("elem_a", self.a).dtype("elem_b", self.b).dtype("elem_y", self.y).flag("BIAS", self.bias);
        if !self.wide {
            return knobs;
        }
        knobs.u32("TILE", WIDE as u32).u32("GRID", WIDE as u32 / 8).u32("PANEL", 8)
    }
}

static BROADCAST: Kernel = Kernel {
    name: "matmul/broadcast",
    source: include_str!("../../../shaders/matmul/broadcast.wgsl"),
    params: product::FIELDS,
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::read("bias").when("BIAS"), Binding::write("output")],
};

/// The product from register to register, where a subgroup is `width` wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Broadcast {
    width: u32,
    bias: bool,
    /// Coefficients of minus zero in a mark hidden pairs.
    guarded: bool,
    /// Rows of a go along memory, otherwise its columns; the same of columns of b.
    a_along_k: bool,
    b_along_k: bool,
}

impl Variant for Broadcast {
    fn kernel(&self) -> &'static Kernel {
        &BROADCAST
    }

    fn knobs(&self) -> Knobs {
        let tile = Knobs::new().u32("GRID_X", self.width).u32("GRID_Y", TILE as u32 / 16).u32("QUADS", 1);
        let tile = tile.flag("SUBGROUPS", true).flag("TALL", true).bool("A_ALONG_K", self.a_along_k).bool("B_ALONG_K", self.b_along_k);
        tile.bool("GUARDED", self.guarded).flag("BIAS", self.bias)
    }
}

impl Broadcast {
    /// The width of subgroups on a device that it pays on: one that runs on a CPU, where a load costs more than the arithmetic it feeds.
    fn width(caps: &Caps) -> Option<u32> {
        caps.subgroup_width().filter(|width| caps.software && (8..=16).contains(width))
    }

    /// The variant for a product, where there is one: it reads and writes vectors of 4.
    pub fn choose(caps: &Caps, product: &Product, guarded: bool) -> Option<Self> {
        let width = Broadcast::width(caps)?;
        let Product { a, b, y, m, n, k, .. } = *product;
        let (a_along_k, b_along_k) = (a.quads(a.col, a.row, k), b.quads(b.row, b.col, k));
        let b_along_k = b_along_k && a_along_k && !guarded;
        let types = [a, b, y].iter().all(|matrices| matrices.tensor.dtype() == DType::F32);
        let reads = (a_along_k || a.quads(a.row, a.col, m)) && (b_along_k || b.quads(b.col, b.row, n));
        let fits = types && reads && k.is_multiple_of(4) && y.quads(y.col, y.row, n);
        fits.then_some(Broadcast { width, bias: matches!(product.extra, Extra::OfY(_)), guarded, a_along_k, b_along_k })
    }
}

/// Whether operands of products go from register to register on a device.
pub(crate) fn passes_registers(caps: &Caps) -> bool {
    Broadcast::width(caps).is_some()
}

impl Tiled for Broadcast {}

impl Broadcast {
    /// The variants that leave hidden pairs out.
    pub fn guarded(caps: &Caps) -> Vec<Self> {
        let of = |width| [false, true].map(|a_along_k| Broadcast { width, bias: false, guarded: true, a_along_k, b_along_k: false });
        Broadcast::width(caps).into_iter().flat_map(of).collect()
    }
}

/// The kernel that takes a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    Staged(Forward),
    Broadcast(Broadcast),
    Units(Units),
    Thin(Thin),
    Small(Small),
}

impl Way {
    /// For a piece of a product with few rows, or of another.
    fn choose(caps: &Caps, product: &Product, scheme: Option<Scheme>, thin: bool) -> Self {
        if thin {
            return Way::Thin(Thin::of(product));
        }
        // Software pretends to have matrix units, and is several times slower with them.
        let units = scheme == Some(Scheme::Units) || (scheme.is_none() && !caps.software);
        let units = Units::choose(caps, product).filter(|_| units).map(Way::Units);
        let broadcast = || {
            Broadcast::choose(caps, product, false)
                .filter(|_| !matches!(scheme, Some(Scheme::Workgroup | Scheme::Wide)))
                .map(Way::Broadcast)
        };
        if let Some(way) = units.or_else(broadcast) {
            return way;
        }
        let Product { a, b, y, .. } = product;
        let bias = matches!(product.extra, Extra::OfY(_));
        Way::Staged(Forward { a: a.tensor.dtype(), b: b.tensor.dtype(), y: y.tensor.dtype(), bias, wide: scheme == Some(Scheme::Wide) })
    }
}

impl Tiled for Way {
    fn tile(&self) -> [usize; 2] {
        match self {
            Way::Thin(variant) => variant.tile(),
            Way::Small(variant) => variant.tile(),
            Way::Staged(Forward { wide: true, .. }) => [WIDE, WIDE],
            _ => [TILE, TILE],
        }
    }

    fn matrices(&self, m: usize, n: usize) -> usize {
        match self {
            Way::Small(variant) => variant.matrices(m, n),
            _ => 1,
        }
    }
}

impl Variant for Way {
    fn kernel(&self) -> &'static Kernel {
        match self {
            Way::Staged(variant) => variant.kernel(),
            Way::Broadcast(variant) => variant.kernel(),
            Way::Units(variant) => variant.kernel(),
            Way::Thin(variant) => variant.kernel(),
            Way::Small(variant) => variant.kernel(),
        }
    }

    fn knobs(&self) -> Knobs {
        match self {
            Way::Staged(variant) => variant.knobs(),
            Way::Broadcast(variant) => variant.knobs(),
            Way::Units(variant) => variant.knobs(),
            Way::Thin(variant) => variant.knobs(),
            Way::Small(variant) => variant.knobs(),
        }
    }
}

/// How operands reach those that multiply them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Workgroup,
    Wide,
    Units,
}

/// By the rows or columns of y, whichever are fewer. Matrix units are a choice where they are not the default.
impl Choice for Scheme {
    const NAME: &'static str = "product";

    fn all(caps: &Caps) -> Vec<(String, Self)> {
        let units = !Units::all(caps).is_empty() && caps.software;
        let units = units.then(|| ("matrix units".into(), Scheme::Units));
        let staged = [("workgroup memory".into(), Scheme::Workgroup), (format!("tiles of {WIDE}"), Scheme::Wide)];
        staged.into_iter().chain(units).collect()
    }
}

/// The choice of a device, and what it does not choose.
pub(super) fn tunings(caps: &Caps) -> Vec<Tuning> {
    Tuning::all::<Scheme>(caps)
}

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    let types = floats(caps);
    let all = types.iter().flat_map(|&a| types.iter().flat_map(move |&b| types.iter().map(move |&y| (a, b, y))));
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    let staged = all.flat_map(|(a, b, y)| flags.map(|(bias, wide)| AnyVariant::of(Forward { a, b, y, bias, wide })));
    let ways = [(true, true), (true, false), (false, false)].into_iter().flat_map(|way| [(way, false), (way, true)]);
    let broadcast = Broadcast::width(caps).into_iter().flat_map(|width| {
        let all = ways.clone();
        all.map(move |((a_along_k, b_along_k), bias)| AnyVariant::of(Broadcast { width, bias, guarded: false, a_along_k, b_along_k }))
    });
    staged
        .chain(broadcast)
        .chain(Units::all(caps).into_iter().map(AnyVariant::of))
        .chain(Thin::all(caps).into_iter().map(AnyVariant::of))
        .chain(Small::all(caps).into_iter().map(AnyVariant::of))
        .collect()
}

/// The product whose rows go along the memory of y, where those of yᵀ do and its own do not: the same sums.
fn along_rows<'a>(product: &Product<'a>) -> Product<'a> {
    let turns = product.y.row == 1 && product.y.col != 1 && !matches!(product.extra, Extra::OfA(_));
    if turns { product.transposed() } else { *product }
}

/// Records y = a b, or y += a b, with sums in an order that does not depend on how many rows and columns there are: a row has the same bits
/// alone as among others.
pub(crate) fn run_by_tiles(gpu: &Gpu, product: &Product) -> Result<()> {
    let product = along_rows(product);
    let scheme = gpu.choice(product.m.min(product.n));
    product.run(gpu, |piece| Way::choose(gpu.caps(), piece, scheme, false))
}

/// Records y = a b, or y += a b. What few workgroups would do is split along its sums.
pub(crate) fn run(gpu: &Gpu, product: &Product) -> Result<()> {
    let product = &along_rows(product);
    let scheme = gpu.choice(product.m.min(product.n));
    if Small::serves(product) && scheme.is_none() {
        return product.run(gpu, |piece| Way::Small(Small::of(piece)));
    }
    let turned = Thin::turned(product);
    let thin = Thin::serves(&turned) && scheme.is_none();
    let product = if thin { turned } else { *product };
    let whole = |product: &Product| product.run(gpu, |piece| Way::choose(gpu.caps(), piece, scheme, thin));
    match thin::slices(gpu, &product) {
        1 => whole(&product),
        slices => thin::split(gpu, &product, slices, whole),
    }
}

/// The gradients of a product.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// In a's shape, f32.
    pub d_a: Tensor,
    /// In b's shape, f32.
    pub d_b: Tensor,
    /// `[N]`, f32; when there is a bias.
    pub d_bias: Option<Tensor>,
}

/// y `[.., M, N]` = a b + bias, stored as `options.output`.
///
/// a and b are f32 or f16, the bias `[N]` is f32. O(batches · M · N · K).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, a: &Tensor, b: &Tensor, bias: Option<&Tensor>, options: &MatmulOptions) -> Result<Tensor> {
    let problem = Problem::new(a.shape(), b.shape(), bias.map(Tensor::shape), options)?;
    check_types(a, b, bias)?;
    let y = gpu.empty(options.output, &problem.y_shape)?;
    let none = vec![0; problem.batch.len()];
    let bias = bias.map(|tensor| Matrices { tensor, start: 0, row: 0, col: 1, batch: &none });
    let strides = contiguous(&problem.batch, problem.m * problem.n);
    let product = Product {
        op: OP,
        batch: &problem.batch,
        m: problem.m,
        n: problem.n,
        k: problem.k,
        scale: 1.0,
        accumulate: false,
        a: matrices(a, &problem.a),
        b: matrices(b, &problem.b),
        extra: bias.map_or(Extra::None, Extra::OfY),
        y: Matrices { tensor: &y, start: 0, row: problem.n, col: 1, batch: &strides },
    };
    run(gpu, &product)?;
    Ok(y)
}

/// The gradients of a, b and, with `bias`, of the bias, from d_y `[.., M, N]`. O(batches · M · N · K).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, a: &Tensor, b: &Tensor, bias: bool, d_y: &Tensor, options: &MatmulOptions) -> Result<Gradients> {
    let problem = Problem::new(a.shape(), b.shape(), None, options)?;
    check_types(a, b, None)?;
    expect_float(OP, "d_y", d_y)?;
    expect_shape(OP, "d_y", d_y.shape(), &problem.y_shape)?;
    let (m, n, k) = (problem.m, problem.n, problem.k);
    let strides = contiguous(&problem.batch, m * n);
    let d_y_matrices = Matrices { tensor: d_y, start: 0, row: n, col: 1, batch: &strides };
    let d_a = gpu.empty(DType::F32, a.shape())?;
    let d_b = gpu.empty(DType::F32, b.shape())?;
    let (a, b) = (matrices(a, &problem.a), matrices(b, &problem.b));
    // d_a = d_y bᵀ and d_b = aᵀ d_y
    let into_a = Product {
        op: OP,
        batch: &problem.batch,
        m,
        n: k,
        k: n,
        scale: 1.0,
        accumulate: false,
        a: d_y_matrices,
        b: b.transposed(),
        extra: Extra::None,
        y: matrices(&d_a, &problem.a),
    };
    let into_b = Product { m: k, n, k: m, a: a.transposed(), b: d_y_matrices, y: matrices(&d_b, &problem.b), ..into_a };
    into_a.repeated(|product| run(gpu, product))?;
    into_b.repeated(|product| run(gpu, product))?;
    let d_bias = if bias { Some(sum::rows(gpu, d_y, n)?) } else { None };
    Ok(Gradients { d_a, d_b, d_bias })
}

fn check_types(a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    expect_float(OP, "a", a)?;
    expect_float(OP, "b", b)?;
    bias.map_or(Ok(()), |bias| expect_dtype(OP, "bias", bias, DType::F32))
}

fn matrices<'a>(tensor: &'a Tensor, operand: &'a Operand) -> Matrices<'a> {
    Matrices { tensor, start: 0, row: operand.row_stride, col: operand.column_stride, batch: &operand.batch_strides }
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    let dtype = request.settings.dtype(OP)?;
    call::prepare(gpu, OP, request, apply, |name, array| match name {
        "bias" => array.to_float(dtype).to_float(DType::F32),
        _ => array.to_float(dtype),
    })
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let options = MatmulOptions::of(&call.settings)?;
    let y = forward(&call.gpu, call.tensor("a")?, call.tensor("b")?, call.optional("bias"), &options)?;
    Ok(Applied::new([("y", y)], move |d| {
        let bias = call.optional("bias").is_some();
        let d = backward(&call.gpu, call.tensor("a")?, call.tensor("b")?, bias, upstream(OP, d, "d_y")?, &options)?;
        Ok([("d_a", Some(d.d_a)), ("d_b", Some(d.d_b)), ("d_bias", d.d_bias)])
    }))
}
