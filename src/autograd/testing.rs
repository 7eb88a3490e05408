//! What the tests of the tape, of layers and of models share: central differences, and GPU against CPU within the budget.

use std::collections::BTreeMap;

use super::{Device, Variable};
use crate::ops::philox::Rng;
use crate::ops::{Precision, Values, check};
use crate::{Array, Gpu, GpuOptions, Result};

pub fn gpu() -> Gpu {
    Gpu::new(&GpuOptions::default()).unwrap()
}

/// Both devices, on which everything must hold.
pub fn devices() -> [Device; 2] {
    [Device::cpu(), Device::from(gpu())]
}

/// Standard-normal elements times `factor`.
pub fn normal(seed: u64, shape: &[usize], factor: f32) -> Array {
    let mut rng = Rng::new(seed);
    Array::f32(shape, (0..shape.iter().product()).map(|_| factor * rng.normal()).collect())
}

/// A model on one device: its parameters, and what computes its loss from them.
pub struct Model {
    pub parameters: Vec<(String, Variable)>,
    pub loss: Box<dyn Fn() -> Result<Variable>>,
}

/// The loss as `loss`, and the gradients by the parameters' names.
fn results(model: &Model) -> BTreeMap<String, Array> {
    let loss = (model.loss)().unwrap();
    loss.backward().unwrap();
    let gradients = model.parameters.iter().map(|(name, parameter)| {
        let gradient = parameter.gradient().unwrap_or_else(|| panic!("{name} has no gradient"));
        (name.clone(), gradient.array().unwrap())
    });
    gradients.chain([("loss".to_string(), loss.array().unwrap())]).collect()
}

/// That central differences in f64 agree with the gradients on the CPU, and the gradients on the GPU with those within the budget.
pub fn check_model(make: impl Fn(&Device) -> Model) {
    let model = make(&Device::cpu());
    let exact = results(&model);
    for (name, parameter) in &model.parameters {
        check_differences(name, parameter, &model, &exact[name]);
    }
    let values = |results: BTreeMap<String, Array>| {
        let values = |(name, array): (String, Array)| (name, Values::of(array.shape(), &array.to_f64()));
        results.into_iter().map(values).collect::<BTreeMap<_, _>>()
    };
    let exact = values(exact);
    let plain = [Precision::Plain, Precision::Rough].map(|precision| values(results(&make(&Device::Cpu(precision)))));
    for (name, got) in results(&make(&Device::from(gpu()))) {
        let checked = check::tensor(&name, &exact[&name], &plain.iter().map(|plain| &plain[&name]).collect::<Vec<_>>(), &got);
        assert!(checked.ok, "{checked}");
    }
}

/// A few elements of each parameter: the first, the last, and some between.
fn check_differences(name: &str, parameter: &Variable, model: &Model, gradient: &Array) {
    const STEP: f64 = 1e-4;
    let own = parameter.array().unwrap();
    let (values, gradient) = (own.to_f64(), gradient.to_f64());
    let largest = gradient.iter().fold(0.0f64, |max, d| max.max(d.abs()));
    for at in (0..values.len()).step_by(values.len().div_ceil(4)).chain([values.len() - 1]) {
        let loss_at = |offset: f64| {
            let mut moved = values.clone();
            moved[at] += offset;
            parameter.set(Array::f64(own.shape(), moved)).unwrap();
            (model.loss)().unwrap().scalar().unwrap()
        };
        // Of fourth order, so that the step may be large beside the rounding.
        let of = |step: f64| (loss_at(step) - loss_at(-step)) / (2.0 * step);
        let difference = (4.0 * of(STEP) - of(2.0 * STEP)) / 3.0;
        let bound = 1e-7 * (1.0 + largest);
        assert!((difference - gradient[at]).abs() <= bound, "{name}[{at}]: difference {difference}, gradient {}", gradient[at]);
    }
    parameter.set(own).unwrap();
}
