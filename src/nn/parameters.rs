//! Parameters by name.

use std::collections::BTreeMap;

use crate::array::show_shape;
use crate::autograd::{Device, Value, Variable};
use crate::ops::Arrays;
use crate::ops::philox::Rng;
use crate::{Array, DType, Error, Result};

const OP: &str = "parameters";

/// What a parameter begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform between -bound and bound.
    Uniform(f64),
    /// Normal with this standard deviation.
    Normal(f64),
    /// All the same.
    Constant(f64),
}

/// The parameters of a model by name, on one device.
#[derive(Debug)]
pub struct Parameters {
    device: Device,
    rng: Rng,
    named: BTreeMap<String, Variable>,
}

impl Parameters {
    /// None yet. `seed` decides what is drawn: the same on every device.
    pub fn new(device: &Device, seed: u64) -> Self {
        Parameters { device: device.clone(), rng: Rng::new(seed), named: BTreeMap::new() }
    }

    /// Where they live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A place for the parameters of a layer, whose names begin with `name.`.
    pub fn at(&mut self, name: &str) -> Scope<'_> {
        Scope { parameters: self, prefix: format!("{name}.") }
    }

    /// The place for names without a prefix.
    pub fn root(&mut self) -> Scope<'_> {
        Scope { parameters: self, prefix: String::new() }
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// The parameters with their names, sorted by them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Variable)> {
        self.named.iter().map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.named.get(name)
    }

    /// How many numbers they are.
    pub fn elements(&self) -> usize {
        self.named.values().map(|parameter| parameter.shape().iter().product::<usize>()).sum()
    }

    /// Forgets all gradients.
    pub fn zero_gradients(&self) {
        self.named.values().for_each(Variable::zero_gradient);
    }

    /// Their elements as f32: what a file holds.
    ///
    /// # Errors
    /// As [`Variable::array`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn arrays(&self) -> Result<Arrays> {
        self.named.iter().map(|(name, parameter)| Ok((name.clone(), parameter.array()?.to_float(DType::F32)))).collect()
    }

    /// Gives every parameter the array of its name. Either all of them are set, or none.
    ///
    /// # Errors
    /// [`Error::Tensors`] for names that are missing or that no parameter has, [`Error::Shape`] and [`Error::Dtype`] for arrays that do not fit; on a
    /// GPU those of [`Gpu::upload`](crate::Gpu::upload).
    pub fn load(&self, arrays: &Arrays) -> Result<()> {
        let few = |names: Vec<&String>| {
            let shown: Vec<String> = names.iter().take(3).map(|name| format!("'{name}'")).collect();
            shown.join(", ") + if names.len() > 3 { ", …" } else { "" }
        };
        let missing: Vec<&String> = self.named.keys().filter(|name| !arrays.contains_key(*name)).collect();
        let unknown: Vec<&String> = arrays.keys().filter(|name| !self.named.contains_key(*name)).collect();
        if !missing.is_empty() || !unknown.is_empty() {
            let what = match (missing.is_empty(), unknown.is_empty()) {
                (false, true) => format!("{} missing", few(missing)),
                (true, _) => format!("{} unknown", few(unknown)),
                (false, false) => format!("{} missing and {} unknown", few(missing), few(unknown)),
            };
            return Err(Error::Tensors { op: OP, what, expected: format!("the {} parameters of this model", self.named.len()) });
        }
        for (name, parameter) in &self.named {
            let (array, shape) = (&arrays[name], parameter.shape());
            if array.shape() != shape {
                let (expected, got) = (show_shape(&shape), show_shape(array.shape()));
                return Err(Error::Shape { op: OP, tensor: name.clone(), expected, got });
            }
            if !matches!(array.dtype(), DType::F32 | DType::F16) {
                let got = array.dtype().to_string();
                return Err(Error::Dtype { op: OP, tensor: name.clone(), expected: "f32".into(), got });
            }
        }
        self.place(&self.named.keys().map(|name| &arrays[name]).collect::<Vec<_>>())
    }

    /// Moves the parameters side by side, where a device's optimizer updates many of them in one dispatch.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn gather(&self) -> Result<()> {
        if self.device.gpu().is_none() {
            return Ok(());
        }
        let arrays = self.arrays()?;
        self.place(&arrays.values().collect::<Vec<_>>())
    }

    /// Sets all parameters, in the order of their names.
    fn place(&self, arrays: &[&Array]) -> Result<()> {
        let arrays: Vec<Array> = arrays.iter().map(|array| array.to_float(DType::F32)).collect();
        match self.device.gpu() {
            None => self.named.values().zip(arrays).try_for_each(|(parameter, array)| parameter.set(array)),
            Some(gpu) => {
                let tensors = gpu.upload_arena(&arrays.iter().collect::<Vec<_>>())?;
                self.named.values().zip(tensors).try_for_each(|(parameter, tensor)| parameter.set_value(Value::Device(tensor)))
            }
        }
    }

    /// Writes a .safetensors or .npz file, whole or not at all.
    ///
    /// # Errors
    /// As [`io::write`](crate::io::write).
    #[cfg(feature = "cli")]
    pub fn save(&self, path: &std::path::Path) -> Result<()> {
        crate::io::write(path, &self.arrays()?)
    }

    /// Reads what [`Parameters::save`], or PyTorch, has written.
    ///
    /// # Errors
    /// As [`io::read`](crate::io::read) and [`Parameters::load`]; the file is named in each.
    #[cfg(feature = "cli")]
    pub fn open(&self, path: &std::path::Path) -> Result<()> {
        self.load_from(path, &crate::io::read(path)?)
    }

    /// [`Parameters::load`] of arrays that a file, or a directory, held; its name is in the errors.
    #[cfg(feature = "cli")]
    pub(crate) fn load_from(&self, path: &std::path::Path, arrays: &Arrays) -> Result<()> {
        self.load(arrays).map_err(|error| match error {
            Error::Tensors { .. } | Error::Shape { .. } | Error::Dtype { .. } => {
                Error::Format { path: path.into(), message: error.to_string() }
            }
            other => other,
        })
    }
}

/// Where a layer draws its parameters.
#[derive(Debug)]
pub struct Scope<'a> {
    parameters: &'a mut Parameters,
    prefix: String,
}

impl Scope<'_> {
    /// Where they live.
    pub fn device(&self) -> Device {
        self.parameters.device.clone()
    }

    /// A place within this one.
    pub fn at(&mut self, name: &str) -> Scope<'_> {
        Scope { prefix: format!("{}{name}.", self.prefix), parameters: self.parameters }
    }

    /// A new parameter.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that there is already; [`Error::Shape`] for a shape without elements; those of the device.
    pub fn draw(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Variable> {
        let values = self.values(crate::ops::count(OP, name, shape)?, init);
        self.put(name, Array::f32(shape, values))
    }

    /// What [`Scope::draw`] would draw.
    pub(crate) fn values(&mut self, elements: usize, init: Init) -> Vec<f32> {
        let rng = &mut self.parameters.rng;
        let element = |_| match init {
            Init::Uniform(bound) => (bound * (2.0 * rng.uniform() - 1.0)) as f32,
            Init::Normal(deviation) => (deviation * f64::from(rng.normal())) as f32,
            Init::Constant(x) => x as f32,
        };
        (0..elements).map(element).collect()
    }

    /// A new parameter with these elements.
    ///
    /// # Errors
    /// As [`Scope::draw`].
    pub fn put(&mut self, name: &str, array: Array) -> Result<Variable> {
        let name = format!("{}{name}", self.prefix);
        if self.parameters.named.contains_key(&name) {
            return Err(Error::Argument { op: OP, key: "name".into(), expected: "a new one".into(), got: format!("'{name}'") });
        }
        let parameter = self.parameters.device.parameter(array)?;
        self.parameters.named.insert(name, parameter.clone());
        Ok(parameter)
    }
}
