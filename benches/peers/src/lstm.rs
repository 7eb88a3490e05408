//! One LSTM layer in one direction, with biases, from states of zero: inference, and training, which is the forward with the gradients
//! of x and of every weight and bias.
//!
//! - `wattn`: the operation `lstm` of the registry, as it is prepared from tensors by name. Without an upstream gradient only the forward
//!   runs, and nothing is kept for a backward.
//! - `burn`: `nn::Lstm` with the same weights, on its wgpu device for inference and under autodiff for training. Each step is eight
//!   products and the gates, which burn fuses. The upstream gradient comes in by multiplying y with it, which is one pass over y more
//!   than wattn does.
//!
//! Both sides, outputs and gradients, are compared with wattn's reference on the CPU, which is in f64.
//!
//! GFLOP/s count the products alone: 2 · T · B · 4H · (I + H) forward, three times that with the backward.

use burn::module::Param;
use burn::nn::{GateController, Linear, Lstm, LstmConfig};
use burn::tensor::{Device, Tensor};
use wattn::ops::philox::Rng;
use wattn::ops::{Arrays, Operation, Request, Settings, find, run_reference};
use wattn::{Array, Data, Gpu};

use crate::device::{read, upload};
use crate::report::Subject;
use crate::turns::{Options, Outputs, Side, Values, measure};
use crate::{Result, SEED, device, report};

const OP: &str = "lstm";

/// Finds the parameters of one product in a gate.
type Of = fn(&GateController) -> &Linear;

/// The two products of a gate: how PyTorch's names end, and where burn has what belongs to them.
const PRODUCTS: [(&str, Of); 2] = [("ih_l0", |gate| &gate.input_transform), ("hh_l0", |gate| &gate.hidden_transform)];

/// One layer, one direction, with biases; states of zero.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
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

#[derive(Clone, Copy)]
struct Sizes {
    seq: usize,
    batch: usize,
    inputs: usize,
    hidden: usize,
}

impl Sizes {
    /// The forward's products.
    fn flops(self) -> f64 {
        2.0 * (self.seq * self.batch) as f64 * 4.0 * self.hidden as f64 * (self.inputs + self.hidden) as f64
    }

    /// What goes in, by PyTorch's names: x and d_y normal, weights and biases uniform as PyTorch initializes them.
    fn draw(self) -> Arrays {
        let Sizes { seq, batch, inputs, hidden } = self;
        let mut rng = Rng::new(SEED);
        let bound = 1.0 / (hidden as f64).sqrt();
        let mut draw = |name: &str, shape: &[usize], normal: bool| {
            let mut one = || if normal { rng.normal() } else { ((2.0 * rng.uniform() - 1.0) * bound) as f32 };
            (name.to_string(), Array::f32(shape, (0..shape.iter().product()).map(|_| one()).collect()))
        };
        Arrays::from([
            draw("x", &[seq, batch, inputs], true),
            draw("weight_ih_l0", &[4 * hidden, inputs], false),
            draw("weight_hh_l0", &[4 * hidden, hidden], false),
            draw("bias_ih_l0", &[4 * hidden], false),
            draw("bias_hh_l0", &[4 * hidden], false),
            draw("d_y", &[seq, batch, hidden], true),
        ])
    }
}

/// The values of a drawn tensor or of a reference.
fn values(array: &Array) -> Result<&[f32]> {
    let Data::F32(values) = array.data() else { return Err("expected f32".into()) };
    Ok(values)
}

fn request(op: &dyn Operation, drawn: &Arrays, backward: bool) -> Result<Request> {
    let mut tensors = drawn.clone();
    tensors.retain(|name, _| backward || !name.starts_with("d_"));
    Ok(Request::new(op.spec(), tensors, Settings::default())?)
}

fn expected(op: &dyn Operation, request: &Request) -> Result<Values> {
    run_reference(op, request)?.into_iter().map(|(name, array)| Ok((name, values(&array)?.to_vec()))).collect()
}

fn ours(op: &dyn Operation, gpu: &Gpu, request: &Request) -> Result<Side<'static>> {
    let mut prepared = op.prepare(gpu, request)?;
    gpu.finish()?;
    let gpu = gpu.clone();
    let run = move || -> Result<Outputs> {
        let tensors = prepared()?;
        gpu.finish()?;
        Ok(Box::new(move || tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.read_blocking()?))).collect()))
    };
    Ok(Side { name: "wattn", run: Box::new(run) })
}

/// The transpose of a matrix of so many columns: burn's weights are `[inputs, outputs]`, PyTorch's `[outputs, inputs]`.
fn transpose(values: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols).copied()).collect()
}

/// burn's layer with the drawn weights, and its input.
struct Layer {
    lstm: Lstm,
    x: Tensor<3>,
}

impl Layer {
    fn new(device: &Device, drawn: &Arrays, sizes: Sizes) -> Result<Self> {
        let Sizes { seq, batch, inputs, hidden } = sizes;
        let mut lstm = LstmConfig::new(inputs, hidden, true).with_batch_first(false).init(device);
        // Gate `index` of the rows, which in PyTorch are i, f, g, o.
        let linear = |product: &str, index: usize| -> Result<Linear> {
            let (weight, bias) = (&drawn[&format!("weight_{product}")], &drawn[&format!("bias_{product}")]);
            let cols = weight.shape()[1];
            let weight = transpose(&values(weight)?[index * hidden * cols..][..hidden * cols], cols);
            let weight = Param::from_tensor(upload(&weight, [cols, hidden], device));
            let bias = Param::from_tensor(upload(&values(bias)?[index * hidden..][..hidden], [hidden], device));
            Ok(Linear { weight, bias: Some(bias) })
        };
        let gate = |index| -> Result<GateController> {
            Ok(GateController { input_transform: linear("ih_l0", index)?, hidden_transform: linear("hh_l0", index)? })
        };
        (lstm.input_gate, lstm.forget_gate, lstm.cell_gate, lstm.output_gate) = (gate(0)?, Some(gate(1)?), gate(2)?, gate(3)?);
        Ok(Layer { lstm, x: upload(values(&drawn["x"])?, [seq, batch, inputs], device) })
    }

    /// i, f, g, o.
    fn gates(&self) -> Vec<&GateController> {
        let Lstm { input_gate, forget_gate, cell_gate, output_gate, .. } = &self.lstm;
        [Some(input_gate), forget_gate.as_ref(), Some(cell_gate), Some(output_gate)].into_iter().flatten().collect()
    }
}

/// What burn returns, still on the device. A list holds one tensor for each gate.
struct Returned {
    sequences: Vec<(&'static str, Tensor<3>)>,
    states: [(&'static str, Tensor<2>); 2],
    weights: Vec<(String, Vec<Tensor<2>>)>,
    biases: Vec<(String, Vec<Tensor<1>>)>,
}

impl Returned {
    /// The values by PyTorch's names and in its layout.
    fn read(self) -> Result<Values> {
        let mut all = Values::new();
        for (name, tensor) in self.sequences {
            all.insert(name.to_string(), read(tensor)?);
        }
        for (name, tensor) in self.states {
            all.insert(name.to_string(), read(tensor)?);
        }
        for (name, gates) in self.weights {
            let gates = gates.into_iter().map(|gate| {
                let cols = gate.dims()[1];
                Ok(transpose(&read(gate)?, cols))
            });
            all.insert(name, gates.collect::<Result<Vec<_>>>()?.concat());
        }
        for (name, gates) in self.biases {
            all.insert(name, gates.into_iter().map(read).collect::<Result<Vec<_>>>()?.concat());
        }
        Ok(all)
    }
}

/// burn's layers: a plain one for inference, another that autodiff follows.
struct Burn {
    device: Device,
    plain: Layer,
    tracked: Layer,
    d_y: Tensor<3>,
}

impl Burn {
    fn new(device: Device, drawn: &Arrays, sizes: Sizes) -> Result<Self> {
        let differentiating = device.clone().autodiff();
        let (plain, mut tracked) = (Layer::new(&device, drawn, sizes)?, Layer::new(&differentiating, drawn, sizes)?);
        tracked.x = tracked.x.require_grad();
        let d_y = upload(values(&drawn["d_y"])?, [sizes.seq, sizes.batch, sizes.hidden], &differentiating);
        device.sync()?;
        Ok(Burn { device, plain, tracked, d_y })
    }

    fn side(&self, backward: bool) -> Side<'_> {
        Side { name: "burn", run: Box::new(move || if backward { self.both() } else { self.forward() }) }
    }

    fn forward(&self) -> Result<Outputs> {
        let (y, state) = self.plain.lstm.forward(self.plain.x.clone(), None);
        let states = [("hn", state.hidden), ("cn", state.cell)];
        self.finish(Returned { sequences: vec![("y", y)], states, weights: vec![], biases: vec![] })
    }

    fn both(&self) -> Result<Outputs> {
        let layer = &self.tracked;
        let (y, state) = layer.lstm.forward(layer.x.clone(), None);
        let gradients = (y.clone() * self.d_y.clone()).backward();
        let missing = "burn returns no gradient";
        let (mut weights, mut biases) = (vec![], vec![]);
        for (product, linear) in PRODUCTS {
            let linears = || layer.gates().into_iter().map(linear);
            let weight: Option<Vec<_>> = linears().map(|linear| linear.weight.val().grad(&gradients)).collect();
            let bias: Option<Vec<_>> = linears().map(|linear| linear.bias.as_ref()?.val().grad(&gradients)).collect();
            weights.push((format!("d_weight_{product}"), weight.ok_or(missing)?));
            biases.push((format!("d_bias_{product}"), bias.ok_or(missing)?));
        }
        let sequences = vec![("y", y.without_autodiff()), ("d_x", layer.x.grad(&gradients).ok_or(missing)?)];
        let states = [("hn", state.hidden.without_autodiff()), ("cn", state.cell.without_autodiff())];
        self.finish(Returned { sequences, states, weights, biases })
    }

    fn finish(&self, returned: Returned) -> Result<Outputs> {
        self.device.sync()?;
        Ok(Box::new(move || returned.read()))
    }
}

/// Compares, prints and records.
pub fn run(args: &Args) -> Result<()> {
    let op = find(OP).ok_or_else(|| format!("this wattn has no operation '{OP}', so there is nothing to compare burn's with"))?;
    let options = &args.options;
    let [seq, batch, inputs, hidden] = [args.seq, args.batch, args.inputs, args.hidden].map(|size| size as usize);
    let sizes = Sizes { seq, batch, inputs, hidden };
    let drawn = sizes.draw();
    let gpu = options.open()?;
    let theirs = Burn::new(device::open(gpu.info())?, &drawn, sizes)?;
    let mut rows = vec![];
    for backward in [false, true] {
        let name = format!("{seq}_steps_{}", if backward { "both" } else { "forward" });
        if !options.want(&name) {
            continue;
        }
        let request = request(op, &drawn, backward)?;
        eprintln!("{name}: reference");
        let expected = expected(op, &request)?;
        let mut sides = [ours(op, &gpu, &request)?, theirs.side(backward)];
        let flops = sizes.flops() * if backward { 3.0 } else { 1.0 };
        rows.push(measure(options, &name, flops, &mut sides, Some(&expected))?);
    }
    report::finish(gpu.info(), options, &Subject { op: OP, shape: &[seq, batch, inputs, hidden], note: "" }, &rows)
}
