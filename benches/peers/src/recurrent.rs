//! What lstm and gru share: one layer in one direction, with biases, from states of zero. Inference, and training, which is the forward
//! with the gradients of x and of every weight and bias.
//!
//! - `wattn`: the operation of the registry, as it is prepared from tensors by name. Without an upstream gradient only the forward runs,
//!   and nothing is kept for a backward.
//! - `burn`: the module of the same name with the same weights, on its wgpu device for inference and under autodiff for training. The
//!   upstream gradient comes in by multiplying y with it, which is one pass over y more than wattn does.
//!
//! Both sides, outputs and gradients, are compared with wattn's reference on the CPU, which is in f64.
//!
//! GFLOP/s count the products alone: 2 · T · B · gates · H · (I + H) forward, three times that with the backward.

use burn::module::Param;
use burn::nn::{GateController, Linear};
use burn::tensor::{Device, Tensor};
use wattn::ops::{Arrays, Operation, Request};

use crate::Result;
use crate::case::{Case, floats};
use crate::device::{Pendings, drawn, read, upload};
use crate::turns::{self, Outputs, Side, Warm};

/// One layer, one direction, with biases; states of zero.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    warm: Warm,
    /// T: steps of each sequence.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    seq: u32,
    /// B: sequences.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// I: elements of x at each step.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    inputs: u32,
    /// H: elements of the state.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    hidden: u32,
}

/// One of burn's modules.
pub trait Module: 'static {
    /// wattn's operation.
    const OP: &'static dyn Operation;

    /// A layer of some weights.
    fn new(inputs: usize, hidden: usize, device: &Device) -> Self;

    /// The gates, in PyTorch's order.
    fn gates(&mut self) -> Vec<&mut GateController>;

    /// y and the last states, by PyTorch's names, of x: `[T, B, I]` to `[T, B, H]` and `[B, H]`.
    fn forward(&self, x: Tensor<3>) -> (Tensor<3>, Vec<(&'static str, Tensor<2>)>);
}

/// The case of these sizes: T, B, I, H.
pub fn case<M: Module>(sizes: [u32; 4], backward: bool) -> Case {
    let taken = move |name: &str| name == "x" || (name == "d_y" && backward) || name.starts_with("weight_") || name.starts_with("bias_");
    Case {
        name: format!("{}_steps_{}", sizes[0], if backward { "both" } else { "forward" }),
        op: M::OP,
        shape: sizes.map(|size| size.to_string()).join(","),
        settings: vec![],
        edit: Box::new(move |tensors, _| tensors.retain(|name, _| taken(name))),
        theirs: theirs::<M>,
        by_reference: true,
    }
}

/// The transpose of a matrix of so many columns: burn's weights are `[inputs, outputs]`, PyTorch's `[outputs, inputs]`.
pub fn transpose(values: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols).copied()).collect()
}

/// The weights and biases of one product, one of each for every gate.
struct Product {
    /// How PyTorch's names end.
    suffix: &'static str,
    weights: Vec<Tensor<2>>,
    biases: Vec<Tensor<1>>,
}

impl Product {
    fn new(suffix: &'static str, drawn: &Arrays, hidden: usize, device: &Device) -> Result<Self> {
        let (weight, bias) = (&drawn[&format!("weight_{suffix}")], &drawn[&format!("bias_{suffix}")]);
        let cols = weight.shape()[1];
        // PyTorch's rows of gates.
        let weights = floats(weight)?.chunks(hidden * cols).map(|gate| upload(&transpose(gate, cols), [cols, hidden], device));
        let biases = floats(bias)?.chunks(hidden).map(|gate| upload(gate, [hidden], device));
        Ok(Product { suffix, weights: weights.collect(), biases: biases.collect() })
    }

    /// A gate's part, as burn has it; from here on these are the parameters that autodiff follows.
    fn linear(&mut self, gate: usize) -> Linear {
        let (weight, bias) = (Param::from_tensor(self.weights[gate].clone()), Param::from_tensor(self.biases[gate].clone()));
        (self.weights[gate], self.biases[gate]) = (weight.val(), bias.val());
        Linear { weight, bias: Some(bias) }
    }
}

/// burn's layer with the drawn weights, and its input; autodiff follows them when there is an upstream gradient.
struct Burn<M> {
    device: Device,
    module: M,
    products: [Product; 2],
    x: Tensor<3>,
    d_y: Option<Tensor<3>>,
}

impl<M: Module> Burn<M> {
    fn new(device: &Device, request: &Request) -> Result<Self> {
        let on = if request.wants_gradients() { device.clone().autodiff() } else { device.clone() };
        let tensors = &request.tensors;
        let (x, hidden) = (drawn::<3>(&tensors["x"], &on)?, tensors["weight_hh_l0"].shape()[1]);
        let mut products = [Product::new("ih_l0", tensors, hidden, &on)?, Product::new("hh_l0", tensors, hidden, &on)?];
        let mut module = M::new(x.dims()[2], hidden, &on);
        for (index, gate) in module.gates().into_iter().enumerate() {
            let [input, state] = &mut products;
            *gate = GateController { input_transform: input.linear(index), hidden_transform: state.linear(index) };
        }
        let d_y = tensors.get("d_y").map(|d_y| drawn(d_y, &on)).transpose()?;
        let x = if d_y.is_some() { x.require_grad() } else { x };
        device.sync()?;
        Ok(Burn { device: device.clone(), module, products, x, d_y })
    }

    fn run(&self) -> Result<Outputs> {
        let (y, states) = self.module.forward(self.x.clone());
        let mut results = Pendings::default();
        let Some(d_y) = &self.d_y else {
            results.push("y", y);
            states.into_iter().for_each(|(name, state)| results.push(name, state));
            return results.finish(&self.device);
        };
        let gradients = (y.clone() * d_y.clone()).backward();
        let missing = "burn returns no gradient";
        results.push("y", y.without_autodiff());
        states.into_iter().for_each(|(name, state)| results.push(name, state.without_autodiff()));
        results.push("d_x", self.x.grad(&gradients).ok_or(missing)?);
        for Product { suffix, weights, biases } in &self.products {
            let weights: Option<Vec<_>> = weights.iter().map(|weight| weight.grad(&gradients)).collect();
            let biases: Option<Vec<_>> = biases.iter().map(|bias| bias.grad(&gradients)).collect();
            let (weights, biases) = (weights.ok_or(missing)?, biases.ok_or(missing)?);
            results.push_with(format!("d_weight_{suffix}"), || gates(weights, read_transposed));
            results.push_with(format!("d_bias_{suffix}"), || gates(biases, read));
        }
        results.finish(&self.device)
    }
}

/// A matrix of burn's, as PyTorch has it.
pub fn read_transposed(matrix: Tensor<2>) -> Result<Vec<f32>> {
    let cols = matrix.dims()[1];
    Ok(transpose(&read(matrix)?, cols))
}

/// The values of all gates, as PyTorch has them: one gate's rows after another's.
pub fn gates<T>(gates: Vec<T>, values: impl Fn(T) -> Result<Vec<f32>>) -> Result<Vec<f32>> {
    Ok(gates.into_iter().map(values).collect::<Result<Vec<_>>>()?.concat())
}

fn theirs<M: Module>(device: &Device, request: &Request) -> Result<Vec<Side>> {
    let burn = Burn::<M>::new(device, request)?;
    Ok(vec![Side { name: "burn", run: Box::new(move || burn.run()) }])
}

/// Compares, prints and records.
pub fn run<M: Module>(args: &Args) -> Result<()> {
    let sizes = [args.seq, args.batch, args.inputs, args.hidden];
    turns::run(&args.warm, M::OP.spec().name, "", [false, true].map(|backward| case::<M>(sizes, backward)))
}
