//! A model that PyTorch saved, opened by its names: outputs, and the gradients of all parameters. models/translator.py made the files, and says
//! what they hold.

use std::path::PathBuf;

use wattn::autograd::{Device, Variable};
use wattn::nn::{
    Cell, DecoderLayer, Embedding, EncoderLayer, LayerNorm, Linear, Mode, MultiHeadAttention, Parameters, Recurrent, RecurrentOptions,
    TransformerOptions,
};
use wattn::ops::activation::Kind;
use wattn::ops::check;
use wattn::ops::{Arrays, Precision, Values};
use wattn::{Array, GpuOptions, Result, io};

use crate::{REFERENCE, common, compare};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(name)
}

/// `Translator` of translator.py.
struct Translator {
    source_embedding: Embedding,
    target_embedding: Embedding,
    lstm: Recurrent,
    attention: MultiHeadAttention,
    norm: LayerNorm,
    encoder: EncoderLayer,
    gru: Recurrent,
    decoder: DecoderLayer,
    output: Linear,
}

impl Translator {
    fn new(parameters: &mut Parameters) -> Result<Self> {
        let recurrent =
            |cell, inputs, hidden, bidirectional| RecurrentOptions { cell, inputs, hidden, layers: 2, bidirectional, dropout: 0.0 };
        let block =
            |inner, activation, norm_first| TransformerOptions { features: 12, heads: 3, inner, dropout: 0.0, activation, norm_first };
        Ok(Translator {
            source_embedding: Embedding::new(&mut parameters.at("source_embedding"), 11, 7, Some(0))?,
            target_embedding: Embedding::new(&mut parameters.at("target_embedding"), 9, 5, Some(0))?,
            lstm: Recurrent::new(&mut parameters.at("lstm"), &recurrent(Cell::Lstm, 7, 6, true))?,
            attention: MultiHeadAttention::new(&mut parameters.at("attention"), 12, 3, 0.0)?,
            norm: LayerNorm::new(&mut parameters.at("norm"), 12)?,
            encoder: EncoderLayer::new(&mut parameters.at("encoder"), &block(10, Kind::Gelu, false))?,
            gru: Recurrent::new(&mut parameters.at("gru"), &recurrent(Cell::Gru, 5, 12, false))?,
            decoder: DecoderLayer::new(&mut parameters.at("decoder"), &block(14, Kind::Relu, true))?,
            output: Linear::new(&mut parameters.at("output"), 12, 9, true)?,
        })
    }

    /// The outputs, under the names of the file.
    fn forward(&self, device: &Device, case: &Arrays) -> Result<Vec<(&'static str, Variable)>> {
        let input = |name: &str| device.constant(case[&format!("in.{name}")].clone());
        let source = &case["in.source"];
        let there = source.to_f64().iter().map(|&id| u8::from(id != 0.0)).collect();
        let mask = device.constant(Array::u8(source.shape(), there))?;
        let mode = Mode::predict();

        let x = self.lstm.forward(&self.source_embedding.forward(&input("source")?)?, Some(&input("source_lengths")?), None, &mode)?;
        let seen = self.attention.forward([&x.y, &x.y, &x.y], Some(&mask), false, &mode)?;
        let (memory, _) = self.encoder.forward(&self.norm.forward(&x.y.add(&seen.context)?)?, Some(&mask), false, &mode)?;
        let y = self.gru.forward(&self.target_embedding.forward(&input("target")?)?, Some(&input("target_lengths")?), None, &mode)?;
        let (decoded, _) = self.decoder.forward(&y.y, &memory, Some(&mask), &mode)?;
        let logits = self.output.forward(&decoded)?;
        let cn = x.last.c.unwrap();
        Ok(vec![("hn", x.last.h), ("cn", cn), ("probs", seen.weights), ("memory", memory), ("states", y.last.h), ("logits", logits)])
    }
}

/// Opens PyTorch's parameters and computes what the case has: `out.Y`, and `grad.P` of all parameters.
fn run(device: &Device, case: &Arrays) -> Result<Arrays> {
    let mut parameters = Parameters::new(device, 1);
    let model = Translator::new(&mut parameters)?;
    parameters.open(&file("translator.safetensors"))?;
    let outputs = model.forward(device, case)?;
    let mut loss = device.number(0.0)?;
    for (name, output) in &outputs {
        let upstream = device.constant(case[&format!("dout.{name}")].clone())?;
        loss = loss.add(&output.mul(&upstream)?.sum(None)?)?;
    }
    loss.backward()?;
    let outputs = outputs.iter().map(|(name, output)| Ok((format!("out.{name}"), output.array()?)));
    let gradient = |parameter: &Variable| parameter.gradient().unwrap().array();
    outputs.chain(parameters.iter().map(|(name, parameter)| Ok((format!("grad.{name}"), gradient(parameter)?)))).collect()
}

/// What PyTorch computed, after a look at whether `results` has the same names.
fn expected<'a>(case: &'a Arrays, results: &Arrays) -> impl Iterator<Item = (&'a String, &'a Array)> {
    let expected = || case.iter().filter(|(name, _)| name.starts_with("out.") || name.starts_with("grad."));
    assert_eq!(expected().map(|(name, _)| name).collect::<Vec<_>>(), results.keys().collect::<Vec<_>>());
    expected()
}

#[test]
fn references_agree_with_a_model_of_pytorch() {
    let case = io::read(&file("translator_case.safetensors")).unwrap();
    let results = run(&Device::cpu(), &case).unwrap();
    for (name, expected) in expected(&case, &results) {
        compare(&expected.to_f64(), &results[name].to_f64(), REFERENCE).unwrap_or_else(|e| panic!("{name}{e}"));
    }
}

/// Within the numeric budget, whose exact values are PyTorch's here. What plain runs lose is counted from our own exact one: counted from
/// PyTorch's, a model that is built wrong would widen its own budget.
#[test]
fn devices_agree_with_a_model_of_pytorch() {
    let case = io::read(&file("translator_case.safetensors")).unwrap();
    let results = run(&Device::from(common::open(GpuOptions::default())), &case).unwrap();
    let [exact, plain, rough] = [Precision::Exact, Precision::Plain, Precision::Rough].map(|p| run(&Device::Cpu(p), &case).unwrap());
    for (name, expected) in expected(&case, &results) {
        let (shape, theirs, exact) = (expected.shape(), expected.to_f64(), exact[name].to_f64());
        let plain = [&plain, &rough].map(|plain| {
            let losses = plain[name].to_f64().into_iter().zip(&exact).map(|(plain, exact)| plain - exact);
            Values::of(shape, &theirs.iter().zip(losses).map(|(theirs, loss)| theirs + loss).collect::<Vec<_>>())
        });
        let checked = check::tensor(name, &Values::of(shape, &theirs), &plain.each_ref(), &results[name]);
        assert!(checked.ok, "{checked}");
    }
}

/// The other direction: what is saved is what PyTorch wrote, in names, shapes, types and bits, so that its `load_state_dict` takes it.
#[test]
fn what_is_saved_is_what_pytorch_saved() {
    let theirs = file("translator.safetensors");
    let mut parameters = Parameters::new(&Device::from(common::open(GpuOptions::default())), 1);
    Translator::new(&mut parameters).unwrap();
    parameters.open(&theirs).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("translator.safetensors");
    parameters.save(&ours).unwrap();
    assert_eq!(io::read(&ours).unwrap(), io::read(&theirs).unwrap());
}
