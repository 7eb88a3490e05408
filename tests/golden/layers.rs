//! Layers with parameters that PyTorch's modules have, under their names: outputs, and the gradients that the tape finds.

use wattn::autograd::{Device, Variable};
use wattn::nn::{
    Cell, Crf, Embedding, LayerNorm, Linear, Mode, MultiHeadAttention, Parameters, Recurrent, RecurrentOptions, Scope, States,
};
use wattn::ops::Arrays;
use wattn::{Array, GpuOptions, Result};

use crate::case::{Case, read_all};
use crate::{DEVICE, REFERENCE, Tolerance, common, compare};

/// A case's tensors on a device, and what the layer made of them.
struct Run<'a> {
    case: &'a Case,
    device: &'a Device,
    tolerance: Tolerance,
}

impl Run<'_> {
    fn input(&self, name: &str) -> Variable {
        self.device.constant(self.case.tensor("in", name).unwrap().clone()).unwrap()
    }

    /// Makes a layer whose parameter `ours(name)` is the file's input `name`, for all of its inputs but `data`.
    fn layer<L>(&self, data: &[&str], ours: fn(&str) -> String, make: impl Fn(&mut Scope) -> Result<L>) -> (L, Parameters) {
        let mut parameters = Parameters::new(self.device, 1);
        let layer = make(&mut parameters.root()).unwrap();
        let own = self.case.all("in").filter(|(name, _)| !data.contains(name)).map(|(name, array)| (ours(name), array.clone()));
        parameters.load(&own.collect::<Arrays>()).unwrap();
        (layer, parameters)
    }

    /// Compares outputs with the file's, then the gradients of all parameters.
    fn check(&self, outputs: &[(&str, Variable)], parameters: &Parameters, ours: fn(&str) -> String) {
        let mut loss: Option<Variable> = None;
        for (name, output) in outputs {
            let expected = self.case.tensor("out", name).unwrap().to_f64();
            compare(&expected, &output.array().unwrap().to_f64(), self.tolerance)
                .unwrap_or_else(|e| panic!("{} {name}{e}", self.case.name));
            if let Ok(upstream) = self.case.tensor("dout", name) {
                let upstream = self.device.constant(upstream.clone()).unwrap();
                let term = output.mul(&upstream).unwrap().sum(None).unwrap();
                loss = Some(loss.map_or(term.clone(), |loss| loss.add(&term).unwrap()));
            }
        }
        loss.unwrap().backward().unwrap();
        for (name, expected) in self.case.all("grad") {
            let Some(parameter) = parameters.get(&ours(name)) else { continue };
            let got = parameter.gradient().unwrap().array().unwrap().to_f64();
            compare(&expected.to_f64(), &got, self.tolerance).unwrap_or_else(|e| panic!("{} d_{name}{e}", self.case.name));
        }
    }
}

fn same(name: &str) -> String {
    name.to_string()
}

/// torch.nn.MultiheadAttention has a Linear inside.
fn of_multi_head(name: &str) -> String {
    name.replace("out_proj_", "out_proj.")
}

fn of_crf(name: &str) -> String {
    if name == "transitions" { name.to_string() } else { format!("{name}_transitions") }
}

/// Runs the case of this name on both devices.
fn on_both(name: &str, run: impl Fn(&Run)) {
    let cases = read_all();
    let case = cases.iter().find(|case| case.name == name).unwrap();
    let gpu = Device::from(common::open(GpuOptions::default()));
    for (device, tolerance) in [(Device::cpu(), REFERENCE), (gpu, DEVICE)] {
        run(&Run { case, device: &device, tolerance });
    }
}

/// `[time, batch, ..]` as `[batch, time, ..]`, and back.
fn turned(x: &Variable) -> Variable {
    x.transpose(&[1, 0, 2]).unwrap()
}

#[test]
fn linear() {
    on_both("linear", |run| {
        let (layer, parameters) = run.layer(&["x"], same, |scope| Linear::new(scope, 37, 29, true));
        run.check(&[("y", layer.forward(&run.input("x")).unwrap())], &parameters, same);
    });
}

#[test]
fn embedding() {
    on_both("embedding", |run| {
        let (layer, parameters) = run.layer(&["ids"], same, |scope| Embedding::new(scope, 23, 17, None));
        run.check(&[("y", layer.forward(&run.input("ids")).unwrap())], &parameters, same);
    });
}

#[test]
fn layer_norm() {
    on_both("layer_norm_affine", |run| {
        let (layer, parameters) = run.layer(&["x"], same, |scope| LayerNorm::new(scope, 37));
        run.check(&[("y", layer.forward(&run.input("x")).unwrap())], &parameters, same);
    });
}

#[test]
fn recurrent() {
    let options =
        |cell, inputs, hidden, layers, bidirectional| RecurrentOptions { cell, inputs, hidden, layers, bidirectional, dropout: 0.0 };
    let cases = [
        ("rnn_tanh", options(Cell::Rnn, 7, 11, 1, false)),
        ("gru_bi_2layer_lengths", options(Cell::Gru, 6, 9, 2, true)),
        ("lstm_bi", options(Cell::Lstm, 8, 12, 1, true)),
    ];
    for (name, options) in cases {
        on_both(name, |run| {
            let (layer, parameters) = run.layer(&["x", "h0", "c0", "lengths"], same, |scope| Recurrent::new(scope, &options));
            let given = |name: &str| run.case.tensor("in", name).is_ok().then(|| run.input(name));
            let states = States { h: run.input("h0"), c: given("c0") };
            let out = layer.forward(&turned(&run.input("x")), given("lengths").as_ref(), Some(&states), &Mode::predict()).unwrap();
            let mut outputs = vec![("y", turned(&out.y)), ("hn", out.last.h)];
            outputs.extend(out.last.c.map(|c| ("cn", c)));
            run.check(&outputs, &parameters, same);
        });
    }
}

#[test]
fn multi_head_attention() {
    on_both("mha_module", |run| {
        let data = ["query", "key", "value", "key_keep"];
        let (layer, parameters) = run.layer(&data, of_multi_head, |scope| MultiHeadAttention::new(scope, 24, 4, 0.0));
        let [query, key, value, keep] = data.map(|name| run.input(name));
        let out = layer.forward([&query, &key, &value], Some(&keep), false, &Mode::predict()).unwrap();
        run.check(&[("o", out.context), ("probs", out.weights)], &parameters, of_multi_head);
    });
}

#[test]
fn crf() {
    on_both("crf_lengths", |run| {
        let (layer, parameters) = run.layer(&["emissions", "tags", "lengths"], of_crf, |scope| Crf::new(scope, 7));
        let [emissions, tags, lengths] = ["emissions", "tags", "lengths"].map(|name| run.input(name));
        // The layer's loss is the mean, the file's the sum.
        let loss = layer.loss(&emissions, &tags, Some(&lengths)).unwrap().scale(4.0).unwrap();
        run.check(&[("loss", loss)], &parameters, of_crf);
        let path: Array = layer.decode(&emissions, Some(&lengths)).unwrap();
        assert_eq!(path.to_f64(), run.case.tensor("out", "viterbi_path").unwrap().to_f64());
    });
}
