//! The arguments of an operation, drawn from bytes: anything at all, and more often something that is nearly right.

use arbitrary::Arbitrary;
use wattn::ops::{Arrays, Operation, Settings, Spec};
use wattn::{Array, f16};

/// The most elements of a tensor that is made here.
const MAX_ELEMENTS: usize = 1 << 12;

/// One call of an operation.
#[derive(Arbitrary, Debug)]
pub struct Call {
    /// Which operation, modulo how many there are.
    pub operation: u8,
    /// Which device.
    pub device: u8,
    /// Where the tensors come from.
    pub start: Start,
    /// The keys.
    settings: Vec<(Name, Value)>,
    /// What is then done to the tensors.
    edits: Vec<Edit>,
}

/// Where the tensors of a call come from.
#[derive(Arbitrary, Debug)]
pub enum Start {
    /// One of the operation's cases.
    Case(u8),
    /// `--shape`: fields of sizes.
    Shape(Vec<Vec<Size>>),
    /// None.
    Nothing,
}

/// A size in `--shape`.
#[derive(Arbitrary, Debug)]
pub enum Size {
    Small(u8),
    Any(u64),
    Text(String),
}

/// The name of a key or of a tensor.
#[derive(Arbitrary, Debug)]
enum Name {
    /// One that the operation has.
    Known(u8),
    /// One of a layer and direction.
    Layered(u8, u8, bool),
    Any(String),
}

/// The value of a key.
#[derive(Arbitrary, Debug)]
enum Value {
    Word(u8),
    Integer(i64),
    Float(f32),
    List(Vec<i8>),
    Any(String),
}

/// What some key takes, or nearly.
const WORDS: [&str; 20] = [
    "true",
    "false",
    "1",
    "0",
    "none",
    "auto",
    "fused",
    "composed",
    "f16",
    "f32",
    "tanh",
    "relu",
    "before",
    "after",
    "0.5",
    "-0",
    "nan",
    "inf",
    "4294967295",
    "-2147483648",
];

/// A change of the tensors.
#[derive(Arbitrary, Debug)]
enum Edit {
    Remove(u8),
    /// Another shape, of the same elements again and again.
    Reshape(u8, Vec<u8>),
    /// One dimension of one tensor.
    Resize(u8, u8, u8),
    Fill(u8, Fill),
    Insert(Name, Vec<u8>, Fill),
}

/// Elements, which repeat.
#[derive(Arbitrary, Debug)]
enum Fill {
    F32(Vec<f32>),
    F16(Vec<u16>),
    I32(Vec<i32>),
    /// Boundaries and lengths.
    Small(Vec<u8>),
    U8(Vec<u8>),
}

impl Call {
    /// The keys.
    pub fn settings(&self, spec: &Spec) -> Settings {
        Settings::new(self.settings.iter().map(|(key, value)| (key.of(spec.keys.iter().map(|key| key.name)), value.text())))
    }

    /// Changes the tensors.
    pub fn edit(&self, op: &dyn Operation, tensors: &mut Arrays) {
        for edit in &self.edits {
            let nth = |n: &u8| tensors.keys().nth(usize::from(*n) % tensors.len().max(1)).cloned();
            match edit {
                Edit::Remove(n) => drop(nth(n).and_then(|name| tensors.remove(&name))),
                Edit::Reshape(n, shape) => replace(tensors, nth(n), |_| sizes(shape)),
                Edit::Resize(n, axis, size) => replace(tensors, nth(n), |old| {
                    let mut shape = old.shape().to_vec();
                    let axis = usize::from(*axis) % shape.len().max(1);
                    if let Some(dim) = shape.get_mut(axis) {
                        *dim = usize::from(*size);
                    }
                    shape
                }),
                Edit::Fill(n, fill) => {
                    if let Some((name, old)) = nth(n).and_then(|name| tensors.remove_entry(&name)) {
                        put(tensors, name, old.shape(), fill);
                    }
                }
                Edit::Insert(name, shape, fill) => {
                    let spec = op.spec();
                    let upstream: Vec<String> = spec.outputs.iter().map(|output| format!("d_{}", output.name)).collect();
                    let known = spec.inputs.iter().map(|input| input.name).chain(upstream.iter().map(String::as_str));
                    put(tensors, name.of(known), &sizes(shape), fill);
                }
            }
        }
    }
}

impl Start {
    /// `--shape`.
    pub fn text(fields: &[Vec<Size>]) -> String {
        let field = |field: &Vec<Size>| field.iter().map(Size::text).collect::<Vec<_>>().join("/");
        fields.iter().map(field).collect::<Vec<_>>().join(",")
    }
}

impl Size {
    fn text(&self) -> String {
        match self {
            Size::Small(n) => n.to_string(),
            Size::Any(n) => n.to_string(),
            Size::Text(text) => text.clone(),
        }
    }
}

impl Name {
    fn of<'a>(&self, known: impl Iterator<Item = &'a str>) -> String {
        let known: Vec<&str> = known.collect();
        let nth = |n: &u8| known.get(usize::from(*n) % known.len().max(1)).copied().unwrap_or_default();
        match self {
            Name::Known(n) => nth(n).to_string(),
            Name::Layered(n, layer, reverse) => format!("{}_l{layer}{}", nth(n), if *reverse { "_reverse" } else { "" }),
            Name::Any(text) => text.clone(),
        }
    }
}

impl Value {
    fn text(&self) -> String {
        match self {
            Value::Word(n) => WORDS[usize::from(*n) % WORDS.len()].to_string(),
            Value::Integer(n) => n.to_string(),
            Value::Float(x) => x.to_string(),
            Value::List(list) => list.iter().map(i8::to_string).collect::<Vec<_>>().join(","),
            Value::Any(text) => text.clone(),
        }
    }
}

/// At most eight dimensions.
fn sizes(shape: &[u8]) -> Vec<usize> {
    shape.iter().take(8).map(|&n| n.into()).collect()
}

fn replace(tensors: &mut Arrays, name: Option<String>, shape: impl FnOnce(&Array) -> Vec<usize>) {
    let Some((name, old)) = name.and_then(|name| tensors.remove_entry(&name)) else { return };
    let fill = match old.data() {
        wattn::Data::F32(values) => Fill::F32(values.clone()),
        wattn::Data::F16(values) => Fill::F16(values.iter().map(|x| x.to_bits()).collect()),
        wattn::Data::I32(values) => Fill::I32(values.clone()),
        wattn::Data::U8(values) => Fill::U8(values.clone()),
        wattn::Data::F64(values) => Fill::F32(values.iter().map(|&x| x as f32).collect()),
    };
    put(tensors, name, &shape(&old), &fill);
}

/// Nothing when the shape has too many elements.
fn put(tensors: &mut Arrays, name: String, shape: &[usize], fill: &Fill) {
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX_ELEMENTS);
    let Some(count) = count else { return };
    fn repeat<T: Copy, U>(values: &[T], count: usize, zero: T, convert: impl Fn(T) -> U) -> Vec<U> {
        (0..count).map(|n| convert(values.get(n % values.len().max(1)).copied().unwrap_or(zero))).collect()
    }
    let array = match fill {
        Fill::F32(values) => Array::f32(shape, repeat(values, count, 0.0, |x| x)),
        Fill::F16(values) => Array::f16(shape, repeat(values, count, 0, f16::from_bits)),
        Fill::I32(values) => Array::i32(shape, repeat(values, count, 0, |x| x)),
        Fill::Small(values) => Array::i32(shape, repeat(values, count, 0, i32::from)),
        Fill::U8(values) => Array::u8(shape, repeat(values, count, 0, |x| x)),
    };
    tensors.insert(name, array);
}
