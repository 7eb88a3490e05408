//! What the three implementations of [`Operation`](crate::ops::Operation) share: tensors and keys, drawn tensors, cost.

use super::{Cell, Options, Problem, suffix};
use crate::ops::host::{elements, normal, wrong_shape};
use crate::ops::philox::Rng;
use crate::ops::{Arrays, Cost, Input, Key, Output, Request, Settings, Spec, parse_shape};
use crate::{DType, Data, Result};

pub(crate) const X: Input = Input::new("x", "[T, B, I], or [B, T, I] with batch_first");
pub(crate) const H0: Input = Input::new("h0", "[layers·dirs, B, H]").optional();
pub(crate) const LENGTHS: Input = Input::index("lengths", "[B]").optional();
pub(crate) const Y: Output = Output::new("y", "[T, B, dirs·H], or [B, T, dirs·H] with batch_first");
pub(crate) const HN: Output = Output::new("hn", "[layers·dirs, B, H]");
pub(crate) const BATCH_FIRST: Key = Key::new("batch_first", "false", "whether x, y, d_x and d_y are [batch, time, ..]; states never are");
pub(crate) const DROPOUT_P: Key = Key::new("dropout_p", "0", "the probability that an element between two layers is dropped, below 1");
pub(crate) const SEED: Key = Key::new("seed", "0", "the seed of dropout's random numbers");

/// What `--shape` asks for.
struct Sizes {
    time: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    projection: Option<usize>,
    layers: usize,
    directions: usize,
}

impl Sizes {
    fn parse(spec: &'static Spec, shape: &str) -> Result<Self> {
        let wrong = || wrong_shape(spec.name, spec.shape, shape);
        let fields = parse_shape(spec.name, spec.shape, shape)?;
        let one = |field: Option<&Vec<usize>>| match field.map(Vec::as_slice) {
            None => Some(1),
            Some(&[n]) => Some(n),
            Some(_) => None,
        };
        let (hidden, projection) = match fields.get(3).map(Vec::as_slice) {
            Some(&[hidden]) => (hidden, None),
            Some(&[hidden, projection]) if spec.name == Cell::Lstm.op() => (hidden, Some(projection)),
            _ => return Err(wrong()),
        };
        let [Some(time), Some(batch), Some(input), Some(layers), Some(directions)] = [0, 1, 2, 4, 5].map(|n| one(fields.get(n))) else {
            return Err(wrong());
        };
        let sizes = Sizes { time, batch, input, hidden, projection, layers, directions };
        // A name has a layer of up to five digits, and a tensor of drawn numbers has to fit the memory.
        let weights = (layers * directions).saturating_mul(4 * hidden).saturating_mul(input.max(2 * hidden));
        if fields.len() > 6 || directions > 2 || layers > usize::from(u16::MAX) || weights >= 1 << 40 {
            return Err(wrong());
        }
        Ok(sizes)
    }
}

/// Seeded tensors for `--shape`, upstream gradients included. x, states and upstream gradients are standard normal.
pub(crate) fn draw(spec: &'static Spec, cell: Cell, shape: &str, settings: &Settings, seed: u64) -> Result<Arrays> {
    let Sizes { time, batch, input, hidden, projection, layers, directions } = Sizes::parse(spec, shape)?;
    let batch_first = Options::from_settings(spec.name, settings)?.batch_first;
    let (output, rows) = (projection.unwrap_or(hidden), cell.gates() * hidden);
    let ordered = |columns: usize| if batch_first { [batch, time, columns] } else { [time, batch, columns] };
    let (y, h, c) = (ordered(directions * output), [layers * directions, batch, output], [layers * directions, batch, hidden]);
    let mut wanted: Vec<(String, Vec<usize>, f32)> = Vec::new();
    let mut put = |name: &str, shape: &[usize], factor: f32| wanted.push((name.to_string(), shape.to_vec(), factor));
    put("x", &ordered(input), 1.0);
    put("h0", &h, 1.0);
    put("d_y", &y, 1.0);
    put("d_hn", &h, 1.0);
    if cell == Cell::Lstm {
        put("c0", &c, 1.0);
        put("d_cn", &c, 1.0);
    }
    // Weights are of the size that training begins with. Standard-normal ones would saturate every gate, and a plain recurrence
    // would be chaotic: after some dozens of steps f32 and f64 have nothing in common, and no kernel could be judged.
    let size = 1.0 / (hidden as f32).sqrt();
    for (layer, direction) in (0..layers * directions).map(|n| (n / directions, n % directions)) {
        let mut put = |base: &str, shape: &[usize]| put(&format!("{base}{}", suffix(layer, direction)), shape, size);
        put("weight_ih", &[rows, if layer == 0 { input } else { directions * output }]);
        put("weight_hh", &[rows, output]);
        put("bias_ih", &[rows]);
        put("bias_hh", &[rows]);
        if projection.is_some() {
            put("weight_hr", &[output, hidden]);
        }
    }
    // Sizes that cannot be run are refused before they are drawn.
    for (name, shape, _) in &wanted {
        elements(spec.name, name, shape)?;
    }
    let mut rng = Rng::new(seed);
    let drawn = wanted.into_iter().map(|(name, shape, factor)| {
        let mut array = normal(&mut rng, &shape);
        if let Data::F32(values) = array.data_mut() {
            values.iter_mut().for_each(|x| *x *= factor);
        }
        (name, array)
    });
    Ok(drawn.collect())
}

/// The products' operations over the steps that there are. Gradients take two more products for each one.
pub(crate) fn cost(spec: &'static Spec, cell: Cell, request: &Request) -> Result<Cost> {
    let problem = Problem::of(cell, request)?;
    let Problem { hidden, output, directions, .. } = problem;
    let steps: f64 = problem.lengths_of(request)?.into_iter().map(f64::from).sum();
    let of_layer = |layer: usize| {
        let gates = 2 * cell.gates() * hidden * (problem.layer_input(layer) + output);
        (directions * (gates + if problem.projection { 2 * hidden * output } else { 0 })) as f64
    };
    let read: usize = request.tensors.values().map(|t| t.bytes().len()).sum();
    let elements = |shape: [usize; 3]| shape.iter().product::<usize>();
    let cells = if cell == Cell::Lstm { elements(problem.c_shape()) } else { 0 };
    let mut written = elements(problem.y_shape()) + elements(problem.h_shape()) + cells;
    let mut flops = steps * (0..problem.layers).map(of_layer).sum::<f64>();
    if request.wants_gradients() {
        flops *= 3.0;
        written += spec.gradient_elements(request);
    }
    Ok(Cost { flops, bytes: (read + written * DType::F32.bytes()) as f64 })
}

/// T, from the shape of x.
pub(crate) fn steps(spec: &'static Spec, request: &Request) -> Option<usize> {
    let batch_first = request.settings.flag(spec.name, "batch_first", false).ok()?;
    request.tensor("x")?.shape().get(usize::from(batch_first)).copied()
}

#[cfg(test)]
mod tests {
    use crate::Error;
    use crate::ops::{Settings, find};

    #[test]
    fn shapes_of_the_command_line() {
        let draw = |op: &str, shape: &str| find(op).unwrap().draw(shape, &Settings::default(), 0);
        let tensors = draw("lstm", "13,3,7,11/5,2,2").unwrap();
        let shape = |name: &str| tensors[name].shape().to_vec();
        assert_eq!((shape("x"), shape("d_y"), shape("h0"), shape("c0")), (vec![13, 3, 7], vec![13, 3, 10], vec![4, 3, 5], vec![4, 3, 11]));
        assert_eq!((shape("weight_ih_l1_reverse"), shape("weight_hh_l0"), shape("weight_hr_l1")), (vec![44, 10], vec![44, 5], vec![5, 11]));
        assert!(
            !draw("gru", "13,3,7,11").unwrap().keys().any(|name| name.contains("reverse") || name.contains("c0") || name.contains("_l1"))
        );
        // A weight of 2^34 elements, in a shape whose own product is small.
        assert!(matches!(draw("lstm", "1,1,1,65536").unwrap_err(), Error::Limit { .. }));
        for wrong in ["13,3,7", "13,3,7,11/5", "13/2,3,7,11", "13,3,7,11,1,3", "13,3,7,11,1,1,1", "1,1,1,1,70000", "13,3,7,0", "x"] {
            let error = draw("gru", wrong).unwrap_err().to_string();
            assert!(error.starts_with("gru: shape = ") && error.contains("T,B,I,H"), "{error}");
        }
    }
}
