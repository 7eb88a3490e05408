//! Where variables live: a GPU, or the references on the CPU.

use std::sync::Arc;

use super::{Variable, apply};
use crate::ops::Precision;
use crate::{Array, DType, Error, Gpu, Result, Tensor};

/// What computes.
#[derive(Clone, Debug)]
pub enum Device {
    /// Kernels. Nothing but what is asked for comes back to the host.
    Gpu(Gpu),
    /// The references, in this arithmetic: [`Precision::Exact`] is f64.
    Cpu(Precision),
}

impl From<Gpu> for Device {
    fn from(gpu: Gpu) -> Self {
        Device::Gpu(gpu)
    }
}

impl Device {
    /// The references in f64.
    pub const fn cpu() -> Self {
        Device::Cpu(Precision::Exact)
    }

    /// The GPU, if it is one.
    pub fn gpu(&self) -> Option<&Gpu> {
        match self {
            Device::Gpu(gpu) => Some(gpu),
            Device::Cpu(_) => None,
        }
    }

    /// A variable without a gradient: inputs, targets, masks, lengths.
    ///
    /// # Errors
    /// [`Error::Shape`] for an array without elements; on a GPU those of [`Gpu::upload`].
    pub fn constant(&self, array: Array) -> Result<Variable> {
        Ok(Variable::constant(self.clone(), self.value(array)?))
    }

    /// A variable whose gradient is kept: a parameter of a model.
    ///
    /// # Errors
    /// [`Error::Dtype`] for integers, and as [`Device::constant`].
    pub fn parameter(&self, array: Array) -> Result<Variable> {
        expect_float("parameter", &array)?;
        Ok(Variable::parameter(self.clone(), self.value(array)?))
    }

    /// A constant that a kernel has made.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn own(&self, tensor: Tensor) -> Variable {
        Variable::constant(self.clone(), Value::Device(tensor))
    }

    /// An array's value on this device. Integers stay on the host too: operations look at lengths before they run.
    pub(super) fn value(&self, array: Array) -> Result<Value> {
        if array.is_empty() {
            let expected = "every dimension at least 1".to_string();
            let got = crate::array::show_shape(array.shape());
            return Err(Error::Shape { op: "constant", tensor: "array".into(), expected, got });
        }
        match self {
            Device::Cpu(_) => Ok(Value::Host(Arc::new(array))),
            Device::Gpu(gpu) if array.dtype() == DType::I32 => Ok(Value::Both(gpu.upload(&array)?, Arc::new(array))),
            Device::Gpu(gpu) => gpu.upload(&array.to_float(DType::F32)).map(Value::Device),
        }
    }

    /// The sum of two gradients of one shape.
    pub(super) fn add(&self, a: &Value, b: &Value) -> Result<Value> {
        apply::sum(self, a, b)
    }
}

/// That an array's elements are floats.
pub(super) fn expect_float(op: &'static str, array: &Array) -> Result<()> {
    match array.dtype() {
        DType::F32 | DType::F16 | DType::F64 => Ok(()),
        other => Err(Error::Dtype { op, tensor: "array".into(), expected: "f32".into(), got: other.to_string() }),
    }
}

/// What a variable holds. Clones share the memory.
#[derive(Clone, Debug)]
pub enum Value {
    /// On the CPU.
    Host(Arc<Array>),
    /// On a GPU.
    Device(Tensor),
    /// Integers on a GPU, with the same on the host.
    Both(Tensor, Arc<Array>),
}

impl Value {
    /// The shape.
    pub fn shape(&self) -> &[usize] {
        match self {
            Value::Host(array) => array.shape(),
            Value::Device(tensor) | Value::Both(tensor, _) => tensor.shape(),
        }
    }

    /// How elements are stored.
    pub fn dtype(&self) -> DType {
        match self {
            Value::Host(array) => array.dtype(),
            Value::Device(tensor) | Value::Both(tensor, _) => tensor.dtype(),
        }
    }

    /// The tensor, on a GPU.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Value::Host(_) => None,
            Value::Device(tensor) | Value::Both(tensor, _) => Some(tensor),
        }
    }

    /// The elements; waits for them on a GPU.
    ///
    /// # Errors
    /// As [`Tensor::array`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn array(&self) -> Result<Array> {
        match self {
            Value::Host(array) | Value::Both(_, array) => Ok(Array::clone(array)),
            Value::Device(tensor) => tensor.array(),
        }
    }

    pub(super) fn reshape(&self, shape: &[usize]) -> Result<Value> {
        Ok(match self {
            Value::Host(array) => Value::Host(Arc::new(array.reshape(shape)?)),
            Value::Device(tensor) => Value::Device(tensor.reshape(shape)?),
            Value::Both(tensor, array) => Value::Both(tensor.reshape(shape)?, Arc::new(array.reshape(shape)?)),
        })
    }
}
