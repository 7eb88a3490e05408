//! What an operation takes by name: its tensors, its keys, and the check that a request has the right ones.

use std::collections::BTreeMap;

use super::Settings;
use super::host::misfit;
use crate::{Array, DType, Error, Result};

/// Tensors by name, sorted.
pub type Arrays = BTreeMap<String, Array>;

/// One input tensor.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// The name.
    pub name: &'static str,
    /// The shape in words, for help texts and errors.
    pub shape: &'static str,
    /// The element type; an input of `F32` also takes f16.
    pub dtype: DType,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether there is a gradient `d_name` for it.
    pub differentiable: bool,
    /// Whether it stands for one tensor for each layer and direction: `name_l0`, `name_l0_reverse`, `name_l1`, …
    pub layered: bool,
    /// Whether it stands for any number of tensors, counted from here on: `name1`, `name2`, …
    pub numbered: Option<usize>,
}

impl Input {
    /// A required, differentiable f32 tensor.
    pub const fn new(name: &'static str, shape: &'static str) -> Self {
        Input { name, shape, dtype: DType::F32, optional: false, differentiable: true, layered: false, numbered: None }
    }

    /// A required tensor of integers: no gradient.
    pub const fn index(name: &'static str, shape: &'static str) -> Self {
        Input { dtype: DType::I32, differentiable: false, ..Input::new(name, shape) }
    }

    /// An optional u8 mask, 1 = keep.
    pub const fn mask(name: &'static str, shape: &'static str) -> Self {
        Input { dtype: DType::U8, optional: true, differentiable: false, ..Input::new(name, shape) }
    }

    /// Differentiable f32 tensors, one for each layer and direction of a recurrent network.
    pub const fn layered(name: &'static str, shape: &'static str) -> Self {
        Input { layered: true, ..Input::new(name, shape) }
    }

    /// Differentiable f32 tensors, at least one, counted from `first` on.
    pub const fn numbered(name: &'static str, first: usize, shape: &'static str) -> Self {
        Input { numbered: Some(first), ..Input::new(name, shape) }
    }

    /// The same, optional.
    pub const fn optional(self) -> Self {
        Input { optional: true, ..self }
    }

    /// The same, without a gradient.
    pub const fn constant(self) -> Self {
        Input { differentiable: false, ..self }
    }

    /// Whether a tensor of this name is (one of) this input.
    pub fn takes(&self, name: &str) -> bool {
        match (self.layered, self.numbered) {
            (true, _) => self.place(name).is_some(),
            (false, Some(_)) => self.number(name).is_some(),
            (false, None) => name == self.name,
        }
    }

    /// The number that the name of a numbered input's tensor ends in.
    pub fn number(&self, name: &str) -> Option<usize> {
        let digits = name.strip_prefix(self.name)?;
        let number: u32 = digits.parse().ok()?;
        // Not `+1` and `01`, as below.
        (number.to_string() == digits && number as usize >= self.numbered?).then_some(number as usize)
    }

    /// Layer and direction that the name of a layered input's tensor ends in: `weight_ih_l2_reverse` is (2, 1).
    pub fn place(&self, name: &str) -> Option<(usize, usize)> {
        let place = name.strip_prefix(self.name)?.strip_prefix("_l")?;
        let (digits, direction) = place.strip_suffix("_reverse").map_or((place, 0), |digits| (digits, 1));
        let layer: u16 = digits.parse().ok()?;
        // Not `+1` and `01`, which parse too: a name must not be there twice.
        (layer.to_string() == digits).then_some((layer.into(), direction))
    }

    /// The name, of several tensors that of the first.
    pub fn first(&self) -> String {
        match (self.layered, self.numbered) {
            (true, _) => format!("{}_l0", self.name),
            (false, Some(first)) => format!("{}{first}", self.name),
            (false, None) => self.name.to_string(),
        }
    }
}

/// One output tensor.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// The name.
    pub name: &'static str,
    /// The shape in words.
    pub shape: &'static str,
    /// The element type.
    pub dtype: DType,
    /// Whether an upstream gradient `d_name` is taken.
    pub upstream: bool,
}

impl Output {
    /// An f32 output with an upstream gradient.
    pub const fn new(name: &'static str, shape: &'static str) -> Self {
        Output { name, shape, dtype: DType::F32, upstream: true }
    }

    /// The same, through which no gradient flows.
    pub const fn aside(self) -> Self {
        Output { upstream: false, ..self }
    }
}

/// One `--set` key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name.
    pub name: &'static str,
    /// The default, in words where it depends on the tensors.
    pub default: &'static str,
    /// What it does and which values it takes.
    pub about: &'static str,
}

impl Key {
    /// A key.
    pub const fn new(name: &'static str, default: &'static str, about: &'static str) -> Self {
        Key { name, default, about }
    }
}

/// Names, tensors and keys of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The name, the same in shaders/, src/ops/, tests/ops/, benches/ops/ and on the command line.
    pub name: &'static str,
    /// One line: the formula.
    pub about: &'static str,
    /// What `--shape` takes.
    pub shape: &'static str,
    /// The inputs, in the order of the API.
    pub inputs: &'static [Input],
    /// The outputs.
    pub outputs: &'static [Output],
    /// The keys.
    pub keys: &'static [Key],
}

/// Tensors and keys that have been checked against an operation's [`Spec`]: every name is known, none is missing, every type fits.
/// Shapes are checked by the operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Inputs by name, and upstream gradients as `d_` + output.
    pub tensors: Arrays,
    /// The keys.
    pub settings: Settings,
}

impl Request {
    /// Checks names and types.
    ///
    /// # Errors
    /// [`Error::Tensors`] for an unknown or missing tensor, [`Error::Dtype`] for a wrong type, [`Error::Shape`] for one without
    /// elements, [`Error::Argument`] for an unknown key.
    pub fn new(spec: &Spec, tensors: Arrays, settings: Settings) -> Result<Self> {
        let given = tensors.iter().map(|(name, array)| (name.as_str(), array.dtype(), array.shape()));
        spec.check(&given.collect::<Vec<_>>(), &settings)?;
        Ok(Request { tensors, settings })
    }

    /// A tensor by name, if it was given.
    pub fn tensor(&self, name: &str) -> Option<&Array> {
        self.tensors.get(name)
    }

    /// The tensors of a numbered input, in order.
    ///
    /// # Errors
    /// [`Error::Tensors`] when a number is left out.
    pub(crate) fn series(&self, op: &'static str, input: &Input) -> Result<Vec<&Array>> {
        let mut found: Vec<_> = self.tensors.iter().filter_map(|(name, array)| Some((input.number(name)?, array))).collect();
        found.sort_by_key(|(number, _)| *number);
        let expected = input.numbered.unwrap_or_default()..;
        match expected.zip(&found).find(|(expected, (number, _))| expected != number) {
            None => Ok(found.into_iter().map(|(_, array)| array).collect()),
            Some((missing, (number, _))) => {
                let what = format!("tensor '{0}{missing}' is missing, and there is a '{0}{number}'", input.name);
                Err(Error::Tensors { op, what, expected: format!("'{}' and its successors without a gap", input.first()) })
            }
        }
    }

    /// Whether any upstream gradient was given, so that gradients are wanted.
    pub fn wants_gradients(&self) -> bool {
        self.tensors.keys().any(|name| name.starts_with("d_"))
    }
}

impl Spec {
    /// That every name is known and none is missing, that every type fits, and that every key is known.
    ///
    /// # Errors
    /// As [`Request::new`].
    pub(crate) fn check(&self, tensors: &[(&str, DType, &[usize])], settings: &Settings) -> Result<()> {
        let op = self.name;
        let upstream = |name: &str| self.outputs.iter().find(|o| o.upstream && name.strip_prefix("d_") == Some(o.name));
        for &(name, got, shape) in tensors {
            let dtype = match (self.input(name), upstream(name)) {
                (Some(input), _) => input.dtype,
                (None, Some(output)) => output.dtype,
                (None, None) => {
                    return Err(Error::Tensors { op, what: format!("unknown tensor '{name}'"), expected: self.names() });
                }
            };
            let float = |d| matches!(d, DType::F32 | DType::F16 | DType::F64);
            if got != dtype && !(float(dtype) && float(got)) {
                return Err(Error::Dtype { op, tensor: name.into(), expected: dtype.to_string(), got: got.to_string() });
            }
            if shape.contains(&0) {
                return Err(misfit(op, name, shape, "every dimension at least 1"));
            }
        }
        let missing = |i: &&Input| !i.optional && !tensors.iter().any(|(name, ..)| i.takes(name));
        if let Some(missing) = self.inputs.iter().find(missing) {
            let what = format!("tensor '{}' {} is missing", missing.first(), missing.shape);
            return Err(Error::Tensors { op, what, expected: self.names() });
        }
        if let Some(key) = settings.names().find(|key| self.keys.iter().all(|k| k.name != *key)) {
            let known: Vec<&str> = self.keys.iter().map(|k| k.name).collect();
            let expected = if known.is_empty() { "no key".to_string() } else { format!("one of {}", known.join(", ")) };
            return Err(Error::Argument { op, key: key.into(), expected, got: format!("'{}'", settings.text(key).unwrap_or_default()) });
        }
        Ok(())
    }

    /// The input that a tensor of this name is.
    pub fn input(&self, name: &str) -> Option<&'static Input> {
        self.inputs.iter().find(|input| input.takes(name))
    }

    /// The elements of all gradients that a request asks for, when it has upstream ones.
    pub(crate) fn gradient_elements(&self, request: &Request) -> usize {
        let differentiable = request.tensors.iter().filter(|(name, _)| self.input(name).is_some_and(|input| input.differentiable));
        differentiable.map(|(_, array)| array.len()).sum()
    }

    /// The tensor names that are accepted, for errors.
    fn names(&self) -> String {
        let mark = |i: &Input| if i.optional { format!("[{}]", i.first()) } else { i.first() };
        let upstream = self.outputs.iter().filter(|o| o.upstream).map(|o| format!("[d_{}]", o.name));
        let mut names = self.inputs.iter().map(mark).chain(upstream).collect::<Vec<_>>().join(", ");
        if self.inputs.iter().any(|i| i.layered) {
            names += "; for _l0 also _l0_reverse, _l1, _l1_reverse, …";
        }
        for input in self.inputs {
            if let Some(first) = input.numbered {
                names += &format!("; for {0}{first} also {0}{1}, …", input.name, first + 1);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SPEC: Spec = Spec {
        name: "fake",
        about: "",
        shape: "",
        inputs: &[
            Input::new("x", "[T]"),
            Input::layered("weight", "[H, I]"),
            Input::layered("peep", "[3, H]").optional(),
            Input::new("peep", "[3, H]").optional(),
        ],
        outputs: &[Output::new("y", "[T]")],
        keys: &[],
    };

    #[test]
    fn layered_names() {
        let place = |name: &str| SPEC.inputs[1].place(name);
        assert_eq!(place("weight_l0"), Some((0, 0)));
        assert_eq!(place("weight_l12_reverse"), Some((12, 1)));
        for wrong in [
            "weight",
            "weight_l",
            "weight_l01",
            "weight_l+1",
            "weight_l-1",
            "weight_l0_revers",
            "weight_l0_reverse_reverse",
            "weight_l_reverse",
        ] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
        assert!(SPEC.input("peep").is_some_and(|i| !i.layered) && SPEC.input("peep_l1").is_some_and(|i| i.layered));
        assert!(SPEC.input("weight").is_none());
    }

    #[test]
    fn numbered_names() {
        static SPEC: Spec = Spec {
            name: "fake",
            about: "",
            shape: "",
            inputs: &[Input::new("g", "[T]").optional(), Input::numbered("g", 1, "[T]")],
            outputs: &[],
            keys: &[],
        };
        let number = |name: &str| SPEC.inputs[1].number(name);
        assert_eq!([number("g1"), number("g12")], [Some(1), Some(12)]);
        for wrong in ["g", "g0", "g01", "g+1", "g-1", "g1x", "h1", "g99999999999"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
        let request = |names: &[&str]| {
            let tensors = names.iter().enumerate().map(|(i, name)| (name.to_string(), Array::f32(&[1], vec![i as f32]))).collect();
            Request::new(&SPEC, tensors, Settings::default())
        };
        let names: Vec<String> = (1..13).map(|n| format!("g{n}")).collect();
        let all = request(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let order: Vec<f64> = all.series("fake", &SPEC.inputs[1]).unwrap().iter().map(|array| array.to_f64()[0]).collect();
        assert_eq!(order, (0..12).map(f64::from).collect::<Vec<_>>());
        let gap = request(&["g1", "g3"]).unwrap().series("fake", &SPEC.inputs[1]).unwrap_err().to_string();
        assert_eq!(gap, "fake: tensor 'g2' is missing, and there is a 'g3'; expected 'g1' and its successors without a gap");
        let none = request(&["g"]).unwrap_err().to_string();
        assert_eq!(none, "fake: tensor 'g1' [T] is missing; expected [g], g1; for g1 also g2, …");
    }

    #[test]
    fn names_in_errors() {
        let error = |names: &[&str]| {
            let tensors = names.iter().map(|name| (name.to_string(), Array::f32(&[1], vec![0.0]))).collect();
            Request::new(&SPEC, tensors, Settings::default()).unwrap_err().to_string()
        };
        let expected = "expected x, weight_l0, [peep_l0], [peep], [d_y]; for _l0 also _l0_reverse, _l1, _l1_reverse, …";
        assert_eq!(error(&["x", "weight"]), format!("fake: unknown tensor 'weight'; {expected}"));
        assert_eq!(error(&["x"]), format!("fake: tensor 'weight_l0' [H, I] is missing; {expected}"));
    }
}
