//! Optimizers: SGD with momentum, Adam, AdamW and AMSGrad, and clipping by the norm of all gradients. The formulas are PyTorch's.
//!
//! For the gradient g of parameter p in step t, from 1 on:
//!
//! ```text
//! g = g · min(1, c / (|g| + 1e-6))                          clipped to c; |g| is the norm over all parameters together
//! sgd     g = g + λ p                                       λ is the weight decay
//!         buf = μ buf + g,  g = buf                         with momentum μ;  Nesterov's: g = g + μ buf
//!         p = p - lr g
//! adam    g = g + λ p
//! adamw   p = p - lr λ p
//! both    m = β1 m + (1 - β1) g
//!         v = β2 v + (1 - β2) g²
//!         p = p - lr m̂ / (√v̂ + ε)      m̂ = m / (1 - β1ᵗ), v̂ = v / (1 - β2ᵗ);  amsgrad: the largest v so far in place of v
//! ```
//!
//! A program makes an [`Optimizer`] of a model's parameters, and calls [`Optimizer::step`] with their gradients. The parameters change where they
//! are, so whoever holds them sees the step. Any sizes go together: a dispatch takes parameters that are neighbours in memory, as those from
//! [`Gpu::arena`] and [`Gpu::upload_arena`] are, each with a gradient in a tensor of its own, as the backward functions return it: eleven where the
//! device binds sixteen buffers, otherwise three. **A model should have its parameters in an arena.** Parameters in buffers of their own
//! take a dispatch each. Who has all parameters in one tensor, and all gradients in another, can give these two as if there were a single
//! parameter: then a step is one dispatch. The formulas do not know of shapes.
//!
//! [`grad_norm`] measures all gradients together, and what it returns clips them, without a read in between. Parameters that shall
//! have other options, no weight decay for instance, have an optimizer of their own, and both take the same [`Clip`].
//!
//! A step records dispatches and nothing else. Its number is kept on the host, where the corrections of step t are computed in f64, and the rate
//! may be another at each step. The state can be read and set by name for checkpoints.
//!
//! Sources: Kingma & Ba 2014, arXiv:1412.6980; Loshchilov & Hutter 2017, arXiv:1711.05101; Reddi et al. 2018, arXiv:1904.09237; Sutskever et
//! al. 2013 for Nesterov's momentum; PyTorch's documentation of `torch.optim` and `torch.nn.utils.clip_grad_norm_`.

mod cases;
mod clip;
pub(crate) mod cpu;
mod gpu;
mod gradients;
mod options;
mod prepare;
mod state;

pub use clip::{Clip, grad_norm};
use options::check_number;
pub use options::{Kind, OptimizerOptions};
use prepare::Layout;
pub use state::Optimizer;

use super::host::{elements, expect_shape, normals, parse_sizes, required, wrong_shape};
use super::{Arrays, Case, Cost, Input, Key, Operation, Output, Precision, Prepared, References, Request, Settings, Spec, Tuning};
use crate::gpu::{AnyVariant, Caps, Gpu};
use crate::{DType, Result};

const OP: &str = "optimizer";
const SHAPE: &str = "N,…, for instance 6,13,7: p0 [13,7] and g1 to g6";

/// The gradients of the steps.
const GRADIENTS: Input = Input::numbered("g", 1, "[..]").constant();

/// Names, tensors and keys.
pub static SPEC: Spec = Spec {
    name: OP,
    about: "steps of SGD, Adam or AdamW from the parameters p0 with the gradients g1, g2, …",
    shape: SHAPE,
    inputs: &[Input::new("p0", "[..]").constant(), GRADIENTS],
    outputs: &[
        Output::new("p1", "as p0: after step 1; likewise p2, …").aside(),
        Output::new("m", "as p0: the mean of the gradients, with adam and adamw").aside(),
        Output::new("v", "as p0: the mean of their squares, with adam and adamw").aside(),
        Output::new("vmax", "as p0: the largest v, with amsgrad").aside(),
        Output::new("buf", "as p0: the momentum, with sgd when it has any").aside(),
    ],
    keys: &[
        Key::new("kind", "sgd", "sgd, adam or adamw"),
        Key::new("lr", "0.001", "the rate, from 0 on"),
        Key::new("beta1", "0.9", "adam, adamw: what is kept of m, from 0 to below 1"),
        Key::new("beta2", "0.999", "adam, adamw: what is kept of v, from 0 to below 1"),
        Key::new("eps", "1e-8", "adam, adamw: added to the root of v, from 0 on"),
        Key::new("weight_decay", "0", "from 0 on; adamw's does not go through the gradient"),
        Key::new("amsgrad", "false", "adam, adamw: divide by the root of the largest v"),
        Key::new("momentum", "0", "sgd: what is kept of buf, from 0 on"),
        Key::new("nesterov", "false", "sgd with momentum: look one step ahead"),
        Key::new("clip_grad_norm", "none", "the largest norm of a gradient, from 0 on"),
    ],
};

/// A request that fits together.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The parameters' shape.
    pub shape: Vec<usize>,
    /// How many steps.
    pub steps: usize,
    /// What a step does.
    pub options: OptimizerOptions,
    /// The largest norm of a gradient.
    pub clip: Option<f64>,
}

impl Problem {
    /// Of a request.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for gradients that are not like the parameters, [`Error::Tensors`](crate::Error::Tensors) when one is
    /// missing, [`Error::Argument`](crate::Error::Argument) for keys that cannot be read or do not fit the kind,
    /// [`Error::Limit`](crate::Error::Limit) for more than 2³¹ elements.
    pub fn of(request: &Request) -> Result<Self> {
        let options = OptimizerOptions::of(&request.settings)?;
        let clip = request.settings.real(OP, "clip_grad_norm")?;
        clip.map_or(Ok(()), |limit| check_number("clip_grad_norm", limit))?;
        let shape = required(OP, request, "p0")?.shape();
        elements(OP, "p0", shape)?;
        let gradients = request.series(OP, &GRADIENTS)?;
        (1..).zip(&gradients).try_for_each(|(t, gradient)| expect_shape(OP, &format!("g{t}"), gradient.shape(), shape))?;
        Ok(Problem { shape: shape.to_vec(), steps: gradients.len(), options, clip })
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The operation in [`REGISTRY`](super::REGISTRY).
pub struct Optimize;

impl Operation for Optimize {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn kernels(&self, caps: &Caps) -> Vec<AnyVariant> {
        gpu::kernels(caps).into_iter().chain(clip::kernels(caps)).collect()
    }

    fn tunings(&self, caps: &Caps) -> Vec<Tuning> {
        Tuning::all::<Layout>(caps)
    }

    fn cases(&self) -> Vec<Case> {
        cases::CASES.to_vec()
    }

    fn draw(&self, shape: &str, _settings: &Settings, seed: u64) -> Result<Arrays> {
        let sizes = parse_sizes(OP, SHAPE, shape)?;
        let [steps, shape @ ..] = sizes.as_slice() else { return Err(wrong_shape(OP, SHAPE, shape)) };
        elements(OP, "all gradients", &sizes)?;
        let names = ["p0".to_string()].into_iter().chain((1..=*steps).map(|t| format!("g{t}")));
        Ok(normals(seed, names.map(|name| (name, shape))))
    }

    fn prepare(&self, gpu: &Gpu, request: &Request) -> Result<Prepared> {
        prepare::prepare(gpu, request)
    }

    fn reference(&self, request: &Request, precision: Precision) -> Result<References> {
        crate::evaluate!(cpu::run, request, precision)
    }

    /// A division and a root count as one operation each.
    fn cost(&self, request: &Request) -> Result<Cost> {
        let problem = Problem::of(request)?;
        let elements = (problem.elements() * problem.steps) as f64;
        let clip = if problem.clip.is_some() { 3.0 } else { 0.0 };
        // The gradient is read, the parameters and their state are read and written; clipping reads the gradient once more.
        let moved = 3.0 + 2.0 * problem.options.states().len() as f64 + f64::from(u8::from(problem.clip.is_some()));
        Ok(Cost { flops: elements * (problem.options.flops() + clip), bytes: elements * moved * DType::F32.bytes() as f64 })
    }

    fn steps(&self, request: &Request) -> Option<usize> {
        request.series(OP, &GRADIENTS).ok().map(|gradients| gradients.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Array, Error};

    fn problem(names: &[&str], shape: &[usize], settings: &[(&str, &str)]) -> Result<Problem> {
        let zeros = |name: &&str| (name.to_string(), Array::f32(shape, vec![0.0; shape.iter().product()]));
        let settings = Settings::new(settings.iter().map(|&(key, value)| (key.to_string(), value.to_string())));
        Problem::of(&Request::new(&SPEC, names.iter().map(zeros).collect(), settings)?)
    }

    #[test]
    fn steps_are_counted_without_gaps() {
        assert_eq!(problem(&["p0", "g1", "g2"], &[2, 3], &[]).unwrap().steps, 2);
        let message = problem(&["p0", "g1", "g3"], &[2, 3], &[]).unwrap_err().to_string();
        assert!(message.starts_with("optimizer: tensor 'g2' is missing"), "{message}");
        assert!(problem(&["p0"], &[2], &[]).unwrap_err().to_string().starts_with("optimizer: tensor 'g1'"));
        assert!(problem(&["p0", "g0", "g1"], &[2], &[]).unwrap_err().to_string().starts_with("optimizer: unknown tensor 'g0'"));
    }

    #[test]
    fn gradients_are_like_the_parameters() {
        let tensors = [("p0", vec![2, 3]), ("g1", vec![3, 2])];
        let tensors = tensors.map(|(name, shape)| (name.to_string(), Array::f32(&shape, vec![0.0; 6])));
        let request = Request::new(&SPEC, tensors.into(), Settings::default()).unwrap();
        let message = Problem::of(&request).unwrap_err().to_string();
        assert_eq!(message, "optimizer: 'g1' has shape [3, 2]; expected [2, 3]");
    }

    #[test]
    fn keys_are_checked() {
        let error = |settings: &[(&str, &str)]| problem(&["p0", "g1"], &[2], settings).unwrap_err();
        for wrong in [
            [("kind", "adamax"), ("lr", "1")],
            [("kind", "sgd"), ("lr", "-1")],
            [("kind", "adam"), ("lr", "inf")],
            [("kind", "adam"), ("lr", "1e39")],
            [("kind", "adam"), ("beta1", "1")],
            [("kind", "adam"), ("beta2", "-0.1")],
            [("kind", "adam"), ("eps", "-1e-8")],
            [("kind", "adamw"), ("weight_decay", "-1")],
            [("kind", "sgd"), ("clip_grad_norm", "-1")],
            [("kind", "sgd"), ("nesterov", "true")],
            [("kind", "sgd"), ("amsgrad", "true")],
            [("kind", "adam"), ("momentum", "0.9")],
        ] {
            assert!(matches!(error(&wrong), Error::Argument { .. }), "{wrong:?}");
        }
        // What another kind has may be said as long as it says nothing.
        assert!(problem(&["p0", "g1"], &[2], &[("kind", "sgd"), ("beta1", "0.5"), ("amsgrad", "false")]).is_ok());
    }
}
