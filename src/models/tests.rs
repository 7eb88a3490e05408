use super::seq2seq::{Pairs, SearchOptions, Seq2Seq, Seq2SeqOptions};
use super::tagger::{Sentences, Tagger, TaggerOptions};
use super::*;
use crate::autograd::testing::{Model, check_model, devices, gpu};
use crate::autograd::{Device, Variable};
use crate::nn::{Cell, Mode, Parameters, Score};
use crate::ops::Arrays;
use crate::ops::optimizer::{Kind, OptimizerOptions};
use crate::optim::{Optimizer, Schedule};
use crate::{Error, Result};

const SOURCES: [&[i32]; 4] = [&[3, 4, 5], &[6, 3], &[5, 5, 4, 6], &[4]];
/// The sources turned around.
const TARGETS: [&[i32]; 4] = [&[5, 4, 3], &[3, 6], &[6, 4, 5, 5], &[4]];

const SMALL: Seq2SeqOptions = Seq2SeqOptions {
    source: 7,
    target: 7,
    embedding: 5,
    hidden: 6,
    layers: 1,
    cell: Cell::Lstm,
    bidirectional: false,
    score: Score::General,
    dropout: 0.0,
};

/// Sentences of [`SOURCES`] with one predicate each.
fn marks(places: &[usize]) -> Vec<Vec<bool>> {
    SOURCES.iter().zip(places).map(|(source, &place)| (0..source.len()).map(|t| t == place).collect()).collect()
}

fn tagger(cell: Cell, score: Option<Score>, predicate: Option<usize>) -> TaggerOptions {
    TaggerOptions { words: 7, tags: 3, embedding: 5, predicate, hidden: 4, layers: 1, cell, score, dropout: 0.1 }
}

fn named(parameters: &Parameters) -> Vec<(String, Variable)> {
    parameters.iter().map(|(name, parameter)| (name.to_string(), parameter.clone())).collect()
}

/// Trains on a few examples and returns the losses and the parameters.
fn train(parameters: &Parameters, steps: u64, lr: f64, loss: impl Fn(&Mode) -> Result<Variable>) -> (Vec<f64>, Arrays) {
    let options = OptimizerOptions { kind: Kind::Adam, lr, ..Default::default() };
    let mut optimizer = Optimizer::new(parameters, &options, Schedule::new(5, None).unwrap(), Some(1.0)).unwrap();
    let step = |step| {
        let loss = loss(&Mode::train(3, step)).unwrap();
        loss.backward().unwrap();
        optimizer.step().unwrap();
        loss.scalar().unwrap()
    };
    let losses = (0..steps).map(step).collect();
    (losses, parameters.arrays().unwrap())
}

/// Padded rows have no gradient by design, and central differences know nothing of that: only the other parameters are compared with them.
fn without_embeddings(parameters: Vec<(String, Variable)>) -> Vec<(String, Variable)> {
    parameters.into_iter().filter(|(name, _)| !name.contains("embedding")).collect()
}

#[test]
fn seq2seq_gradients() {
    let kinds = [
        Seq2SeqOptions { cell: Cell::Rnn, score: Score::Dot, bidirectional: true, ..SMALL },
        Seq2SeqOptions { cell: Cell::Gru, score: Score::Additive, bidirectional: true, dropout: 0.2, ..SMALL },
        Seq2SeqOptions { layers: 2, score: Score::Bilinear, bidirectional: true, ..SMALL },
        Seq2SeqOptions { cell: Cell::Gru, score: Score::MultiHead(3), bidirectional: true, ..SMALL },
        SMALL,
    ];
    for options in kinds {
        check_model(|device| {
            let mut parameters = Parameters::new(device, 5);
            let model = Seq2Seq::new(&mut parameters.root(), &options).unwrap();
            let pairs = Pairs::new(device, &SOURCES, &TARGETS).unwrap();
            let loss = move || model.loss(&pairs, &Mode::train(1, 1));
            Model { parameters: without_embeddings(named(&parameters)), loss: Box::new(loss) }
        });
    }
}

#[test]
fn tagger_gradients() {
    let heads = tagger(Cell::Rnn, Some(Score::MultiHead(2)), None);
    for options in [tagger(Cell::Lstm, None, None), tagger(Cell::Gru, Some(Score::ScaledDot), Some(2)), heads] {
        check_model(|device| {
            let mut parameters = Parameters::new(device, 5);
            let model = Tagger::new(&mut parameters.root(), &options).unwrap();
            let sentences = Sentences::new(device, &SOURCES, options.predicate.map(|_| marks(&[1, 0, 3, 0])).as_deref()).unwrap();
            let tags = sentences.tags(&[&[0, 1, 2][..], &[2, 1], &[0, 0, 1, 2], &[1]]).unwrap();
            let loss = move || model.loss(&sentences, &tags, &Mode::train(1, 1));
            Model { parameters: without_embeddings(named(&parameters)), loss: Box::new(loss) }
        });
    }
}

/// Learns to turn sequences around, and finds them with and without a beam.
fn learns_alike_on_both_devices(score: Score) {
    let run = |device: &Device| {
        let mut parameters = Parameters::new(device, 1);
        let options = Seq2SeqOptions { embedding: 8, hidden: 16, bidirectional: true, dropout: 0.05, score, ..SMALL };
        let model = Seq2Seq::new(&mut parameters.root(), &options).unwrap();
        let pairs = Pairs::new(device, &SOURCES, &TARGETS).unwrap();
        let (losses, _) = train(&parameters, 120, 0.02, |mode| model.loss(&pairs, mode));
        let source = Sequences::new(device, &SOURCES).unwrap();
        let [greedy, beam] =
            [1, 3].map(|beam| model.predict(&source, &SearchOptions { beam, max_length: 8, ..Default::default() }).unwrap());
        for ((greedy, beam), target) in greedy.iter().zip(&beam).zip(TARGETS) {
            assert_eq!((greedy.ids.as_slice(), beam.ids.as_slice()), (target, target));
            assert!(beam.log_p >= greedy.log_p - 1e-4 && greedy.log_p < 0.0);
            assert_eq!(greedy.weights.len(), target.len() + 1);
            let sums: Vec<f32> = greedy.weights.iter().map(|row| row.iter().sum()).collect();
            assert!(greedy.weights.iter().all(|row| row.len() == target.len()) && sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
        }
        losses
    };
    let [cpu, gpu] = devices().map(|device| run(&device));
    assert!(cpu[119] < 0.1 * cpu[0], "{cpu:?}");
    // Rounding grows from step to step.
    assert!(cpu.iter().zip(&gpu).take(30).all(|(cpu, gpu)| (cpu - gpu).abs() < 1e-4 * (1.0 + cpu)), "{cpu:?} {gpu:?}");
}

#[test]
fn seq2seq_learns_alike_on_both_devices() {
    learns_alike_on_both_devices(Score::General);
}

#[test]
fn seq2seq_with_heads_learns_alike_on_both_devices() {
    learns_alike_on_both_devices(Score::MultiHead(4));
}

#[test]
fn tagger_learns_alike_on_both_devices() {
    let expected: [&[i32]; 4] = [&[0, 1, 2], &[2, 1], &[0, 0, 1, 2], &[1]];
    let run = |device: &Device| {
        let mut parameters = Parameters::new(device, 1);
        let options = TaggerOptions { hidden: 12, embedding: 8, ..tagger(Cell::Lstm, Some(Score::General), None) };
        let model = Tagger::new(&mut parameters.root(), &options).unwrap();
        let sentences = Sentences::new(device, &SOURCES, None).unwrap();
        let tags = sentences.tags(&expected).unwrap();
        let (losses, _) = train(&parameters, 60, 0.03, |mode| model.loss(&sentences, &tags, mode));
        let found = model.predict(&sentences).unwrap();
        assert!(found.iter().zip(expected).all(|(found, expected)| found.tags == expected), "{found:?}");
        assert!(found.iter().all(|found| found.weights.as_ref().is_some_and(|w| w.len() == found.tags.len())));
        losses
    };
    let [cpu, gpu] = devices().map(|device| run(&device));
    assert!(cpu[59] < 0.1 * cpu[0], "{cpu:?}");
    assert!(cpu.iter().zip(&gpu).take(30).all(|(cpu, gpu)| (cpu - gpu).abs() < 1e-4 * (1.0 + cpu)), "{cpu:?} {gpu:?}");
}

/// The same seed, the same bits.
#[test]
fn a_step_is_the_same_on_every_run() {
    let gpu = gpu();
    let run = || {
        let device = Device::from(gpu.clone());
        let mut parameters = Parameters::new(&device, 1);
        let options = Seq2SeqOptions { embedding: 24, hidden: 40, layers: 2, bidirectional: true, dropout: 0.2, ..SMALL };
        let model = Seq2Seq::new(&mut parameters.root(), &options).unwrap();
        let pairs = Pairs::new(&device, &SOURCES, &TARGETS).unwrap();
        train(&parameters, 5, 0.01, |mode| model.loss(&pairs, mode))
    };
    assert_eq!(run(), run());
}

#[test]
fn wrong_batches_are_errors() {
    let device = Device::cpu();
    let wrong = |result: Result<()>| assert!(matches!(result.unwrap_err(), Error::Argument { .. }));
    wrong(Pairs::new(&device, &SOURCES, &TARGETS[1..]).map(drop));
    wrong(Sequences::new(&device, &[&[1][..], &[]]).map(drop));
    wrong(Sequences::new::<&[i32]>(&device, &[]).map(drop));
    wrong(Sentences::new(&device, &SOURCES, Some(&marks(&[0, 0, 0])[..])).map(drop));
    let sentences = Sentences::new(&device, &SOURCES, None).unwrap();
    wrong(sentences.tags(&TARGETS[1..]).map(drop));
    let mut parameters = Parameters::new(&device, 1);
    let model = Tagger::new(&mut parameters.at("tagger"), &tagger(Cell::Gru, None, Some(2))).unwrap();
    wrong(model.predict(&sentences).map(drop));
    let model = Seq2Seq::new(&mut parameters.at("seq2seq"), &SMALL).unwrap();
    let source = Sequences::new(&device, &SOURCES).unwrap();
    wrong(model.predict(&source, &SearchOptions { beam: 0, ..Default::default() }).map(drop));
    // A state of 6 features has no 4 heads.
    let options = Seq2SeqOptions { score: Score::MultiHead(4), ..SMALL };
    wrong(Seq2Seq::new(&mut parameters.at("heads"), &options).map(drop));
    // A target may be empty: it is EOS alone.
    assert_eq!(Pairs::new(&device, &SOURCES[..1], &[[0; 0]]).unwrap().tokens, 1);
}
