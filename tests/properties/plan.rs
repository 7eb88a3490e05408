//! A request as it is drawn and shrunk: shapes, keys, and how the values come from a seed.

use std::fmt;
use std::path::Path;

use wattn::ops::philox::Rng;
use wattn::ops::{Arrays, Request, Settings, find};
use wattn::{Array, Result};

/// The elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Normal, with this deviation.
    Normal(f32),
    /// Normal, but −∞ in this share.
    Hiding(f64),
    /// Between 0 and 1.
    Uniform,
    /// A mask that keeps this share.
    Keep(f64),
    /// Lengths from 0 to this.
    Lengths(usize),
}

/// A request.
#[derive(Clone)]
pub struct Plan {
    op: &'static str,
    seed: u64,
    /// The keys.
    pub settings: Vec<(&'static str, String)>,
    tensors: Vec<(String, Vec<usize>, Fill)>,
    given: Vec<(String, Array)>,
    poison: Option<fn(&mut Arrays)>,
}

impl Plan {
    /// Without tensors and keys.
    pub fn new(op: &'static str, seed: u64) -> Self {
        Plan { op, seed, settings: vec![], tensors: vec![], given: vec![], poison: None }
    }

    /// Adds a tensor.
    pub fn tensor(&mut self, name: impl Into<String>, shape: &[usize], fill: Fill) {
        self.tensors.push((name.into(), shape.to_vec(), fill));
    }

    /// Adds a tensor of these values.
    pub fn list(&mut self, name: &str, values: Vec<i32>) {
        self.given.push((name.into(), Array::i32(&[values.len()], values)));
    }

    /// Adds a tensor of these shape and values.
    pub fn indices(&mut self, name: &str, shape: &[usize], values: Vec<i32>) {
        self.given.push((name.into(), Array::i32(shape, values)));
    }

    /// Sets a key.
    pub fn set(&mut self, key: &'static str, value: impl ToString) {
        self.settings.push((key, value.to_string()));
    }

    /// Sets a key where there is a value for it.
    pub fn set_some(&mut self, key: &'static str, value: Option<impl ToString>) {
        self.settings.extend(value.map(|value| (key, value.to_string())));
    }

    /// Sets a key to true where it is.
    pub fn set_if(&mut self, key: &'static str, value: bool) {
        self.set_some(key, value.then_some(true));
    }

    /// Plants NaN where the operation must not look.
    pub fn poison(&mut self, poison: fn(&mut Arrays)) {
        self.poison = Some(poison);
    }

    /// The tensors' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|(name, ..)| name.as_str()).chain(self.given.iter().map(|(name, _)| name.as_str()))
    }

    /// Draws the values.
    pub fn request(&self) -> Result<Request> {
        let mut rng = Rng::new(self.seed);
        let mut tensors: Arrays = self.given.iter().cloned().collect();
        for (name, shape, fill) in &self.tensors {
            tensors.insert(name.clone(), fill.draw(shape, &mut rng));
        }
        if let Some(poison) = self.poison {
            poison(&mut tensors);
        }
        let settings = Settings::new(self.settings.iter().map(|(key, value)| (key.to_string(), value.clone())));
        let op = find(self.op).unwrap_or_else(|| panic!("no operation '{}'", self.op));
        Request::new(op.spec(), tensors, settings)
    }

    /// Writes the tensors to where the command reads them.
    pub fn save(&self) -> String {
        #[cfg(feature = "cli")]
        if let Err(error) = self.request().and_then(|request| wattn::io::write(Path::new(&self.path()), &request.tensors)) {
            return format!("(the tensors could not be written: {error})\n");
        }
        String::new()
    }

    fn path(&self) -> String {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("properties_{}.safetensors", self.op)).display().to_string()
    }
}

impl Fill {
    fn draw(self, shape: &[usize], rng: &mut Rng) -> Array {
        let count = shape.iter().product();
        let mut each = |value: &mut dyn FnMut(&mut Rng) -> f32| (0..count).map(|_| value(rng)).collect::<Vec<f32>>();
        match self {
            Fill::Normal(deviation) => Array::f32(shape, each(&mut |rng| deviation * rng.normal())),
            Fill::Hiding(share) => Array::f32(shape, each(&mut |rng| if rng.uniform() < share { f32::NEG_INFINITY } else { rng.normal() })),
            Fill::Uniform => Array::f32(shape, each(&mut |rng| rng.uniform() as f32)),
            Fill::Keep(share) => Array::u8(shape, (0..count).map(|_| u8::from(rng.uniform() < share)).collect()),
            Fill::Lengths(most) => Array::i32(shape, (0..count).map(|_| rng.below(most + 1) as i32).collect()),
        }
    }
}

/// The command that repeats it, and what its file holds.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wattn run {} {} --compare", self.op, self.path())?;
        for (key, value) in &self.settings {
            write!(f, " --set {key}={value}")?;
        }
        write!(f, "\n  seed {}", self.seed)?;
        for (name, shape, fill) in &self.tensors {
            write!(f, "\n  {name} {} {fill:?}", format!("{shape:?}").replace(' ', ""))?;
        }
        for (name, array) in &self.given {
            write!(f, "\n  {name} {:?}", array.data())?;
        }
        if self.poison.is_some() { write!(f, "\n  NaN where nothing is visible") } else { Ok(()) }
    }
}
