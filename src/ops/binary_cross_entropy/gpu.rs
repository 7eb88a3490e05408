//! The kernels' host side.

use super::{OP, Problem};
use crate::gpu::{AnyVariant, Bind, Binding, Gpu, Kernel, Knobs, Tensor, Variant, Work};
use crate::ops::call::{self, Applied, Call, Tensors, upstream};
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::loss::elements::{ElementParams, Elements, FIELDS, LANES, record};
use crate::ops::loss::{self, Reduction};
use crate::ops::{Prepared, Request};
use crate::{DType, Result};

static FORWARD: Kernel = Kernel {
    name: "binary_cross_entropy/forward",
    source: include_str!("../../../shaders/binary_cross_entropy/forward.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("logits"),
        Binding::read("targets"),
        Binding::read("weight").when("WEIGHT"),
        Binding::read("pos_weight").when("POS_WEIGHT"),
        Binding::write("loss"),
    ],
};

static BACKWARD: Kernel = Kernel {
    name: "binary_cross_entropy/backward",
    source: include_str!("../../../shaders/binary_cross_entropy/backward.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("logits"),
        Binding::read("targets"),
        Binding::read("weight").when("WEIGHT"),
        Binding::read("pos_weight").when("POS_WEIGHT"),
        Binding::read("d_loss"),
        Binding::write("d_logits"),
    ],
};

/// Which weights there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Weights {
    weight: bool,
    pos_weight: bool,
}

impl Weights {
    const ALL: [Self; 4] = [Self::of(false, false), Self::of(true, false), Self::of(false, true), Self::of(true, true)];

    const fn of(weight: bool, pos_weight: bool) -> Self {
        Weights { weight, pos_weight }
    }

    fn knobs(self) -> Knobs {
        Knobs::new().u32("LANES", LANES).flag("WEIGHT", self.weight).flag("POS_WEIGHT", self.pos_weight)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward {
    weights: Weights,
    terms: bool,
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        self.weights.knobs().bool("TERMS", self.terms)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backward(Weights);

impl Variant for Backward {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD
    }

    fn knobs(&self) -> Knobs {
        self.0.knobs()
    }
}

/// Every kernel variant.
pub(super) fn kernels() -> Vec<AnyVariant> {
    let of = |weights| {
        [false, true].map(|terms| AnyVariant::of(Forward { weights, terms })).into_iter().chain([AnyVariant::of(Backward(weights))])
    };
    Weights::ALL.into_iter().flat_map(of).chain(loss::kernels()).collect()
}

/// What a loss is of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `[..]`, f32.
    pub logits: &'a Tensor,
    /// In the shape of the logits, f32, from 0 to 1.
    pub target: &'a Tensor,
    /// Broadcastable to the logits, f32: what the loss of each element is multiplied by.
    pub weight: Option<&'a Tensor>,
    /// Broadcastable to the logits, f32: what the target's part of it is multiplied by.
    pub pos_weight: Option<&'a Tensor>,
}

impl<'a> Inputs<'a> {
    /// Without weights.
    pub fn new(logits: &'a Tensor, target: &'a Tensor) -> Self {
        Inputs { logits, target, weight: None, pos_weight: None }
    }

    fn problem(&self, reduction: Reduction) -> Result<Problem> {
        let weights = [self.weight, self.pos_weight];
        let problem = Problem::new(self.logits.shape(), self.target.shape(), weights.map(|w| w.map(Tensor::shape)), reduction)?;
        let named = [("logits", Some(self.logits)), ("target", Some(self.target)), ("weight", weights[0]), ("pos_weight", weights[1])];
        for (name, tensor) in named.into_iter().filter_map(|(name, tensor)| Some((name, tensor?))) {
            expect_dtype(OP, name, tensor, DType::F32)?;
        }
        Ok(problem)
    }

    fn weights(&self) -> Weights {
        Weights::of(self.weight.is_some(), self.pos_weight.is_some())
    }

    fn elements(&self, problem: &Problem) -> Elements<'a> {
        let strides = [&problem.weight_strides, &problem.pos_weight_strides].map(Clone::clone);
        let [weight, pos_weight] = strides;
        Elements::new(OP, &problem.shape, [self.weight.zip(weight), self.pos_weight.zip(pos_weight)])
    }
}

/// The loss: `[]`, or the shape of the logits with [`Reduction::None`]. O(elements of logits).
///
/// # Errors
/// As [`Problem::new`]; [`Error::Dtype`](crate::Error::Dtype) for other types; [`Error::Limit`](crate::Error::Limit) for a weight that is repeated
/// and larger than a binding; those of [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, inputs: &Inputs, reduction: Reduction) -> Result<Tensor> {
    let problem = inputs.problem(reduction)?;
    let variant = Forward { weights: inputs.weights(), terms: reduction == Reduction::None };
    inputs.elements(&problem).loss(gpu, &problem.shape, reduction, |piece, loss| {
        let [logits, targets] = [inputs.logits, inputs.target].map(|t| t.window(piece.first, piece.count));
        let params = ElementParams { x_base: logits.base(), targets_base: targets.base(), loss_base: loss.base(), ..piece.params };
        let [weight, pos_weight] = piece.weights.map(Bind::maybe);
        let binds = [Bind::Read(logits), Bind::Read(targets), weight, pos_weight, Bind::Write(loss)];
        record(gpu, variant, params, &binds, Work { flops: 10.0, bytes: 8.0 })
    })
}

/// d_logits in the shape of the logits, from d_loss in the shape of the loss (for a scalar `[1]` as well). O(elements of logits).
///
/// # Errors
/// As [`forward`].
pub fn backward(gpu: &Gpu, inputs: &Inputs, d_loss: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let problem = inputs.problem(reduction)?;
    expect_dtype(OP, "d_loss", d_loss, DType::F32)?;
    expect_shape(OP, "d_loss", d_loss.shape(), &problem.loss_shape())?;
    let d_logits = gpu.empty(DType::F32, &problem.shape)?;
    inputs.elements(&problem).gradients(gpu, d_loss, reduction, |piece, d_loss| {
        let [logits, targets, d_logits] = [inputs.logits, inputs.target, &d_logits].map(|t| t.window(piece.first, piece.count));
        let params = ElementParams { x_base: logits.base(), targets_base: targets.base(), d_x_base: d_logits.base(), ..piece.params };
        let [weight, pos_weight] = piece.weights.map(Bind::maybe);
        let binds = [Bind::Read(logits), Bind::Read(targets), weight, pos_weight, Bind::Read(d_loss), Bind::Write(d_logits)];
        record(gpu, Backward(inputs.weights()), params, &binds, Work { flops: 10.0, bytes: 12.0 })
    })?;
    Ok(d_logits)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    Problem::of(request)?;
    call::prepare(gpu, OP, request, apply, call::as_it_is)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    let reduction = Reduction::of(OP, &call.settings)?;
    let loss = forward(&call.gpu, &inputs(&call)?, reduction)?;
    let d_logits = move |d: &Tensors| backward(&call.gpu, &inputs(&call)?, upstream(OP, d, "d_loss")?, reduction);
    Ok(Applied::new([("loss", loss)], move |d| Ok([("d_logits", d_logits(d)?)])))
}

fn inputs(call: &Call) -> Result<Inputs<'_>> {
    Ok(Inputs {
        logits: call.tensor("logits")?,
        target: call.tensor("target")?,
        weight: call.optional("weight"),
        pos_weight: call.optional("pos_weight"),
    })
}
