//! The one place where operations are called, on either device.

use std::fmt::Display;
use std::sync::Arc;

use super::graph::{Backward, Node, Origin, is_recording};
use super::{Device, Value, Variable};
use crate::gpu::Gpu;
use crate::ops::elementwise::Elementwise;
use crate::ops::{Applied, Arrays, Call, Lists, Operation, Precision, References, Request, Settings, Tensors, Values};
use crate::{Array, DType, Error, Result, Tensor};

/// The outputs of an operation by name.
#[derive(Clone, Debug)]
pub struct Outputs {
    op: &'static str,
    variables: Vec<(String, Variable)>,
}

impl Outputs {
    /// An output.
    ///
    /// # Errors
    /// [`Error::Tensors`] when there is none of this name.
    pub fn get(&self, name: &str) -> Result<Variable> {
        let found = self.variables.iter().find(|(own, _)| own == name).map(|(_, variable)| variable.clone());
        found.ok_or_else(|| {
            let names: Vec<&str> = self.variables.iter().map(|(name, _)| name.as_str()).collect();
            Error::Tensors { op: self.op, what: format!("there is no output '{name}'"), expected: names.join(", ") }
        })
    }
}

/// Keys with their values, for [`apply`].
pub fn settings(pairs: &[(&str, &dyn Display)]) -> Settings {
    Settings::new(pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())))
}

/// Calls an operation on variables by name, and records it if any of them wants a gradient.
///
/// ```
/// # use wattn::autograd::{Device, apply, settings};
/// # use wattn::{Array, ops::activation::Activation};
/// let x = Device::cpu().parameter(Array::f32(&[3], vec![-1.0, 0.0, 2.0]))?;
/// let y = apply(&Activation, &[("x", &x)], &settings(&[("kind", &"relu")]))?.get("y")?;
/// assert_eq!(y.array()?.to_f64(), [0.0, 0.0, 2.0]);
/// # Ok::<(), wattn::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] for variables on different devices; [`Error::Tensors`], [`Error::Dtype`], [`Error::Shape`] and [`Error::Argument`] for names,
/// types, shapes and keys that the operation does not take; those of the device.
pub fn apply(op: &'static dyn Operation, inputs: &[(&str, &Variable)], settings: &Settings) -> Result<Outputs> {
    let spec = op.spec();
    let Some(device) = inputs.first().map(|(_, variable)| variable.device().clone()) else {
        return Err(Error::Tensors { op: spec.name, what: "there are no inputs".into(), expected: "at least one".into() });
    };
    expect_one_device(spec.name, &device, inputs)?;
    let names: Vec<String> = inputs.iter().map(|(name, _)| name.to_string()).collect();
    let values: Vec<Value> = inputs.iter().map(|(_, variable)| variable.value()).collect();
    let origins: Vec<Origin> = inputs.iter().map(|(_, variable)| variable.origin().clone()).collect();
    let differentiable = |name: &str| spec.input(name).is_some_and(|input| input.differentiable);
    let record = is_recording() && names.iter().zip(&origins).any(|(name, origin)| origin.wants_gradient() && differentiable(name));
    let (outputs, back) = match &device {
        Device::Gpu(gpu) => on_gpu(gpu, op, &names, &values, settings, record)?,
        Device::Cpu(precision) => on_cpu(*precision, op, &names, &values, settings)?,
    };
    let returned: Vec<String> = outputs.iter().map(|(name, _)| format!("d_{name}")).collect();
    let backward: Backward = Box::new(move |upstream| {
        let given = returned.into_iter().zip(upstream).filter_map(|(name, d)| Some((name, d.clone()?))).collect();
        let gradients = back(given)?;
        let of = |name: &String| gradients.iter().find(|(d, _)| d.strip_prefix("d_") == Some(name)).map(|(_, value)| value.clone());
        Ok(names.iter().map(of).collect())
    });
    let node = record.then(|| Node::new(spec.name, &device, outputs.len(), origins, backward));
    let upstream = |name: &str| spec.outputs.iter().any(|output| output.upstream && output.name == name);
    let variables = outputs.into_iter().enumerate().map(|(index, (name, value))| {
        let variable = match &node {
            Some(node) if upstream(&name) => Variable::output(device.clone(), value, node, index),
            _ => Variable::constant(device.clone(), value),
        };
        (name, variable)
    });
    Ok(Outputs { op: spec.name, variables: variables.collect() })
}

fn expect_one_device(op: &'static str, device: &Device, inputs: &[(&str, &Variable)]) -> Result<()> {
    let same = |other: &Device| match (device, other) {
        (Device::Gpu(a), Device::Gpu(b)) => a.device() == b.device(),
        (Device::Cpu(a), Device::Cpu(b)) => a == b,
        _ => false,
    };
    match inputs.iter().find(|(_, variable)| !same(variable.device())) {
        None => Ok(()),
        Some((name, _)) => {
            let expected = format!("a variable on the device of '{}'", inputs[0].0);
            Err(Error::Argument { op, key: name.to_string(), expected, got: "one on another device".into() })
        }
    }
}

type ByName = Vec<(String, Value)>;

/// From upstream gradients by name to gradients by name.
type Back = Box<dyn FnOnce(ByName) -> Result<ByName> + Send>;

/// By the kernels: device tensors in, device tensors out.
fn on_gpu(
    gpu: &Gpu,
    op: &'static dyn Operation,
    names: &[String],
    values: &[Value],
    settings: &Settings,
    training: bool,
) -> Result<(ByName, Back)> {
    let spec = op.spec();
    let (mut tensors, mut lists, mut given) = (Tensors::new(), Lists::new(), vec![]);
    for (name, value) in names.iter().zip(values) {
        let Some(tensor) = value.tensor() else { unreachable!("the device was checked") };
        given.push((name.as_str(), tensor.dtype(), tensor.shape()));
        tensors.insert(name.clone(), tensor.clone());
        if let Value::Both(_, array) = value
            && let crate::Data::I32(list) = array.data()
        {
            lists.insert(name.clone(), list.clone());
        }
    }
    spec.check(&given, settings)?;
    let call = Call { gpu: gpu.clone(), op: spec.name, tensors, lists, settings: settings.clone(), training };
    let Applied { outputs, backward } = op.apply(call)?;
    let values = |tensors: Vec<(String, Tensor)>| tensors.into_iter().map(|(name, tensor)| (name, Value::Device(tensor))).collect();
    let back = move |upstream: ByName| {
        let upstream = upstream.into_iter().filter_map(|(name, d)| Some((name, d.tensor()?.clone())));
        Ok(backward(&upstream.collect())?.into_iter().map(|(name, tensor)| (name, Value::Device(tensor))).collect())
    };
    Ok((values(outputs), Box::new(back)))
}

/// By the reference: once without upstream gradients, and once more with them.
fn on_cpu(
    precision: Precision,
    op: &'static dyn Operation,
    names: &[String],
    values: &[Value],
    settings: &Settings,
) -> Result<(ByName, Back)> {
    let array = |value: &Value| match value {
        Value::Host(array) | Value::Both(_, array) => Array::clone(array),
        Value::Device(_) => unreachable!("the device was checked"),
    };
    let tensors: Arrays = names.iter().cloned().zip(values.iter().map(array)).collect();
    let mut request = Request::new(op.spec(), tensors, settings.clone())?;
    let spec = op.spec();
    let value = |(name, values): (String, Values)| {
        let integer = spec.outputs.iter().any(|output| output.name == name && output.dtype == DType::I32);
        let array = if integer {
            Array::i32(&values.shape, values.value.iter().map(|&x| x as i32).collect())
        } else {
            Array::f64(&values.shape, values.value)
        };
        (name, Value::Host(Arc::new(array)))
    };
    let outputs: References = op.reference(&request, precision)?;
    let back = move |upstream: ByName| {
        let upstream = upstream.into_iter().map(|(name, d)| {
            let Value::Host(array) = d else { unreachable!("the device was checked") };
            (name, Arc::unwrap_or_clone(array))
        });
        request.tensors.extend(upstream);
        let gradients = op.reference(&request, precision)?.into_iter().filter(|(name, _)| name.starts_with("d_"));
        Ok(gradients.map(value).collect())
    };
    Ok((outputs.into_iter().map(value).collect(), Box::new(back)))
}

/// The sum of two values of one shape.
pub(super) fn sum(device: &Device, a: &Value, b: &Value) -> Result<Value> {
    let [a, b] = [a, b].map(|value| Variable::constant(device.clone(), value.clone()));
    Ok(apply(&Elementwise, &[("a", &a), ("b", &b)], &Settings::default())?.get("y")?.value())
}
