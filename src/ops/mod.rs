//! The operations. Each directory holds the maths and the public functions (mod.rs), the f64 reference (cpu.rs), the
//! kernels' host side (gpu.rs) and the named cases (cases.rs).
//!
//! [`REGISTRY`] lists them; listing, shader validation, the comparison of GPU and CPU, `wattn verify` and
//! `wattn profile` follow from it. An [`Operation`] takes its tensors by name, as files and the command line do. Programs
//! call the typed functions instead, for instance [`attention::forward`].

pub mod activation;
pub mod additive_attention;
pub mod attention;
pub mod attention_varlen;
pub mod binary_cross_entropy;
mod broadcast;
mod call;
pub mod check;
pub mod concat;
pub mod context;
pub mod crf;
pub mod cross_entropy;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod gru;
mod host;
pub mod layer_norm;
pub mod linear;
pub mod loss;
pub mod lstm;
pub mod luong_attention;
pub mod matmul;
pub mod mse;
pub mod multi_head_attention;
pub mod optimizer;
mod parallel;
pub mod philox;
mod product;
mod projection;
mod real;
pub mod recurrent;
mod regions;
mod request;
pub mod rms_norm;
pub mod rnn;
pub mod rotary_embedding;
#[cfg(not(target_arch = "wasm32"))]
mod self_test;
mod settings;
pub mod slice;
pub mod softmax;
mod strided;
pub mod sum;
pub mod transpose;
#[cfg(not(target_arch = "wasm32"))]
mod verify;
pub mod weighted_sum;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use call::{Applied, Backward, Call, Lists, Tensors};
pub use real::{Magnitude, Real, Rough};
pub use request::{Arrays, Input, Key, Output, Request, Spec};
#[cfg(not(target_arch = "wasm32"))]
pub use self_test::{Fault, SelfTest};
pub use settings::Settings;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use host::elements as count;

use crate::gpu::{AnyVariant, Caps, Choice, Gpu, Tensor};
use crate::{Array, Error, Result};

/// Every operation, one line each.
pub static REGISTRY: &[&dyn Operation] = &[
    &matmul::Matmul,
    &softmax::Softmax,
    &weighted_sum::WeightedSum,
    &sum::Sum,
    &linear::Linear,
    &cross_entropy::CrossEntropy,
    &embedding::Embedding,
    &mse::Mse,
    &binary_cross_entropy::BinaryCrossEntropy,
    &attention::Attention,
    &attention_varlen::AttentionVarlen,
    &additive_attention::AdditiveAttention,
    &luong_attention::LuongAttention,
    &multi_head_attention::MultiHeadAttention,
    &rnn::Rnn,
    &gru::Gru,
    &lstm::Lstm,
    &optimizer::Optimize,
    &elementwise::Elementwise,
    &activation::Activation,
    &dropout::Dropout,
    &transpose::Transpose,
    &slice::Slice,
    &concat::Concat,
    &crf::Crf,
    &layer_norm::LayerNorm,
    &rms_norm::RmsNorm,
    &rotary_embedding::RotaryEmbedding,
];

/// The operation of a name.
pub fn find(name: &str) -> Option<&'static dyn Operation> {
    REGISTRY.iter().copied().find(|op| op.spec().name == name)
}

/// An operation as files, cases and the command line see it: tensors by name in, tensors by name out.
pub trait Operation: Sync {
    /// Names, tensors and keys.
    fn spec(&self) -> &'static Spec;

    /// Every kernel variant that a device with `caps` can run. Empty for an operation composed of others.
    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant>;

    /// Every way of running a case that `choose` could decide on, the default first; each is verified.
    fn tunings(&self, _caps: &Caps) -> Vec<Tuning> {
        vec![Tuning::default()]
    }

    /// The named cases.
    fn cases(&self) -> Vec<Case>;

    /// Seeded standard-normal tensors for `--shape`, upstream gradients included.
    fn draw(&self, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays>;

    /// Uploads the tensors once and returns what runs the operation on them, as often as it is called: the outputs and,
    /// when the request has upstream gradients, the gradients.
    fn prepare(&self, gpu: &Gpu, request: &Request) -> Result<Prepared>;

    /// The operation on tensors that are on a device already, with the way back: what a tape records. Shapes and types are checked; names and keys
    /// that are unknown are not.
    ///
    /// # Errors
    /// Those of the operation; [`Error::Tensors`] for one without gradients.
    fn apply(&self, call: Call) -> Result<Applied> {
        let what = "there are no gradients of it".to_string();
        Err(Error::Tensors { op: call.op, what, expected: "an operation with differentiable inputs".into() })
    }

    /// The reference on the CPU, in the given precision: the same names as `prepare`'s tensors.
    fn reference(&self, request: &Request, precision: Precision) -> Result<References>;

    /// What the request costs, forward and, when it has upstream gradients, backward.
    fn cost(&self, request: &Request) -> Result<Cost>;

    /// Time steps that follow one another, where there are any.
    fn steps(&self, _request: &Request) -> Option<usize> {
        None
    }
}

/// An operation whose tensors are on the device.
pub type Prepared = Box<dyn FnMut() -> Result<Vec<(String, Tensor)>>>;

/// Useful floating-point operations and the bytes that must move at least.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations: a multiply and an add are two.
    pub flops: f64,
    /// Bytes of inputs read and outputs written once.
    pub bytes: f64,
}

/// In what arithmetic a reference is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f64.
    Exact,
    /// Plain f32: how well the formula can be expected to do.
    Plain,
    /// f32 with functions that are off in the last place.
    Rough,
    /// f64, with the magnitude of the terms beside each value.
    Magnitude,
}

/// One output of a reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// The shape.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub value: Vec<f64>,
    /// The same formula with the absolute value of every term ([`Precision::Magnitude`]; otherwise |value|).
    pub magnitude: Vec<f64>,
}

impl Values {
    /// From a reference's result.
    ///
    /// # Panics
    /// When the number of elements is not the product of the shape: a mistake in the reference.
    pub fn of<R: Real>(shape: &[usize], values: &[R]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "shape {shape:?} and number of elements differ");
        Values {
            shape: shape.to_vec(),
            value: values.iter().map(|x| x.value()).collect(),
            magnitude: values.iter().map(|x| x.magnitude()).collect(),
        }
    }
}

/// A reference's outputs and gradients by name.
pub type References = BTreeMap<String, Values>;

/// Evaluates `$run::<R>($request)` with the number type of `$precision`.
#[macro_export]
#[doc(hidden)]
macro_rules! evaluate {
    ($($run:ident)::+, $request:expr, $precision:expr) => {
        match $precision {
            $crate::ops::Precision::Exact => $($run)::+::<f64>($request),
            $crate::ops::Precision::Plain => $($run)::+::<f32>($request),
            $crate::ops::Precision::Rough => $($run)::+::<$crate::ops::Rough>($request),
            $crate::ops::Precision::Magnitude => $($run)::+::<$crate::ops::Magnitude>($request),
        }
    };
}

/// A way of running an operation: the default of `choose`, or one tuning pinned.
#[derive(Clone)]
pub struct Tuning {
    /// The name: `auto` for the default.
    pub label: String,
    /// Returns a handle to the same device on which the tuning is pinned.
    pub pin: Arc<dyn Fn(&Gpu) -> Gpu + Send + Sync>,
}

impl Tuning {
    /// The default, then everything that a device can choose.
    pub fn all<T: Choice>(caps: &Caps) -> Vec<Self> {
        let pinned = |(label, choice): (String, T)| Tuning { label, pin: Arc::new(move |gpu: &Gpu| gpu.pin(choice)) };
        [Tuning::default()].into_iter().chain(T::all(caps).into_iter().map(pinned)).collect()
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning { label: "auto".into(), pin: Arc::new(Gpu::clone) }
    }
}

/// Changes a drawn case: masks, lengths, planted values.
pub type Edit = fn(&mut Arrays, &mut philox::Rng);

/// A named case: a shape, keys, and what is planted in the drawn tensors.
#[derive(Clone)]
pub struct Case {
    /// The name: lower case with underscores.
    pub name: &'static str,
    /// As `--shape` takes it.
    pub shape: &'static str,
    /// As `--set` takes them.
    pub settings: &'static [(&'static str, &'static str)],
    /// Adds or changes tensors after the draw.
    pub edit: Edit,
    /// Part of `verify --quick` and of the self-test.
    pub quick: bool,
}

impl Case {
    /// A case with nothing planted.
    pub const fn new(name: &'static str, shape: &'static str, settings: &'static [(&'static str, &'static str)]) -> Self {
        Case { name, shape, settings, edit: |_, _| {}, quick: false }
    }

    /// The same, with tensors added or changed after the draw.
    pub const fn edit(self, edit: Edit) -> Self {
        Case { edit, ..self }
    }

    /// The same, as part of `verify --quick`.
    pub const fn quick(self) -> Self {
        Case { quick: true, ..self }
    }

    /// Draws the case's tensors.
    pub fn request(&self, op: &dyn Operation, seed: u64) -> Result<Request> {
        let settings = Settings::new(self.settings.iter().map(|&(k, v)| (k.to_string(), v.to_string())));
        let mut tensors = op.draw(self.shape, &settings, seed)?;
        (self.edit)(&mut tensors, &mut philox::Rng::new(seed ^ 0x9E37_79B9));
        Request::new(op.spec(), tensors, settings)
    }
}

/// Splits `"2,3/1,17"` at commas into lists of `/`-separated sizes.
pub fn parse_shape(op: &'static str, expected: &'static str, text: &str) -> Result<Vec<Vec<usize>>> {
    let wrong = || Error::Argument { op, key: "shape".into(), expected: format!("{expected}, every size at least 1"), got: text.into() };
    let size = |s: &str| s.trim().parse::<usize>().ok().filter(|&n| n > 0 && n < 1 << 31).ok_or_else(wrong);
    let fields: Vec<Vec<usize>> = text.split(',').map(|field| field.split('/').map(size).collect()).collect::<Result<_>>()?;
    // A product beyond 2^40 elements is a typing mistake, and it must not overflow further on. Of `a/b` a tensor has one or the other.
    let largest = fields.iter().filter_map(|field| field.iter().max());
    largest.into_iter().try_fold(1usize, |n, &d| n.checked_mul(d).filter(|&n| n < 1 << 40)).ok_or_else(wrong)?;
    Ok(fields)
}

/// Runs the reference and returns its results as arrays, rounded to the types that the operation's outputs have.
pub fn run_reference(op: &dyn Operation, request: &Request) -> Result<Arrays> {
    let results = op.reference(request, Precision::Exact)?;
    Ok(results
        .into_iter()
        .map(|(name, v)| {
            let integer = op.spec().outputs.iter().any(|o| o.name == name && o.dtype == crate::DType::I32);
            let array = if integer {
                Array::i32(&v.shape, v.value.iter().map(|&x| x as i32).collect())
            } else {
                Array::f32(&v.shape, v.value.iter().map(|&x| x as f32).collect())
            };
            (name, array)
        })
        .collect())
}
