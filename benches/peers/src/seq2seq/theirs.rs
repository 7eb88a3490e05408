//! burn's side: the model of its modules, trained as its book does it.
//!
//! The score "general" is a linear layer of the decoder's states without a bias, whose product with the encoder's outputs a softmax follows.

use burn::module::{Module, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Embedding, EmbeddingConfig, GateController, Linear, LinearConfig, Lstm, LstmConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use wattn::models::seq2seq::Seq2SeqOptions;
use wattn::models::{BOS, EOS};
use wattn::ops::Arrays;

use super::{EPS, LOSSES, LR, Trainer};
use crate::Result;
use crate::case::floats;
use crate::device::{Pendings, drawn, read, upload};
use crate::recurrent::{Module as _, gates, read_transposed, transpose};
use crate::turns::Outputs;

#[derive(Module, Debug)]
struct Model {
    source_embedding: Embedding,
    target_embedding: Embedding,
    encoder: Lstm,
    decoder: Lstm,
    attention: Linear,
    combine: Linear,
    output: Linear,
}

/// Where burn keeps one of wattn's parameters.
enum Place<'a> {
    /// As wattn does.
    Same(&'a mut Param<Tensor<2>>),
    /// Transposed, and each gate apart.
    Matrices(Vec<&'a mut Param<Tensor<2>>>),
    /// Each gate apart.
    Vectors(Vec<&'a mut Param<Tensor<1>>>),
}

/// The places of one linear layer or, of a product of an LSTM, of those of all gates.
fn linear<'a>(gates: impl IntoIterator<Item = &'a mut Linear>) -> [Place<'a>; 2] {
    let (mut weights, mut biases) = (vec![], vec![]);
    for Linear { weight, bias } in gates {
        weights.push(weight);
        biases.extend(bias);
    }
    [Place::Matrices(weights), Place::Vectors(biases)]
}

impl Model {
    fn new(options: &Seq2SeqOptions, device: &Device) -> Self {
        let Seq2SeqOptions { source, target, embedding, hidden, .. } = *options;
        Model {
            source_embedding: EmbeddingConfig::new(source, embedding).init(device),
            target_embedding: EmbeddingConfig::new(target, embedding).init(device),
            encoder: LstmConfig::new(embedding, hidden, true).init(device),
            decoder: LstmConfig::new(embedding, hidden, true).init(device),
            attention: LinearConfig::new(hidden, hidden).with_bias(false).init(device),
            combine: LinearConfig::new(2 * hidden, hidden).init(device),
            output: LinearConfig::new(hidden, target).init(device),
        }
    }

    /// The places of wattn's parameters by their names.
    fn places(&mut self) -> Vec<(String, Place<'_>)> {
        let Model { source_embedding, target_embedding, encoder, decoder, attention, combine, output } = self;
        let mut places = vec![
            ("source_embedding.weight".to_string(), Place::Same(&mut source_embedding.weight)),
            ("target_embedding.weight".to_string(), Place::Same(&mut target_embedding.weight)),
            ("attention.w".to_string(), Place::Same(&mut attention.weight)),
        ];
        let mut add = |layer: &str, suffix: &str, [weight, bias]: [_; 2]| {
            places.push((format!("{layer}.weight{suffix}"), weight));
            places.push((format!("{layer}.bias{suffix}"), bias));
        };
        add("combine", "", linear([combine]));
        add("output", "", linear([output]));
        for (layer, lstm) in [("encoder", encoder), ("decoder", decoder)] {
            let gates = lstm.gates().into_iter();
            let (inputs, states): (Vec<_>, Vec<_>) =
                gates.map(|GateController { input_transform, hidden_transform }| (input_transform, hidden_transform)).unzip();
            add(layer, "_ih_l0", linear(inputs));
            add(layer, "_hh_l0", linear(states));
        }
        places
    }

    /// Takes wattn's parameters.
    fn load(&mut self, arrays: &Arrays, device: &Device) -> Result<()> {
        for (name, place) in self.places() {
            let array = arrays.get(&name).ok_or_else(|| format!("wattn has no {name}"))?;
            let (values, shape) = (floats(array)?, array.shape());
            match place {
                Place::Same(param) => *param = Param::from_tensor(drawn(array, device)?),
                Place::Matrices(params) => {
                    let (rows, cols) = (shape[0] / params.len(), shape[1]);
                    for (param, gate) in params.into_iter().zip(values.chunks(rows * cols)) {
                        *param = Param::from_tensor(upload(&transpose(gate, cols), [cols, rows], device));
                    }
                }
                Place::Vectors(params) => {
                    let rows = shape[0] / params.len();
                    for (param, gate) in params.into_iter().zip(values.chunks(rows)) {
                        *param = Param::from_tensor(upload(gate, [rows], device));
                    }
                }
            }
        }
        Ok(())
    }

    /// The parameters by wattn's names.
    fn results(&mut self, results: &mut Pendings) {
        for (name, place) in self.places() {
            match place {
                Place::Same(param) => results.push(name, param.val().without_autodiff()),
                Place::Matrices(params) => {
                    let own: Vec<_> = params.iter().map(|param| param.val().without_autodiff()).collect();
                    results.push_with(name, || gates(own, read_transposed));
                }
                Place::Vectors(params) => {
                    let own: Vec<_> = params.iter().map(|param| param.val().without_autodiff()).collect();
                    results.push_with(name, || gates(own, read));
                }
            }
        }
    }

    /// The mean cross entropy.
    fn loss(&self, batch: &Batch) -> Tensor<1> {
        let (keys, last) = self.encoder.forward(self.source_embedding.forward(batch.source.clone()), None);
        let (h, _) = self.decoder.forward(self.target_embedding.forward(batch.input.clone()), Some(last));
        let scores = self.attention.forward(h.clone()).matmul(keys.clone().transpose());
        let context = softmax(scores, 2).matmul(keys);
        let combined = self.combine.forward(Tensor::cat(vec![context, h], 2)).tanh();
        let logits: Tensor<2> = self.output.forward(combined).flatten(0, 1);
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, batch.target.clone())
    }
}

/// Ids on the device.
struct Batch {
    /// `[batch, source]`
    source: Tensor<2, Int>,
    /// `[batch, target]`: [`BOS`] and the target.
    input: Tensor<2, Int>,
    /// `[batch · target]`: the target and [`EOS`].
    target: Tensor<1, Int>,
}

impl Batch {
    fn new([sources, targets]: &[Vec<Vec<i32>>; 2], device: &Device) -> Self {
        let ids = |rows: Vec<Vec<i32>>| -> Tensor<2, Int> {
            let shape = [rows.len(), rows[0].len()];
            Tensor::from_data(TensorData::new(rows.concat(), shape), device)
        };
        let input = targets.iter().map(|target| [&[BOS], target.as_slice()].concat()).collect();
        let said = targets.iter().map(|target| [target.as_slice(), &[EOS]].concat()).collect();
        Batch { source: ids(sources.clone()), input: ids(input), target: ids(said).flatten(0, 1) }
    }
}

/// What trains from these parameters.
pub fn trainer(options: &Seq2SeqOptions, drawn: &[Vec<Vec<i32>>; 2], initial: &Arrays, device: &Device) -> Result<Trainer> {
    let (on, device) = (device.clone().autodiff(), device.clone());
    let mut model = Model::new(options, &on);
    model.load(initial, &on)?;
    let batch = Batch::new(drawn, &on);
    let mut optimizer = AdamConfig::new().with_epsilon(EPS as f32).init();
    device.sync()?;
    // The optimizer takes the model and gives it back.
    let mut own = Some(model);
    let train = move |steps| -> Result<Outputs> {
        let mut model = own.take().ok_or("burn's model was lost in an earlier step")?;
        let mut losses = vec![];
        for _ in 0..steps {
            let loss = model.loss(&batch);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(LR, model, gradients);
            losses.push(loss.without_autodiff());
        }
        let mut results = Pendings::default();
        model.results(&mut results);
        own = Some(model);
        results.push_with(LOSSES, || gates(losses, read));
        results.finish(&device)
    };
    Ok(Trainer { name: "burn", train: Box::new(train) })
}
