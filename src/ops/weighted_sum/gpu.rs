//! The kernels' host side.

use super::{OP, Problem};
use crate::gpu::{AnyVariant, Binding, Caps, Gpu, Kernel, Knobs, Tensor, Variant};
use crate::ops::call::{self, Applied, Call, upstream};
use crate::ops::host::floats;
use crate::ops::host::{expect_dtype, expect_float, expect_shape};
use crate::ops::matmul::gpu::Broadcast;
use crate::ops::product::{self, Extra, Matrices, Product, Tiled};
use crate::ops::strided::contiguous;
use crate::ops::{Prepared, Request, matmul};
use crate::{DType, Result};

static FORWARD: Kernel = Kernel {
    name: "weighted_sum/forward",
    source: include_str!("../../../shaders/weighted_sum/forward.wgsl"),
    params: product::FIELDS,
    bindings: &[Binding::read("weights"), Binding::read("v"), Binding::read("mask").when("MASK"), Binding::write("o")],
};

static BACKWARD: Kernel = Kernel {
    name: "weighted_sum/backward",
    source: include_str!("../../../shaders/weighted_sum/backward.wgsl"),
    params: product::FIELDS,
    bindings: &[Binding::read("d_o"), Binding::read("v"), Binding::read("mask"), Binding::write("d_weights")],
};

/// A product that does not touch hidden pairs: those with mask 0, or without a mask those whose coefficient in a is minus zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward {
    a: DType,
    b: DType,
    y: DType,
    mask: bool,
}

impl Tiled for Backward {}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        let types = Knobs::new().dtype("elem_a", self.a).dtype("elem_b", self.b).dtype("elem_y", self.y);
        types.flag("GUARD", true).flag("MASK", self.mask)
    }
}

/// The kernel that takes a guarded product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    Staged(Forward),
    Broadcast(Broadcast),
}

impl Tiled for Way {}

impl Variant for Way {
    fn kernel(&self) -> &'static Kernel {
        match self {
            Way::Staged(variant) => variant.kernel(),
            Way::Broadcast(variant) => variant.kernel(),
        }
    }

    fn knobs(&self) -> Knobs {
        match self {
            Way::Staged(variant) => variant.knobs(),
            Way::Broadcast(variant) => variant.knobs(),
        }
    }
}

/// The gradient of the weights, 0 where hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backward {
    a: DType,
    b: DType,
}

impl Variant for Backward {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().dtype("elem_a", self.a).dtype("elem_b", self.b)
    }
}

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    let types = floats(caps);
    let pairs = || types.iter().flat_map(|&a| types.iter().map(move |&b| (a, b)));
    let forward = pairs().flat_map(|(a, b)| {
        let outputs = types.iter().flat_map(move |&y| [(y, false), (y, true)]);
        outputs.map(move |(y, mask)| AnyVariant::of(Forward { a, b, y, mask }))
    });
    let backward = pairs().map(|(a, b)| AnyVariant::of(Backward { a, b }));
    forward.chain(backward).chain(Broadcast::guarded(caps).into_iter().map(AnyVariant::of)).collect()
}

/// Records y = a b without what is hidden. Without a mask, coefficients of minus zero in a mark hidden pairs.
pub(crate) fn run(gpu: &Gpu, product: &Product) -> Result<()> {
    let mask = matches!(product.extra, Extra::OfA(_));
    let staged = Forward { a: product.a.tensor.dtype(), b: product.b.tensor.dtype(), y: product.y.tensor.dtype(), mask };
    let broadcast = |piece: &Product| Broadcast::choose(gpu.caps(), piece, true).filter(|_| !mask);
    product.run(gpu, |piece| broadcast(piece).map_or(Way::Staged(staged), Way::Broadcast))
}

/// The gradients of a weighted sum, f32.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// In the weights' shape; 0 where hidden.
    pub d_weights: Tensor,
    /// In v's shape.
    pub d_v: Tensor,
}

/// The tensors of a weighted sum as batches of matrices.
struct Parts<'a> {
    weights: Matrices<'a>,
    v: Matrices<'a>,
    mask: Option<Matrices<'a>>,
}

impl<'a> Parts<'a> {
    fn new(problem: &'a Problem, weights: &'a Tensor, v: &'a Tensor, mask: Option<&'a Tensor>, mask_batch: &'a [usize]) -> Self {
        let strides = problem.mask_strides.as_deref().unwrap_or(&[0, 0]);
        let [.., row, col] = *strides else { unreachable!("weights have at least two dimensions") };
        Parts {
            weights: Matrices { tensor: weights, start: 0, row: problem.keys, col: 1, batch: &problem.weights_strides },
            v: Matrices { tensor: v, start: 0, row: problem.columns, col: 1, batch: &problem.v_strides },
            mask: mask.map(|tensor| Matrices { tensor, start: 0, row, col, batch: mask_batch }),
        }
    }
}

/// The mask's strides along the batch dimensions of o, which may be more than those of the weights.
fn mask_batch(problem: &Problem) -> Vec<usize> {
    let own = problem.weights_shape.len() - 2;
    let strides = problem.mask_strides.as_deref().unwrap_or(&[]);
    let mut batch = vec![0; problem.batch.len()];
    let absent = batch.len() - own;
    batch[absent..].iter_mut().zip(strides).for_each(|(to, from)| *to = *from);
    batch
}

/// o `[.., Lq, Dv]` (f32) of weights `[.., Lq, Lk]` and v `[.., Lk, Dv]`, f32 or f16, under a mask (u8, broadcastable to the weights,
/// 0 = hidden). O(batches · Lq · Lk · Dv).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for other types; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, weights: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let problem = Problem::new(weights.shape(), v.shape(), mask.map(Tensor::shape))?;
    check_types(weights, v, mask)?;
    let o = gpu.empty(DType::F32, &problem.o_shape)?;
    let mask_batch = mask_batch(&problem);
    let parts = Parts::new(&problem, weights, v, mask, &mask_batch);
    let strides = contiguous(&problem.batch, problem.queries * problem.columns);
    let product = Product {
        op: OP,
        batch: &problem.batch,
        m: problem.queries,
        n: problem.columns,
        k: problem.keys,
        scale: 1.0,
        accumulate: false,
        a: parts.weights,
        b: parts.v,
        extra: parts.mask.map_or(Extra::None, Extra::OfA),
        y: Matrices { tensor: &o, start: 0, row: problem.columns, col: 1, batch: &strides },
    };
    masked(gpu, &product)?;
    Ok(o)
}

/// The product, guarded when there is a mask. Without one every pair is visible, and a weight of minus zero is just a number.
fn masked(gpu: &Gpu, product: &Product) -> Result<()> {
    if let Extra::None = product.extra { matmul::gpu::run(gpu, product) } else { run(gpu, product) }
}

/// The gradients of weights and v from d_o `[.., Lq, Dv]`. O(batches · Lq · Lk · Dv).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, weights: &Tensor, v: &Tensor, mask: Option<&Tensor>, d_o: &Tensor) -> Result<Gradients> {
    let problem = Problem::new(weights.shape(), v.shape(), mask.map(Tensor::shape))?;
    check_types(weights, v, mask)?;
    expect_float(OP, "d_o", d_o)?;
    expect_shape(OP, "d_o", d_o.shape(), &problem.o_shape)?;
    let d_weights = gpu.empty(DType::F32, weights.shape())?;
    let d_v = gpu.empty(DType::F32, v.shape())?;
    let mask_batch = mask_batch(&problem);
    let parts = Parts::new(&problem, weights, v, mask, &mask_batch);
    let strides = contiguous(&problem.batch, problem.queries * problem.columns);
    let d_o = Matrices { tensor: d_o, start: 0, row: problem.columns, col: 1, batch: &strides };
    // d_weights = d_o vᵀ where visible
    let into_weights = Matrices { tensor: &d_weights, ..parts.weights };
    let product = Product {
        op: OP,
        batch: &problem.batch,
        m: problem.queries,
        n: problem.keys,
        k: problem.columns,
        scale: 1.0,
        accumulate: false,
        a: d_o,
        b: parts.v.transposed(),
        extra: parts.mask.map_or(Extra::None, Extra::OfY),
        y: into_weights,
    };
    let variant = Backward { a: d_o.tensor.dtype(), b: v.dtype() };
    product.repeated(|product| match product.extra {
        Extra::None => matmul::gpu::run(gpu, product),
        _ => product.run(gpu, |_| variant),
    })?;
    // d_v = weightsᵀ d_o over visible pairs
    let product = Product {
        m: problem.keys,
        n: problem.columns,
        k: problem.queries,
        a: parts.weights.transposed(),
        b: d_o,
        extra: parts.mask.map_or(Extra::None, |mask| Extra::OfA(mask.transposed())),
        y: Matrices { tensor: &d_v, ..parts.v },
        ..product
    };
    product.repeated(|product| masked(gpu, product))?;
    Ok(Gradients { d_weights, d_v })
}

fn check_types(weights: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<()> {
    expect_float(OP, "weights", weights)?;
    expect_float(OP, "v", v)?;
    mask.map_or(Ok(()), |mask| expect_dtype(OP, "mask", mask, DType::U8))
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_it_is)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let o = forward(&call.gpu, call.tensor("weights")?, call.tensor("v")?, call.optional("mask"))?;
    Ok(Applied::new([("o", o)], move |d| {
        let (weights, v, d_o) = (call.tensor("weights")?, call.tensor("v")?, upstream(OP, d, "d_o")?);
        let d = backward(&call.gpu, weights, v, call.optional("mask"), d_o)?;
        Ok([("d_weights", d.d_weights), ("d_v", d.d_v)])
    }))
}
