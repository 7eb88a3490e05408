//! Optimizers of named parameters: SGD, Adam and AdamW, with warm-up and decay of the rate, clipping, and a state that files can hold.
//!
//! ```
//! use wattn::autograd::Device;
//! use wattn::nn::{Linear, Parameters};
//! use wattn::ops::optimizer::{Kind, OptimizerOptions};
//! use wattn::optim::{Optimizer, Schedule};
//! use wattn::{Array, Gpu, GpuOptions};
//!
//! let device = Device::from(Gpu::new(&GpuOptions::default())?);
//! let mut parameters = Parameters::new(&device, 0);
//! let layer = Linear::new(&mut parameters.root(), 2, 1, true)?;
//! let options = OptimizerOptions { kind: Kind::Adam, lr: 0.1, ..Default::default() };
//! let mut optimizer = Optimizer::new(&parameters, &options, Schedule::default(), Some(1.0))?;
//!
//! let x = device.constant(Array::f32(&[3, 2], vec![0.0, 1.0, 1.0, 0.0, 1.0, 1.0]))?;
//! let target = device.constant(Array::f32(&[3, 1], vec![1.0, 2.0, 3.0]))?;
//! for _ in 0..200 {
//!     layer.forward(&x)?.mse(&target)?.backward()?;
//!     optimizer.step()?;
//! }
//! assert!(layer.forward(&x)?.mse(&target)?.scalar()? < 1e-2);
//! # Ok::<(), wattn::Error>(())
//! ```
//!
//! On a GPU a step is [`ops::optimizer`](crate::ops::optimizer)'s, and reads nothing back: parameters change where they are. On the CPU it is that
//! operation's reference in f64; what is kept from one step to the next, parameters and state, is rounded to f32 there too, so that a
//! checkpoint loses nothing and a run that goes on from one has the bits of the uninterrupted one.

mod schedule;
#[cfg(test)]
mod tests;

pub use schedule::{Decay, Schedule};

use crate::autograd::{Device, Variable};
use crate::nn::Parameters;
use crate::ops::Arrays;
use crate::ops::optimizer::{self, OptimizerOptions, cpu, grad_norm};
use crate::{Array, DType, Data, Error, Result, Tensor};

const OP: &str = "optimizer";

/// The name of the number of steps among the arrays of a state.
const STEPS: &str = "steps";

enum Engine {
    /// With the parameters' tensors, to which it keeps handles.
    Gpu(optimizer::Optimizer, Vec<Tensor>),
    /// Of each parameter one list for each of [`OptimizerOptions::states`].
    Cpu(Vec<Vec<Vec<f64>>>),
}

/// Steps on the parameters of a model.
pub struct Optimizer {
    device: Device,
    parameters: Vec<(String, Variable)>,
    options: OptimizerOptions,
    schedule: Schedule,
    clip: Option<f64>,
    engine: Engine,
    steps: u64,
}

impl Optimizer {
    /// Of all these parameters, whose state is zero. `options.lr` is the highest rate of the schedule; `clip` is the largest norm that all
    /// gradients together may have.
    ///
    /// # Errors
    /// [`Error::Argument`] for options out of range and for no parameters at all; on a GPU those of the device.
    pub fn new(parameters: &Parameters, options: &OptimizerOptions, schedule: Schedule, clip: Option<f64>) -> Result<Self> {
        options.check()?;
        if clip.is_some_and(|clip| !(clip >= 0.0 && clip.is_finite())) || parameters.names().next().is_none() {
            let expected = "a norm of 0 or more, and some parameters".to_string();
            return Err(Error::Argument { op: OP, key: "clip".into(), expected, got: format!("{clip:?}") });
        }
        parameters.gather()?;
        let device = parameters.device().clone();
        let parameters: Vec<(String, Variable)> =
            parameters.iter().map(|(name, parameter)| (name.to_string(), parameter.clone())).collect();
        let engine = match &device {
            Device::Gpu(gpu) => {
                let tensors: Vec<Tensor> = parameters.iter().map(|(_, parameter)| on_device(parameter)).collect();
                Engine::Gpu(optimizer::Optimizer::new(gpu, &tensors, options)?, tensors)
            }
            Device::Cpu(_) => {
                let zeros = |parameter: &Variable| vec![vec![0.0; parameter.shape().iter().product()]; options.states().len()];
                Engine::Cpu(parameters.iter().map(|(_, parameter)| zeros(parameter)).collect())
            }
        };
        Ok(Optimizer { device, parameters, options: *options, schedule, clip, engine, steps: 0 })
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The rate of the next step.
    pub fn lr(&self) -> f64 {
        self.options.lr * self.schedule.factor(self.steps)
    }

    /// One step with the gradients that the parameters have, which are forgotten. Returns their norm before clipping, when they are clipped: a
    /// constant of shape `[]`, which nobody has to read.
    ///
    /// # Errors
    /// [`Error::Tensors`] when a parameter has no gradient; on a GPU [`Error::Argument`] when parameters were given other elements since the
    /// optimizer was made; those of the device.
    pub fn step(&mut self) -> Result<Option<Variable>> {
        let gradient = |(name, parameter): &(String, Variable)| {
            let what = format!("parameter '{name}' has no gradient");
            let expected = "a backward that reaches every parameter before each step".to_string();
            parameter.gradient().ok_or(Error::Tensors { op: OP, what, expected })
        };
        let gradients: Vec<Variable> = self.parameters.iter().map(gradient).collect::<Result<_>>()?;
        let lr = self.lr();
        let norm = match &mut self.engine {
            Engine::Gpu(optimizer, own) => {
                expect_same(&self.parameters, own)?;
                let Some(gpu) = self.device.gpu() else { unreachable!("the engine is the device's") };
                let gradients: Vec<Tensor> = gradients.iter().map(on_device).collect();
                let clip = self.clip.map(|limit| grad_norm(gpu, &gradients, limit)).transpose()?;
                optimizer.set_lr(lr)?;
                optimizer.step(&gradients, clip.as_ref())?;
                clip.map(|clip| self.device.own(clip.norm))
            }
            Engine::Cpu(states) => {
                let mut gradients: Vec<Vec<f64>> = gradients.iter().map(|d| Ok(d.array()?.to_f64())).collect::<Result<_>>()?;
                let norm = gradients.iter().flatten().map(|d| d * d).sum::<f64>().sqrt();
                if let Some(limit) = self.clip {
                    let factor = cpu::factor(&gradients.concat(), limit);
                    gradients.iter_mut().flatten().for_each(|d| *d *= factor);
                }
                let options = OptimizerOptions { lr, ..self.options };
                for ((state, (_, parameter)), gradient) in states.iter_mut().zip(&self.parameters).zip(&gradients) {
                    let mut p = parameter.array()?.to_f64();
                    cpu::step(&mut p, state, gradient, self.steps + 1, &options);
                    state.iter_mut().flatten().for_each(|x| *x = f64::from(*x as f32));
                    parameter.set(Array::f32(&parameter.shape(), p.into_iter().map(|x| x as f32).collect()))?;
                }
                self.clip.map(|_| self.device.constant(Array::f64(&[], vec![norm]))).transpose()?
            }
        };
        self.steps += 1;
        self.parameters.iter().for_each(|(_, parameter)| parameter.zero_gradient());
        Ok(norm)
    }

    /// What a checkpoint holds beside the parameters: `m.NAME`, `v.NAME` and so on, and `steps`.
    ///
    /// # Errors
    /// As [`Tensor::array`].
    pub fn state(&self) -> Result<Arrays> {
        let mut arrays = Arrays::new();
        for (i, (name, parameter)) in self.parameters.iter().enumerate() {
            match &self.engine {
                Engine::Gpu(optimizer, _) => {
                    for (state, tensor) in optimizer.state(i)? {
                        arrays.insert(format!("{state}.{name}"), tensor.array()?);
                    }
                }
                Engine::Cpu(states) => {
                    for (state, values) in self.options.states().iter().zip(&states[i]) {
                        let values = values.iter().map(|&x| x as f32).collect();
                        arrays.insert(format!("{state}.{name}"), Array::f32(&parameter.shape(), values));
                    }
                }
            }
        }
        // Two words, since files have no integers of 64 bits.
        arrays.insert(STEPS.into(), Array::i32(&[2], vec![self.steps as u32 as i32, (self.steps >> 32) as i32]));
        Ok(arrays)
    }

    /// Goes on from what [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// [`Error::Tensors`] for names that are missing or unknown, [`Error::Shape`] and [`Error::Dtype`] for arrays that do not fit.
    pub fn load(&mut self, arrays: &Arrays) -> Result<()> {
        let states = self.options.states();
        let expected = || format!("{STEPS}, and {} of each of {} parameters", states.join(", "), self.parameters.len());
        let wrong = |what: String| Error::Tensors { op: OP, what, expected: expected() };
        let steps = match arrays.get(STEPS).map(Array::data) {
            Some(Data::I32(words)) if words.len() == 2 => u64::from(words[0] as u32) | u64::from(words[1] as u32) << 32,
            _ => return Err(wrong(format!("'{STEPS}' is missing"))),
        };
        let mut values: Vec<Vec<Array>> = vec![];
        for (name, parameter) in &self.parameters {
            let own = |state: &&str| {
                let name = format!("{state}.{name}");
                let array = arrays.get(&name).ok_or_else(|| wrong(format!("'{name}' is missing")))?;
                if array.dtype() != DType::F32 {
                    let got = array.dtype().to_string();
                    return Err(Error::Dtype { op: OP, tensor: name, expected: "f32".into(), got });
                }
                array.reshape(&parameter.shape()).map_err(|_| {
                    let (expected, got) = (format!("{:?}", parameter.shape()), format!("{:?}", array.shape()));
                    Error::Shape { op: OP, tensor: name, expected, got }
                })
            };
            values.push(states.iter().map(own).collect::<Result<_>>()?);
        }
        if arrays.len() != 1 + states.len() * self.parameters.len() {
            return Err(wrong(format!("there are {} arrays", arrays.len())));
        }
        match &mut self.engine {
            Engine::Gpu(optimizer, _) => {
                let Some(gpu) = self.device.gpu() else { unreachable!("the engine is the device's") };
                for (i, own) in values.iter().enumerate() {
                    states.iter().zip(own).try_for_each(|(state, array)| optimizer.set_state(i, state, &gpu.upload(array)?))?;
                }
                optimizer.set_steps(steps);
            }
            Engine::Cpu(own) => *own = values.iter().map(|states| states.iter().map(Array::to_f64).collect()).collect(),
        }
        self.steps = steps;
        Ok(())
    }
}

/// That the parameters are where they were.
fn expect_same(parameters: &[(String, Variable)], own: &[Tensor]) -> Result<()> {
    let moved = parameters.iter().zip(own).find(|((_, parameter), own)| on_device(parameter).bytes_after(own) != Some(0));
    moved.map_or(Ok(()), |((name, _), _)| {
        let expected = "parameters as they were when the optimizer was made: load first, then make it".to_string();
        Err(Error::Argument { op: OP, key: name.clone(), expected, got: "one that was loaded or set since".into() })
    })
}

fn on_device(variable: &Variable) -> Tensor {
    match variable.value().tensor() {
        Some(tensor) => tensor.clone(),
        None => unreachable!("the variable is on a GPU"),
    }
}
