//! Variables: a value and where it comes from.

use std::sync::{Arc, Mutex};

use super::device::expect_float;
use super::graph::{self, Leaf, Node, Origin, is_recording, lock};
use super::{Device, Value};
use crate::array::show_shape;
use crate::{Array, DType, Error, Result};

/// A tensor on a [`Device`] that knows what it was computed from. Clones are the same variable.
///
/// ```
/// # use wattn::autograd::Device;
/// # use wattn::Array;
/// let device = Device::cpu();
/// let x = device.parameter(Array::f32(&[2], vec![3.0, -1.0]))?;
/// let y = x.mul(&x)?.sum(None)?;
/// y.backward()?;
/// assert_eq!(x.gradient().unwrap().array()?.to_f64(), [6.0, -2.0]); // used twice: the sum of both gradients
/// assert!(y.backward().unwrap_err().to_string().contains("second backward"));
/// # Ok::<(), wattn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Variable {
    device: Device,
    /// Of a parameter the one that it had when it was made; the leaf has its own.
    value: Option<Value>,
    origin: Origin,
}

impl Variable {
    pub(super) fn constant(device: Device, value: Value) -> Self {
        Variable { device, value: Some(value), origin: Origin::Constant }
    }

    pub(super) fn parameter(device: Device, value: Value) -> Self {
        let leaf = Leaf { value: Mutex::new(value), gradient: Mutex::new(None) };
        Variable { device, value: None, origin: Origin::Leaf(Arc::new(leaf)) }
    }

    pub(super) fn output(device: Device, value: Value, node: &Arc<Node>, index: usize) -> Self {
        Variable { device, value: Some(value), origin: Origin::Output(node.clone(), index) }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where it lives.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What it holds.
    pub fn value(&self) -> Value {
        match (&self.value, &self.origin) {
            (None, Origin::Leaf(leaf)) => lock(&leaf.value).clone(),
            (Some(value), _) => value.clone(),
            (None, _) => unreachable!("all but parameters have their value"),
        }
    }

    /// The shape.
    pub fn shape(&self) -> Vec<usize> {
        self.value().shape().to_vec()
    }

    /// How its elements are stored.
    pub fn dtype(&self) -> DType {
        self.value().dtype()
    }

    /// The elements; waits for them on a GPU.
    ///
    /// # Errors
    /// As [`Tensor::array`](crate::Tensor::array).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn array(&self) -> Result<Array> {
        self.value().array()
    }

    /// The only element: a loss.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are several; as [`Variable::array`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn scalar(&self) -> Result<f64> {
        self.expect_single("scalar")?;
        Ok(self.array()?.to_f64()[0])
    }

    /// Whether it was computed from parameters, or is one.
    pub fn wants_gradient(&self) -> bool {
        self.origin.wants_gradient()
    }

    /// The same value without its history: a constant.
    pub fn detach(&self) -> Variable {
        Variable::constant(self.device.clone(), self.value())
    }

    /// The sum of the gradients of all backwards so far, of a parameter that one has reached; a constant.
    pub fn gradient(&self) -> Option<Variable> {
        let Origin::Leaf(leaf) = &self.origin else { return None };
        lock(&leaf.gradient).clone().map(|gradient| Variable::constant(self.device.clone(), gradient))
    }

    /// Forgets the gradient of a parameter.
    pub fn zero_gradient(&self) {
        if let Origin::Leaf(leaf) = &self.origin {
            *lock(&leaf.gradient) = None;
        }
    }

    /// Gives a parameter other elements, of the same shape. What was computed before keeps the old ones.
    ///
    /// # Errors
    /// [`Error::Shape`] for another shape, [`Error::Dtype`] for integers, [`Error::Argument`] for what is no parameter; on a GPU those of
    /// [`Gpu::upload`](crate::Gpu::upload).
    pub fn set(&self, array: Array) -> Result<()> {
        expect_float("set", &array)?;
        self.set_value(self.device.value(array)?)
    }

    pub(crate) fn set_value(&self, value: Value) -> Result<()> {
        let Origin::Leaf(leaf) = &self.origin else {
            let expected = "a parameter".to_string();
            return Err(Error::Argument { op: "set", key: "variable".into(), expected, got: "what was computed, or a constant".into() });
        };
        let mut own = lock(&leaf.value);
        if own.shape() != value.shape() {
            let (expected, got) = (show_shape(own.shape()), show_shape(value.shape()));
            return Err(Error::Shape { op: "set", tensor: "array".into(), expected, got });
        }
        *own = value;
        Ok(())
    }

    /// The gradients of this scalar by all parameters that it was computed from, added to those that they have.
    ///
    /// # Errors
    /// [`Error::Shape`] when it has several elements, [`Error::Argument`] when it was computed from no parameter,
    /// [`Error::Consumed`] when a backward was here before; those of the operations.
    pub fn backward(&self) -> Result<()> {
        self.expect_single("backward")?;
        let one = self.device.value(Array::f32(&self.shape(), vec![1.0]))?;
        self.go_back(one)
    }

    /// The same for a variable of any shape, from its own gradient.
    ///
    /// # Errors
    /// [`Error::Shape`] when `upstream` has another shape; as [`Variable::backward`].
    pub fn backward_from(&self, upstream: &Variable) -> Result<()> {
        if upstream.shape() != self.shape() {
            let (expected, got) = (show_shape(&self.shape()), show_shape(&upstream.shape()));
            return Err(Error::Shape { op: "backward", tensor: "upstream".into(), expected, got });
        }
        self.go_back(upstream.value())
    }

    fn go_back(&self, upstream: Value) -> Result<()> {
        if !self.wants_gradient() {
            let expected = "a variable that was computed from parameters, outside of no_grad".to_string();
            return Err(Error::Argument { op: "backward", key: "variable".into(), expected, got: "one without a history".into() });
        }
        graph::backward(&self.device, &self.origin, upstream)
    }

    fn expect_single(&self, op: &'static str) -> Result<()> {
        let shape = self.shape();
        if shape.iter().product::<usize>() == 1 {
            return Ok(());
        }
        Err(Error::Shape { op, tensor: "variable".into(), expected: "a single element".into(), got: show_shape(&shape) })
    }

    /// The same elements under another shape. Nothing is copied on a GPU.
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Variable> {
        let (value, own) = (self.value().reshape(shape)?, self.shape());
        if !is_recording() || !self.wants_gradient() {
            return Ok(Variable::constant(self.device.clone(), value));
        }
        let backward = move |upstream: &[Option<Value>]| Ok(vec![upstream[0].as_ref().map(|d| d.reshape(&own)).transpose()?]);
        let node = Node::new("reshape", &self.device, 1, vec![self.origin.clone()], Box::new(backward));
        Ok(Variable::output(self.device.clone(), value, &node, 0))
    }
}
