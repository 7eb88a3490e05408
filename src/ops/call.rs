//! An operation on tensors that are on a device already: what the tape records, and what requests are run by.

use std::collections::BTreeMap;

use super::{Prepared, Request, Settings};
use crate::gpu::{Gpu, Tensor};
use crate::{Array, Data, Error, Result};

/// Tensors on a device by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Integers on the host by name.
pub type Lists = BTreeMap<String, Vec<i32>>;

/// One use of an operation: its inputs and keys.
#[derive(Clone, Debug)]
pub struct Call {
    /// The device.
    pub gpu: Gpu,
    /// The operation's name, for errors.
    pub op: &'static str,
    /// Inputs by name.
    pub tensors: Tensors,
    /// The inputs of integers once more: lengths are looked at on the host.
    pub lists: Lists,
    /// The keys.
    pub settings: Settings,
    /// Whether the backward will be called: what only that needs need not be kept otherwise.
    pub training: bool,
}

impl Call {
    /// An input that the operation cannot do without.
    ///
    /// # Errors
    /// [`Error::Tensors`] when it was not given.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        let missing = || Error::Tensors { op: self.op, what: format!("tensor '{name}' is missing"), expected: name.to_string() };
        self.optional(name).ok_or_else(missing)
    }

    /// An input, if it was given.
    pub fn optional(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// An input of integers, if it was given.
    pub fn list(&self, name: &str) -> Option<&[i32]> {
        self.lists.get(name).map(Vec::as_slice)
    }
}

/// From the upstream gradients, `d_` + output, to the inputs' gradients, `d_` + input. At least one is there; an absent one counts as zero.
pub type Backward = Box<dyn FnOnce(&Tensors) -> Result<Vec<(String, Tensor)>> + Send>;

/// What a [`Call`] gives.
pub struct Applied {
    /// The outputs by name.
    pub outputs: Vec<(String, Tensor)>,
    /// Holds the tensors that it needs until it is called or dropped.
    pub backward: Backward,
}

impl Applied {
    /// Outputs, and the function of the upstream gradients that gives the gradients; what is `None` is left out of both.
    pub fn new<N, S, T, D, R, U>(outputs: N, backward: impl FnOnce(&Tensors) -> Result<D> + Send + 'static) -> Self
    where
        N: IntoIterator<Item = (S, T)>,
        S: Into<String>,
        T: Into<Option<Tensor>>,
        D: IntoIterator<Item = (R, U)>,
        R: Into<String>,
        U: Into<Option<Tensor>>,
    {
        Applied { outputs: named(outputs), backward: Box::new(move |upstream| Ok(named(backward(upstream)?))) }
    }
}

fn named<S: Into<String>, T: Into<Option<Tensor>>>(tensors: impl IntoIterator<Item = (S, T)>) -> Vec<(String, Tensor)> {
    tensors.into_iter().filter_map(|(name, tensor)| Some((name.into(), tensor.into()?))).collect()
}

/// The upstream gradient of an operation with a single output.
///
/// # Errors
/// [`Error::Tensors`] when it was not given.
pub(crate) fn upstream<'a>(op: &'static str, tensors: &'a Tensors, name: &str) -> Result<&'a Tensor> {
    let missing = || Error::Tensors { op, what: format!("the upstream gradient '{name}' is missing"), expected: name.to_string() };
    tensors.get(name).ok_or_else(missing)
}

/// Uploads a request once, each tensor as `stored` says, and returns what calls the operation on it.
pub(crate) fn prepare(
    gpu: &Gpu,
    op: &'static str,
    request: &Request,
    apply: impl Fn(Call) -> Result<Applied> + 'static,
    stored: impl Fn(&str, &Array) -> Array,
) -> Result<Prepared> {
    let (mut tensors, mut lists, mut upstream) = (Tensors::new(), Lists::new(), Tensors::new());
    for (name, array) in &request.tensors {
        let to = if name.starts_with("d_") { &mut upstream } else { &mut tensors };
        to.insert(name.clone(), gpu.upload(&stored(name, array))?);
        if let Data::I32(list) = array.data() {
            lists.insert(name.clone(), list.clone());
        }
    }
    let call = Call { gpu: gpu.clone(), op, tensors, lists, settings: request.settings.clone(), training: request.wants_gradients() };
    Ok(Box::new(move || {
        let Applied { mut outputs, backward } = apply(call.clone())?;
        if call.training {
            // A scalar's gradient may come as [1].
            let shaped = upstream.iter().map(|(name, d)| {
                let output = outputs.iter().find(|(output, _)| name.strip_prefix("d_") == Some(output));
                let scalar = output.is_some_and(|(_, output)| output.shape().is_empty());
                Ok((name.clone(), if scalar { d.reshape(&[])? } else { d.clone() }))
            });
            outputs.extend(backward(&shaped.collect::<Result<_>>()?)?);
        }
        Ok(outputs)
    }))
}

/// For [`prepare`]: floats as f32.
pub(crate) fn as_f32(_: &str, array: &Array) -> Array {
    array.to_float(crate::DType::F32)
}

/// For [`prepare`]: as it is.
pub(crate) fn as_it_is(_: &str, array: &Array) -> Array {
    array.clone()
}
