//! What rnn, gru and lstm have in common: how steps are recorded, what is kept, and states that go on from one call to the next.

use wattn::ops::check::{Expected, Outcome};
use wattn::ops::recurrent::{
    Cell, Gradients, Inputs, Nonlinearity, Options, Outputs, Reset, Saved, Upstream, Weights, backward, forward, forward_saving,
};
use wattn::ops::{Case, Operation, find};
use wattn::{Array, Error, Gpu, Tensor};

use crate::{Device, assert_close, bits, floats, gpu, normal, run};

const CELLS: [Cell; 5] =
    [Cell::Rnn(Nonlinearity::Tanh), Cell::Rnn(Nonlinearity::Relu), Cell::Gru(Reset::After), Cell::Gru(Reset::Before), Cell::Lstm];

/// One layer on a device, in one direction.
struct Layer {
    cell: Cell,
    weights: [Tensor; 4],
    projection: Option<Tensor>,
}

impl Layer {
    fn new(gpu: &Gpu, cell: Cell, input: usize, hidden: usize, output: usize) -> Self {
        let rows = cell.gates() * hidden;
        let tensor = |seed: u64, shape: &[usize]| {
            let scaled = floats(&normal(seed, shape)).iter().map(|x| x / (hidden as f32).sqrt()).collect();
            gpu.upload(&Array::f32(shape, scaled)).unwrap()
        };
        let weights = [tensor(1, &[rows, input]), tensor(2, &[rows, output]), tensor(3, &[rows]), tensor(4, &[rows])];
        Layer { cell, weights, projection: (output != hidden).then(|| tensor(5, &[output, hidden])) }
    }

    fn weights(&self) -> [Weights<'_>; 1] {
        let [weight_ih, weight_hh, bias_ih, bias_hh] = &self.weights;
        [Weights { weight_ih, weight_hh, bias: Some([bias_ih, bias_hh]), weight_hr: self.projection.as_ref(), peep: None }]
    }

    /// Goes on from the states of the call before.
    fn saving(&self, gpu: &Gpu, x: &Tensor, before: Option<&Outputs>) -> (Outputs, Saved) {
        let weights = self.weights();
        forward_saving(gpu, self.cell, &self.inputs(x, before, &weights), &Options::default()).unwrap()
    }

    fn inputs<'a>(&self, x: &'a Tensor, before: Option<&'a Outputs>, weights: &'a [Weights<'a>]) -> Inputs<'a> {
        Inputs { h0: before.map(|b| &b.hn), c0: before.and_then(|b| b.cn.as_ref()), ..Inputs::new(x, weights) }
    }

    fn backward(&self, gpu: &Gpu, x: &Tensor, before: Option<&Outputs>, saved: Saved, upstream: &Upstream) -> Gradients {
        let weights = self.weights();
        backward(gpu, &self.inputs(x, before, &weights), saved, upstream).unwrap()
    }
}

fn read(tensor: &Tensor) -> Vec<f32> {
    tensor.read_blocking().unwrap()
}

/// A long sequence in chunks, the states handed on: the same bits as in one call. So does the gradient, which goes back from chunk
/// to chunk through the states, and is the sum over the chunks for weights.
#[test]
fn chunks_are_as_good_as_the_whole() {
    const CHUNKS: [usize; 4] = [1, 9, 2, 5];
    let (gpu, batch, input, hidden) = (gpu(), 3, 5, 13);
    let total: usize = CHUNKS.iter().sum();
    let (x, d_y) = (normal(7, &[total, batch, input]), normal(8, &[total, batch, hidden]));
    for cell in CELLS {
        let layer = Layer::new(gpu, cell, input, hidden, hidden);
        let part = |array: &Array, from: usize, n: usize| {
            let row = batch * array.shape()[2];
            let values = floats(array)[from * row..][..n * row].to_vec();
            gpu.upload(&Array::f32(&[n, batch, array.shape()[2]], values)).unwrap()
        };
        let whole_x = gpu.upload(&x).unwrap();
        let (whole, saved) = layer.saving(gpu, &whole_x, None);
        let whole_d_y = gpu.upload(&d_y).unwrap();
        let expected = layer.backward(gpu, &whole_x, None, saved, &Upstream { d_y: Some(&whole_d_y), ..Default::default() });

        let mut from = 0;
        let mut calls: Vec<(Tensor, Tensor, Outputs, Saved)> = vec![];
        for n in CHUNKS {
            let x = part(&x, from, n);
            let (outputs, saved) = layer.saving(gpu, &x, calls.last().map(|(.., outputs, _)| outputs));
            calls.push((x, part(&d_y, from, n), outputs, saved));
            from += n;
        }
        let y: Vec<f32> = calls.iter().flat_map(|(.., outputs, _)| read(&outputs.y)).collect();
        assert_eq!(bits(&y), bits(&read(&whole.y)), "{cell:?}");
        assert_eq!(bits(&read(&calls[3].2.hn)), bits(&read(&whole.hn)), "{cell:?}");

        let mut d_x: Vec<f32> = vec![];
        let mut d_weight_hh = vec![0.0; expected.weights[0].d_weight_hh.len()];
        let mut after: Option<Gradients> = None;
        while let Some((x, d_y, _, saved)) = calls.pop() {
            let upstream = Upstream {
                d_y: Some(&d_y),
                d_hn: after.as_ref().map(|after| &after.d_h0),
                d_cn: after.as_ref().and_then(|after| after.d_c0.as_ref()),
            };
            let gradients = layer.backward(gpu, &x, calls.last().map(|(.., outputs, _)| outputs), saved, &upstream);
            d_x.splice(0..0, read(&gradients.d_x));
            d_weight_hh.iter_mut().zip(read(&gradients.weights[0].d_weight_hh)).for_each(|(sum, d)| *sum += d);
            after = Some(gradients);
        }
        assert_eq!(bits(&d_x), bits(&read(&expected.d_x)), "{cell:?}");
        assert_close(&d_weight_hh, &read(&expected.weights[0].d_weight_hh), 2e-5);
        assert_eq!(bits(&read(&after.unwrap().d_h0)), bits(&read(&expected.d_h0)), "{cell:?}");
    }
}

/// Dispatches and submissions of a case under one of the tunings.
fn run_counted(gpu: &Gpu, op: &dyn Operation, tuning: usize, case: &Case) -> [u64; 2] {
    let request = case.request(op, 1).unwrap();
    let pinned = (op.tunings(gpu.caps())[tuning].pin)(gpu);
    let mut run = op.prepare(&pinned, &request).unwrap();
    let before = gpu.counters();
    run().unwrap();
    gpu.finish().unwrap();
    let after = gpu.counters();
    [after.dispatches - before.dispatches, after.submissions - before.submissions]
}

const STEP_BY_STEP: usize = 1;
const MANY_STEPS: usize = 2;

/// How many more dispatches ten more steps take: those of a step and layer, for both directions together.
#[test]
fn dispatches_of_a_step() {
    // Two layers in one direction and in two, with 5 steps and with 15.
    const WHOLE: [[&str; 2]; 2] = [["5,3,4,8,2,1", "15,3,4,8,2,1"], ["5,3,4,8,2,2", "15,3,4,8,2,2"]];
    const PROJECTED: [[&str; 2]; 2] = [["5,3,4,8/5,2,1", "15,3,4,8/5,2,1"], ["5,3,4,8/5,2,2", "15,3,4,8/5,2,2"]];
    const BEFORE: &[(&str, &str)] = &[("reset", "before")];
    const STEPS: u64 = 10 * 2;
    let gpu = Device::Default.open();
    for (name, settings, shapes, forward, backward) in [
        ("rnn", &[][..], WHOLE, 1, 1),
        ("gru", &[], WHOLE, 1, 1),
        ("gru", BEFORE, WHOLE, 2, 2),
        ("lstm", &[], WHOLE, 1, 1),
        ("lstm", &[], PROJECTED, 2, 2),
    ] {
        let op = find(name).unwrap();
        for shapes in shapes {
            let more = |tuning: usize, forward_only: bool| {
                let [short, long] = shapes.map(|shape| {
                    let case = Case::new("counted", shape, settings);
                    let case = if forward_only { case.edit(|t, _| t.retain(|name, _| !name.starts_with("d_"))) } else { case };
                    run_counted(&gpu, op, tuning, &case)[0]
                });
                long - short
            };
            assert_eq!(more(STEP_BY_STEP, true), STEPS * forward, "{name} {settings:?} {shapes:?} forward");
            assert_eq!(more(STEP_BY_STEP, false), STEPS * (forward + backward), "{name} {settings:?} {shapes:?}");
            if forward == 1 {
                assert_eq!(more(MANY_STEPS, false), 0, "{name} {shapes:?}: all steps in one dispatch");
            }
        }
    }
}

/// 4,096 steps, right to the last, and in many submissions: one by one because a submission holds so many dispatches, and walked
/// because none may take long.
#[test]
fn a_long_sequence_is_cut_into_submissions() {
    let (gpu, op) = (Device::Default.open(), find("lstm").unwrap());
    let case = Case::new("long", "4096,1,2,3", &[]).edit(|tensors, _| tensors.retain(|name, _| !name.starts_with("d_")));
    let request = case.request(op, 1).unwrap();
    let expected = Expected::new(op, &request).unwrap();
    for tuning in op.tunings(gpu.caps()) {
        let outcome = expected.verify(&gpu, op, &request, &tuning).unwrap();
        let Outcome::Checked(checks) = outcome else { panic!("skipped") };
        assert!(checks.iter().all(|check| check.ok), "{}: {checks:?}", tuning.label);
    }
    assert!(run_counted(&gpu, op, STEP_BY_STEP, &case)[1] >= 16);
    let wide = Case::new("wide", "300,8,8,256", &[]).edit(|tensors, _| tensors.retain(|name, _| !name.starts_with("d_")));
    let [dispatches, _] = run_counted(&gpu, op, MANY_STEPS, &wide);
    assert!((4..300).contains(&dispatches), "{dispatches} dispatches");
}

/// Inference keeps nothing but its results; training keeps what the backward needs until the backward has run.
#[test]
fn memory_is_returned() {
    let gpu = Device::Default.open();
    let in_use = || {
        gpu.finish().unwrap();
        gpu.memory().in_use
    };
    // The first dispatch takes a buffer for parameters, which stays.
    run_counted(&gpu, find("rnn").unwrap(), STEP_BY_STEP, &Case::new("first", "1,1,1,1", &[]));
    for cell in CELLS {
        let layer = Layer::new(&gpu, cell, 16, 64, 64);
        let x = gpu.upload(&normal(7, &[32, 4, 16])).unwrap();
        let before = in_use();
        let weights = layer.weights();
        let outputs = forward(&gpu, cell, &layer.inputs(&x, None, &weights), &Options::default()).unwrap();
        let results = in_use() - before;
        // y, hn and cn, each rounded up to a class of sizes.
        let bytes = outputs.y.bytes() + outputs.hn.bytes() + outputs.cn.as_ref().map_or(0, Tensor::bytes);
        assert!((bytes..3 * bytes).contains(&results), "{cell:?} keeps {results} bytes for results of {bytes}");
        drop(outputs);
        assert_eq!(in_use(), before, "{cell:?}");

        let (outputs, saved) = layer.saving(&gpu, &x, None);
        assert!(in_use() - before > results, "{cell:?} keeps nothing for the backward");
        let gradients = layer.backward(&gpu, &x, None, saved, &Upstream { d_y: Some(&outputs.y), ..Default::default() });
        drop((outputs, gradients));
        assert_eq!(in_use(), before, "{cell:?}");
    }
}

/// Batch first is time first with x and y turned around.
#[test]
fn batch_first_is_the_same_turned_around() {
    let (time, batch) = (5, 3);
    let turned = |array: &Array| {
        let columns = array.shape()[2];
        let row = |b: usize, t: usize| &floats(array)[(t * batch + b) * columns..][..columns];
        let values = (0..batch).flat_map(|b| (0..time).flat_map(move |t| row(b, t))).copied().collect();
        Array::f32(&[batch, time, columns], values)
    };
    let (x, d_y) = (normal(1, &[time, batch, 7]), normal(2, &[time, batch, 4]));
    let (weight_ih, weight_hh) = (normal(3, &[16, 7]), normal(4, &[16, 4]));
    let weights = [("weight_ih_l0", &weight_ih), ("weight_hh_l0", &weight_hh)];
    let time_first = run("lstm", &[&[("x", &x), ("d_y", &d_y)][..], &weights].concat(), &[]);
    let (x, d_y) = (turned(&x), turned(&d_y));
    let batch_first = run("lstm", &[&[("x", &x), ("d_y", &d_y)][..], &weights].concat(), &[("batch_first", "true")]);
    for (name, expected) in &time_first {
        let expected = if ["y", "d_x"].contains(&name.as_str()) { turned(expected) } else { expected.clone() };
        assert_eq!(bits(floats(&batch_first[name])), bits(floats(&expected)), "{name}");
    }
}

/// A backward with other inputs than its forward's is refused.
#[test]
fn a_backward_of_something_else_is_refused() {
    let gpu = gpu();
    let layer = Layer::new(gpu, Cell::Lstm, 3, 4, 4);
    let (x, longer) = (gpu.upload(&normal(7, &[2, 1, 3])).unwrap(), gpu.upload(&normal(7, &[3, 1, 3])).unwrap());
    let (_, saved) = layer.saving(gpu, &x, None);
    let weights = layer.weights();
    let error = backward(gpu, &layer.inputs(&longer, None, &weights), saved, &Upstream::default()).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
    let error = forward(gpu, Cell::Gru(Reset::After), &layer.inputs(&x, None, &weights), &Options::default()).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
}
