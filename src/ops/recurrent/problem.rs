//! The sizes of one call of a recurrent layer, checked.

use super::names::Named;
use super::{Cell, Options};
use crate::array::show_shape;
use crate::ops::Request;
use crate::ops::host::{elements, expect_shape, list, misfit};
use crate::{Array, Error, Result};

/// How the names of a layer's and direction's tensors end: `_l0`, `_l0_reverse`, `_l1`, …
pub fn suffix(layer: usize, direction: usize) -> String {
    format!("_l{layer}{}", if direction == 1 { "_reverse" } else { "" })
}

/// Which peepholes an LSTM has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Peep {
    /// None.
    #[default]
    None,
    /// One tensor for all layers and directions.
    Shared,
    /// One tensor for each layer and direction.
    Each,
}

/// The shapes of the weights of one layer and direction.
#[derive(Clone, Copy, Debug)]
pub struct CellShapes<'a> {
    /// `[gates·hidden, inputs]`
    pub weight_ih: &'a [usize],
    /// `[gates·hidden, output]`
    pub weight_hh: &'a [usize],
    /// `[gates·hidden]`, of bias_ih and bias_hh.
    pub bias: Option<[&'a [usize]; 2]>,
    /// `[output, hidden]`: the projection of an LSTM.
    pub weight_hr: Option<&'a [usize]>,
    /// `[3, hidden]`: the peepholes of an LSTM, of this layer and direction alone.
    pub peep: Option<&'a [usize]>,
}

/// The shapes of the tensors of a call.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    /// `[time, batch, inputs]`, or `[batch, time, inputs]` with `batch_first`.
    pub x: &'a [usize],
    /// `[layers·directions, batch, output]`
    pub h0: Option<&'a [usize]>,
    /// `[layers·directions, batch, hidden]`
    pub c0: Option<&'a [usize]>,
    /// One for each layer and direction, at layer · directions + direction.
    pub cells: &'a [CellShapes<'a>],
    /// `[3, hidden]`: peepholes that all layers and directions share.
    pub peep: Option<&'a [usize]>,
    /// In y's shape.
    pub d_y: Option<&'a [usize]>,
    /// In h0's shape.
    pub d_hn: Option<&'a [usize]>,
    /// In c0's shape.
    pub d_cn: Option<&'a [usize]>,
}

impl<'a> Shapes<'a> {
    /// Of x and weights, with nothing else given.
    pub fn new(x: &'a [usize], cells: &'a [CellShapes<'a>]) -> Self {
        Shapes { x, h0: None, c0: None, cells, peep: None, d_y: None, d_hn: None, d_cn: None }
    }
}

/// One call of a recurrent layer: every size, and the options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Problem {
    /// The kind of step.
    pub cell: Cell,
    /// T: steps.
    pub time: usize,
    /// B: independent sequences.
    pub batch: usize,
    /// I: columns of x.
    pub input: usize,
    /// H: elements of a gate, and of an LSTM's cell.
    pub hidden: usize,
    /// Elements of h: those of the projection where there is one, else hidden.
    pub output: usize,
    /// Layers, each of which takes the output of the one before.
    pub layers: usize,
    /// 1 or 2.
    pub directions: usize,
    /// Whether there are biases.
    pub bias: bool,
    /// Whether h is a projection.
    pub projection: bool,
    /// Which peepholes there are.
    pub peep: Peep,
    /// Whether x and y are `[batch, time, ..]`.
    pub batch_first: bool,
    /// The probability that an element between two layers is dropped.
    pub dropout_p: f32,
    /// The seed of the random numbers of dropout.
    pub seed: u64,
}

impl Problem {
    /// Checks that shapes and options fit together.
    ///
    /// # Errors
    /// [`Error::Shape`] for a tensor that does not fit the others, [`Error::Limit`] for one of more than 2³¹ elements,
    /// [`Error::Tensors`] for weights that only some layers and directions have, or that this kind of cell does not have, and
    /// [`Error::Argument`] for options with values that are not accepted.
    pub fn new(cell: Cell, options: &Options, shapes: &Shapes) -> Result<Self> {
        let (op, gates) = (cell.op(), cell.gates());
        options.check(op)?;
        let Options { batch_first, directions, dropout_p, seed } = *options;
        let order = if batch_first { "[batch, time, inputs]" } else { "[time, batch, inputs]" };
        let &[outer, inner, input] = shapes.x else { return Err(misfit(op, "x", shapes.x, order)) };
        let (time, batch) = if batch_first { (inner, outer) } else { (outer, inner) };
        let Some(first) = shapes.cells.first().filter(|_| shapes.cells.len().is_multiple_of(directions)) else {
            let what = format!("{} sets of weights", shapes.cells.len());
            return Err(Error::Tensors { op, what, expected: format!("one for each layer and each of {directions} directions") });
        };
        let rows = || format!("[{gates}·hidden, {input}], since x is {}", show_shape(shapes.x));
        let hidden = match *first.weight_ih {
            [rows, columns] if rows.is_multiple_of(gates) && columns == input => rows / gates,
            _ => return Err(misfit(op, "weight_ih_l0", first.weight_ih, rows())),
        };
        let output = match first.weight_hr {
            None => hidden,
            Some(&[output, columns]) if columns == hidden => output,
            Some(shape) => return Err(misfit(op, "weight_hr_l0", shape, format!("[output, {hidden}]"))),
        };
        let peep = match (shapes.peep, first.peep) {
            (None, None) => Peep::None,
            (Some(_), _) => Peep::Shared,
            (None, Some(_)) => Peep::Each,
        };
        let (bias, projection) = (first.bias.is_some(), first.weight_hr.is_some());
        let layers = shapes.cells.len() / directions;
        let problem =
            Problem { cell, time, batch, input, hidden, output, layers, directions, bias, projection, peep, batch_first, dropout_p, seed };
        problem.check_kind(shapes)?;
        for (n, shapes) in shapes.cells.iter().enumerate() {
            problem.check_cell(n / directions, n % directions, shapes)?;
        }
        problem.check_shapes(shapes)?;
        Ok(problem)
    }

    /// The problem that a request poses.
    ///
    /// # Errors
    /// As [`Problem::new`], and [`Error::Tensors`] that names the weights which a layer or direction lacks.
    pub fn of(cell: Cell, request: &Request) -> Result<Self> {
        let named = Named::of(cell, &request.tensors)?;
        let options = Options { directions: named.directions, ..Options::from_settings(cell.op(), &request.settings)? };
        let shape = |name: &str| request.tensor(name).map(Array::shape);
        let cell_shapes = |n: usize| {
            let suffix = suffix(n / named.directions, n % named.directions);
            let shape = |base: &str| shape(&format!("{base}{suffix}"));
            CellShapes {
                // `Named::of` has seen to it that those are there which must be; an absent one would be refused for its rank.
                weight_ih: shape("weight_ih").unwrap_or_default(),
                weight_hh: shape("weight_hh").unwrap_or_default(),
                bias: shape("bias_ih").zip(shape("bias_hh")).map(<[_; 2]>::from),
                weight_hr: shape("weight_hr"),
                peep: shape("peep"),
            }
        };
        let cells: Vec<CellShapes> = (0..named.layers * named.directions).map(cell_shapes).collect();
        let shapes = Shapes {
            x: shape("x").unwrap_or_default(),
            h0: shape("h0"),
            c0: shape("c0"),
            cells: &cells,
            peep: shape("peep"),
            d_y: shape("d_y"),
            d_hn: shape("d_hn"),
            d_cn: shape("d_cn"),
        };
        Problem::new(cell, &options, &shapes)
    }

    /// That only an LSTM has cells, projections and peepholes.
    fn check_kind(&self, shapes: &Shapes) -> Result<()> {
        let op = self.cell.op();
        let own = shapes.cells.iter().any(|cell| cell.peep.is_some());
        let given = [
            ("c0", shapes.c0.is_some()),
            ("d_cn", shapes.d_cn.is_some()),
            ("weight_hr", shapes.cells.iter().any(|cell| cell.weight_hr.is_some())),
            ("peep", shapes.peep.is_some() || own),
        ];
        if self.cell != Cell::Lstm
            && let Some((name, _)) = given.into_iter().find(|(_, given)| *given)
        {
            return Err(Error::Tensors { op, what: format!("unknown tensor '{name}'"), expected: "it with lstm only".into() });
        }
        if shapes.peep.is_some() && own {
            let what = "peepholes for all layers and directions, and others of their own".to_string();
            return Err(Error::Tensors { op, what, expected: "either kind".into() });
        }
        Ok(())
    }

    /// One layer and direction against the first.
    fn check_cell(&self, layer: usize, direction: usize, shapes: &CellShapes) -> Result<()> {
        let (op, suffix) = (self.cell.op(), suffix(layer, direction));
        let rows = self.cell.gates() * self.hidden;
        let check = |base: &str, used: bool, got: Option<&[usize]>, expected: &[usize]| {
            let name = format!("{base}{suffix}");
            let wrong = |what: &str, expected: &str| {
                let what = format!("tensor '{name}' is {what}");
                Error::Tensors { op, what, expected: format!("{expected}, as for '{base}_l0'") }
            };
            match (got, used) {
                (Some(got), true) => {
                    elements(op, &name, got)?;
                    expect_shape(op, &name, got, expected)
                }
                (None, false) => Ok(()),
                (None, true) => Err(wrong("missing", &show_shape(expected))),
                (Some(_), false) => Err(wrong("given", "none")),
            }
        };
        check("weight_ih", true, Some(shapes.weight_ih), &[rows, self.layer_input(layer)])?;
        check("weight_hh", true, Some(shapes.weight_hh), &[rows, self.output])?;
        for (n, base) in ["bias_ih", "bias_hh"].into_iter().enumerate() {
            check(base, self.bias, shapes.bias.map(|bias| bias[n]), &[rows])?;
        }
        check("weight_hr", self.projection, shapes.weight_hr, &[self.output, self.hidden])?;
        check("peep", self.peep == Peep::Each, shapes.peep, &[3, self.hidden])
    }

    /// What is not a weight of one layer and direction.
    fn check_shapes(&self, shapes: &Shapes) -> Result<()> {
        let op = self.cell.op();
        let (y, h, c) = (self.y_shape(), self.h_shape(), self.c_shape());
        for (name, shape) in [("x", shapes.x), ("y", &y), ("hn", &h), ("cn", &c)] {
            elements(op, name, shape)?;
        }
        let given = [
            ("h0", shapes.h0, &h[..]),
            ("c0", shapes.c0, &c),
            ("peep", shapes.peep, &[3, self.hidden]),
            ("d_y", shapes.d_y, &y),
            ("d_hn", shapes.d_hn, &h),
            ("d_cn", shapes.d_cn, &c),
        ];
        given.into_iter().try_for_each(|(name, got, expected)| got.map_or(Ok(()), |got| expect_shape(op, name, got, expected)))
    }

    /// The number of steps of each sequence: `lengths` checked, or all of time.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are more or fewer than sequences, [`Error::Argument`] for one below 0 or above time.
    pub fn lengths(&self, lengths: Option<&[i32]>) -> Result<Vec<u32>> {
        let Some(lengths) = lengths else { return Ok(vec![self.time as u32; self.batch]) };
        let op = self.cell.op();
        expect_shape(op, "lengths", &[lengths.len()], &[self.batch])?;
        let checked = |(b, &length): (usize, &i32)| match u32::try_from(length) {
            Ok(length) if length as usize <= self.time => Ok(length),
            _ => Err(Error::Argument {
                op,
                key: format!("lengths[{b}]"),
                expected: format!("at least 0 and at most {}, the number of steps", self.time),
                got: length.to_string(),
            }),
        };
        lengths.iter().enumerate().map(checked).collect()
    }

    /// The number of steps of each sequence of a request.
    ///
    /// # Errors
    /// As [`Problem::lengths`].
    pub fn lengths_of(&self, request: &Request) -> Result<Vec<u32>> {
        let lengths = request.tensor("lengths").map(|array| list(self.cell.op(), "lengths", "[batch]", array));
        self.lengths(lengths.transpose()?)
    }

    /// Layers and directions, in the order of the states.
    pub fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let directions = self.directions;
        (0..self.layers * directions).map(move |n| (n / directions, n % directions))
    }

    /// Columns of what a layer takes.
    pub fn layer_input(&self, layer: usize) -> usize {
        if layer == 0 { self.input } else { self.columns() }
    }

    /// Columns of y: h of all directions.
    pub fn columns(&self) -> usize {
        self.directions * self.output
    }

    /// `[time, batch, inputs]`, or `[batch, time, inputs]`.
    pub fn x_shape(&self) -> [usize; 3] {
        self.ordered(self.input)
    }

    /// `[time, batch, directions·output]`, or `[batch, time, directions·output]`.
    pub fn y_shape(&self) -> [usize; 3] {
        self.ordered(self.columns())
    }

    fn ordered(&self, columns: usize) -> [usize; 3] {
        if self.batch_first { [self.batch, self.time, columns] } else { [self.time, self.batch, columns] }
    }

    /// Which row of x, and of y, is step t of sequence b.
    pub fn row(&self, t: usize, b: usize) -> usize {
        if self.batch_first { b * self.time + t } else { t * self.batch + b }
    }

    /// `[layers·directions, batch, output]`: h0 and hn.
    pub fn h_shape(&self) -> [usize; 3] {
        [self.layers * self.directions, self.batch, self.output]
    }

    /// `[layers·directions, batch, hidden]`: c0 and cn.
    pub fn c_shape(&self) -> [usize; 3] {
        [self.layers * self.directions, self.batch, self.hidden]
    }
}
