//! rnn, gru and lstm.

use proptest::option::weighted;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use wattn::ops::Arrays;

use super::draw::{chance, maybe, one_of};
use super::plan::{Fill, Plan};
use super::products::fill;

/// Any plain recurrence.
pub fn rnn() -> BoxedStrategy<Plan> {
    network("rnn", 1, Some(("nonlinearity", &["relu", "tanh"])))
}

/// Any GRU.
pub fn gru() -> BoxedStrategy<Plan> {
    network("gru", 3, Some(("reset", &["before", "after"])))
}

/// Any LSTM.
pub fn lstm() -> BoxedStrategy<Plan> {
    network("lstm", 4, None)
}

/// What is drawn.
#[derive(Clone, Debug)]
struct Network {
    time: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    layers: usize,
    directions: usize,
    batch_first: Option<bool>,
    /// The size of weights as a part of 1/√hidden.
    size: f32,
    bias: Option<f32>,
    /// The projection; for all but an LSTM it is not looked at, nor are peepholes.
    projection: Option<usize>,
    /// Whether each layer and direction has peepholes of its own.
    peep: Option<bool>,
    states: [bool; 2],
    lengths: bool,
    poisoned: bool,
    upstream: [bool; 3],
    dropout: Option<f32>,
    /// The key that the others lack.
    own: Option<(&'static str, &'static str)>,
    seed: u64,
}

fn network(op: &'static str, gates: usize, own: Option<(&'static str, &'static [&'static str])>) -> BoxedStrategy<Plan> {
    let own = own.map_or(Just(None).boxed(), |(key, values)| weighted(0.5, (Just(key), one_of(values))).boxed());
    let steps = (one_of(&[1usize, 2, 3, 5, 13, 20, 70]), one_of(&[1usize, 2, 7, 8, 9, 16, 17, 33]));
    let widths = (one_of(&[1usize, 3, 4, 8, 17]), one_of(&[1usize, 2, 3, 4, 7, 8, 9, 12, 16, 31, 32, 33, 40]));
    let shape = (steps, widths, one_of(&[1usize, 1, 2, 3]), 1..=2usize, maybe(0.35, &[true, false]));
    let weights =
        (one_of(&[1f32, 1.0, 0.3]), maybe(0.7, &[1f32, 1.0, 10.0]), maybe(0.35, &[1usize, 2, 4, 5, 8]), maybe(0.35, &[true, false]));
    let tensors = (chance(0.6), chance(0.6), chance(0.5), chance(0.6), [chance(0.7), chance(0.7), chance(0.7)]);
    let keys = (maybe(0.5, &[0.1f32, 0.5, 0.9]), own, any::<u64>());
    (shape, weights, tensors, keys)
        .prop_map(move |(shape, (size, bias, projection, peep), (h0, c0, lengths, poisoned, upstream), (dropout, own, seed))| {
            let ((time, batch), (input, hidden), layers, directions, batch_first) = shape;
            let states = [h0, c0];
            let network = Network {
                time,
                batch,
                input,
                hidden,
                layers,
                directions,
                batch_first,
                size,
                bias,
                projection,
                peep,
                states,
                lengths,
                poisoned,
                upstream,
                dropout,
                own,
                seed,
            };
            network.plan(op, gates)
        })
        .boxed()
}

impl Network {
    fn plan(self, op: &'static str, gates: usize) -> Plan {
        let mut plan = Plan::new(op, self.seed);
        let Network { time, batch, input, hidden, layers, directions, .. } = self;
        let lstm = op == "lstm";
        let projection = self.projection.filter(|_| lstm);
        let peep = self.peep.filter(|_| lstm);
        let (output, rows) = (projection.unwrap_or(hidden), gates * hidden);
        let first = self.batch_first == Some(true);
        let ordered = |columns: usize| if first { [batch, time, columns] } else { [time, batch, columns] };
        let size = self.size / (hidden as f32).sqrt();

        plan.tensor("x", &ordered(input), Fill::Normal(1.0));
        for layer in 0..layers {
            for direction in ["", "_reverse"].into_iter().take(directions) {
                let columns = if layer == 0 { input } else { directions * output };
                let mut put = |base: &str, shape: &[usize], size: f32| {
                    plan.tensor(format!("{base}_l{layer}{direction}"), shape, Fill::Normal(size));
                };
                put("weight_ih", &[rows, columns], size);
                put("weight_hh", &[rows, output], size);
                if let Some(far) = self.bias {
                    put("bias_ih", &[rows], far * size);
                    put("bias_hh", &[rows], size);
                }
                if projection.is_some() {
                    put("weight_hr", &[output, hidden], size);
                }
                if peep == Some(true) {
                    put("peep", &[3, hidden], 0.5);
                }
            }
        }
        if peep == Some(false) {
            plan.tensor("peep", &[3, hidden], Fill::Normal(0.5));
        }
        let (h, c) = ([layers * directions, batch, output], [layers * directions, batch, hidden]);
        let [h0, c0] = self.states;
        let [d_y, d_hn, d_cn] = self.upstream;
        let y = ordered(directions * output);
        let given = [("h0", h0, h), ("c0", c0 && lstm, c), ("d_y", d_y, y), ("d_hn", d_hn, h), ("d_cn", d_cn && lstm, c)];
        for (name, _, shape) in given.into_iter().filter(|(_, given, _)| *given) {
            plan.tensor(name, &shape, Fill::Normal(1.0));
        }
        if self.lengths {
            plan.tensor("lengths", &[batch], Fill::Lengths(time));
            if self.poisoned {
                plan.poison(if first { |tensors| poison(tensors, true) } else { |tensors| poison(tensors, false) });
            }
        }
        plan.set_some("batch_first", self.batch_first);
        plan.settings.extend(self.own.map(|(key, value)| (key, value.to_string())));
        plan.set_some("dropout_p", self.dropout);
        plan.set_some("seed", self.dropout.map(|_| self.seed));
        plan
    }
}

/// NaN in the steps past each sequence's length.
fn poison(tensors: &mut Arrays, batch_first: bool) {
    let lengths = tensors["lengths"].to_f64();
    let x = tensors["x"].shape().to_vec();
    for name in ["x", "d_y"] {
        let Some(columns) = tensors.get(name).map(|array| array.shape()[2]) else { continue };
        fill(tensors, name, |at| {
            let row = at / columns;
            let (t, b) = if batch_first { (row % x[1], row / x[1]) } else { (row / x[1], row % x[1]) };
            t as f64 >= lengths[b]
        });
    }
}
