//! One layer, both directions: its weights as the steps read them, its tensors along time, forward and backward.
//!
//! The steps read weights with the gates of a unit side by side, and rows that are filled up to vectors of 4:
//!
//! ```text
//! rows of the input weight, gates along time        [directions, hidden, 4]; an RNN has [directions, hidden filled up]
//! recurrent weight, forward                         [directions, hidden, 4, outputs filled up]
//! recurrent weight, backward                        [directions, outputs filled up, hidden, 4]
//! ```
//!
//! A GRU's fourth gate is the recurrent part of n: its input weight is zero and its bias that of U, so that sums come out as the steps
//! need them.

use super::arrange::{Arrange, NOTHING, Place, Slots};
use super::gpu::Weights;
use super::kernels::{Pass, Step, StepParams};
use super::tile::{self, Tile};
use super::walk::{Along, Operand, Walk};
use super::{Cell, Problem, Reset};
use crate::gpu::{Gpu, Tensor};
use crate::{DType, Result};

/// Rows that are read as vectors of 4 are filled up.
pub(super) fn filled(n: usize) -> usize {
    n.next_multiple_of(4)
}

/// What a layer keeps for its backward.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// What the layer took, `[time, batch, columns]`.
    pub x: Tensor,
    /// `[time, batch, directions, hidden·4]`; an RNN's are in `h` as well, and it keeps none.
    pub gates: Option<Tensor>,
    /// `[time + 1, batch, directions, outputs filled up]`
    pub h: Tensor,
    /// `[time + 1, batch, directions, hidden filled up]`, of an LSTM.
    pub cells: Option<Tensor>,
    /// `[time, batch, directions, hidden filled up]`, of an LSTM with a projection.
    pub m: Option<Tensor>,
}

/// A tensor's elements along time, sequences and directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes<'a> {
    pub tensor: &'a Tensor,
    pub time: usize,
    pub batch: usize,
    /// From one direction to the next, and from one unit to the next.
    pub direction: usize,
    pub unit: usize,
}

impl<'a> Lanes<'a> {
    /// An output `[time, batch, columns]`, or with time and batch exchanged.
    pub fn of(problem: &Problem, tensor: &'a Tensor, batch_first: bool) -> Self {
        let columns = problem.columns();
        let (time, batch) = if batch_first { (columns, problem.time * columns) } else { (problem.batch * columns, columns) };
        Lanes { tensor, time, batch, direction: problem.output, unit: 1 }
    }

    /// A zero for every element.
    pub fn zero(tensor: &'a Tensor) -> Self {
        Lanes { tensor, time: 0, batch: 0, direction: 0, unit: 0 }
    }

    fn operand(&self, name: &'static str, units: usize) -> Operand<'a> {
        let run = (units - 1) * self.unit + 1;
        let &Lanes { tensor, time, batch, direction, .. } = self;
        Operand { name, tensor, vectors: false, along: Along::Now, time, batch, direction, column: 0, run }
    }
}

/// One layer of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer<'a> {
    pub problem: &'a Problem,
    pub index: usize,
    /// Of each direction.
    pub weights: &'a [Weights<'a>],
    /// Peepholes that all layers and directions share.
    pub peep: Option<&'a Tensor>,
    /// i32 `[batch]`
    pub lengths: &'a Tensor,
    /// Whether lengths were given: then there may be steps that are not there.
    pub packed: bool,
    /// Zeros, for what is not there.
    pub zeros: &'a Tensor,
}

impl<'a> Layer<'a> {
    /// Elements of the gates of a direction.
    pub fn gate_columns(&self) -> usize {
        match self.problem.cell {
            Cell::Rnn(_) => filled(self.problem.hidden),
            _ => 4 * self.problem.hidden,
        }
    }

    /// What steps keep side by side for a unit is up to four values, in slots. Here: the gate of PyTorch's whose recurrent product each is.
    fn recurrent_slots(&self) -> Slots {
        match self.problem.cell {
            Cell::Rnn(_) => [0, NOTHING, NOTHING, NOTHING],
            Cell::Gru(Reset::After) => [0, 1, NOTHING, 2],
            // The product of n is a dispatch of its own.
            Cell::Gru(Reset::Before) => [0, 1, NOTHING, NOTHING],
            Cell::Lstm => [0, 1, 2, 3],
        }
    }

    /// The same for what is made of the inputs.
    fn input_slots(&self) -> Slots {
        match self.problem.cell {
            Cell::Rnn(_) => [0, NOTHING, NOTHING, NOTHING],
            Cell::Gru(_) => [0, 1, 2, NOTHING],
            Cell::Lstm => [0, 1, 2, 3],
        }
    }

    /// The inverse: the slot of each gate of PyTorch's, for gradients of input weights and of recurrent ones.
    pub fn gates_of(&self, recurrent: bool) -> Slots {
        match self.problem.cell {
            Cell::Gru(Reset::After) if recurrent => [0, 1, 3, NOTHING],
            _ => [0, 1, 2, 3],
        }
    }

    /// Slots of a unit: four, or one in an RNN.
    pub fn slots(&self) -> usize {
        if matches!(self.problem.cell, Cell::Rnn(_)) { 1 } else { 4 }
    }

    /// Units that steps have: those of an RNN are filled up.
    fn units(&self) -> usize {
        self.gate_columns() / self.slots()
    }

    /// A weight of each direction, PyTorch's `[gates·hidden, columns]`, as `[directions, units, slots, columns filled up to pitch]`.
    fn side_by_side(
        &self,
        gpu: &Gpu,
        source: impl Fn(&Weights<'a>) -> &'a Tensor,
        columns: usize,
        pitch: usize,
        slots: Slots,
    ) -> Result<Tensor> {
        let (p, op) = (self.problem, self.problem.cell.op());
        let (units, count) = (self.units(), self.slots());
        let y = gpu.empty(DType::F32, &[p.directions, units, count, pitch])?;
        for (direction, weights) in self.weights.iter().enumerate() {
            let from = Place { tensor: source(weights), start: 0, strides: [columns, p.hidden * columns, 1] };
            let to = Place { tensor: &y, start: direction * units * count * pitch, strides: [count * pitch, pitch, 1] };
            let size = [units, count, pitch];
            Arrange { given: [p.hidden, columns], slots: Some(slots), ..Arrange::new(op, from, to, size) }.run(gpu)?;
        }
        Ok(y)
    }

    /// The input weight as `[directions·gate columns, inputs]`.
    pub fn input_weight(&self, gpu: &Gpu) -> Result<Tensor> {
        let inputs = self.problem.layer_input(self.index);
        self.side_by_side(gpu, |w| w.weight_ih, inputs, inputs, self.input_slots())
    }

    /// Both biases added up, `[directions·gate columns]`.
    pub fn bias(&self, gpu: &Gpu) -> Result<Option<Tensor>> {
        let (p, op) = (self.problem, self.problem.cell.op());
        if !p.bias {
            return Ok(None);
        }
        // U's bias is added where the product is not: before the reset gate in a GRU that resets after.
        let after = if p.cell == Cell::Gru(Reset::After) { self.recurrent_slots() } else { self.input_slots() };
        let (units, count) = (self.units(), self.slots());
        let y = gpu.empty(DType::F32, &[p.directions * units * count])?;
        for (direction, weights) in self.weights.iter().enumerate() {
            for (n, tensor) in weights.bias.into_iter().flatten().enumerate() {
                let from = Place { tensor, start: 0, strides: [1, p.hidden, 1] };
                let to = Place { tensor: &y, start: direction * units * count, strides: [count, 1, 1] };
                let slots = Some(if n == 0 { self.input_slots() } else { after });
                let arrange = Arrange { given: [p.hidden, 1], slots, accumulate: n > 0, ..Arrange::new(op, from, to, [units, count, 1]) };
                arrange.run(gpu)?;
            }
        }
        Ok(Some(y))
    }

    /// The weight that a pass multiplies with, its columns and its depth.
    fn weight(&self, gpu: &Gpu, pass: Pass) -> Result<(Tensor, usize, usize)> {
        let (p, op) = (self.problem, self.problem.cell.op());
        let output = filled(p.output);
        // A matrix of each direction with its rows filled up; `turned` exchanges rows and columns.
        let matrix = |source: &dyn Fn(&Weights<'a>) -> &'a Tensor,
                      skip: usize,
                      [rows, columns]: [usize; 2],
                      turned: bool|
         -> Result<(Tensor, usize, usize)> {
            let strides = if turned { [1, 0, columns] } else { [columns, 0, 1] };
            let given = if turned { [columns, rows] } else { [rows, columns] };
            let size = given.map(filled);
            let y = gpu.empty(DType::F32, &[p.directions, size[0], size[1]])?;
            for (direction, weights) in self.weights.iter().enumerate() {
                let from = Place { tensor: source(weights), start: skip, strides };
                let to = Place { tensor: &y, start: direction * size[0] * size[1], strides: [size[1], 0, 1] };
                Arrange { given, ..Arrange::new(op, from, to, [size[0], 1, size[1]]) }.run(gpu)?;
            }
            Ok((y, size[0], size[1]))
        };
        let recurrent = |w: &Weights<'a>| w.weight_hh;
        let projection = |w: &Weights<'a>| w.weight_hr.unwrap_or_else(|| unreachable!("the problem has a projection"));
        match pass {
            Pass::LstmForward { .. } | Pass::GruForward(_) => {
                let y = self.side_by_side(gpu, recurrent, p.output, output, self.recurrent_slots())?;
                Ok((y, 4 * p.hidden, output))
            }
            Pass::RnnForward(_) => matrix(&recurrent, 0, [p.hidden, p.hidden], false),
            Pass::RnnBackward(_) => matrix(&recurrent, 0, [p.hidden, p.hidden], true),
            Pass::LstmForwardProjection => matrix(&projection, 0, [p.output, p.hidden], false),
            Pass::LstmBackward { projected: true, .. } => matrix(&projection, 0, [p.output, p.hidden], true),
            // The rows of n are the last third.
            Pass::GruForwardCandidate => matrix(&recurrent, 2 * p.hidden * p.hidden, [p.hidden, p.hidden], false),
            Pass::GruBackwardReset => matrix(&recurrent, 2 * p.hidden * p.hidden, [p.hidden, p.hidden], true),
            Pass::GruBackward(_) | Pass::LstmBackward { projected: false, .. } | Pass::LstmBackwardProjection => {
                let y = gpu.empty(DType::F32, &[p.directions, output, 4 * p.hidden])?;
                for (direction, weights) in self.weights.iter().enumerate() {
                    // y[direction, j, unit, slot] = U[gate, unit, j], with units as rows of the copy and j as its columns.
                    let from = Place { tensor: weights.weight_hh, start: 0, strides: [p.output, p.hidden * p.output, 1] };
                    let to = Place { tensor: &y, start: direction * output * 4 * p.hidden, strides: [4, 1, 4 * p.hidden] };
                    let arrange = Arrange::new(op, from, to, [p.hidden, 4, output]);
                    Arrange { given: [p.hidden, p.output], slots: Some(self.recurrent_slots()), ..arrange }.run(gpu)?;
                }
                Ok((y, output, 4 * p.hidden))
            }
        }
    }

    /// The peepholes of each direction, `[directions, 3, hidden]`.
    fn peepholes(&self, gpu: &Gpu) -> Result<Option<Tensor>> {
        let p = self.problem;
        if p.peep == super::Peep::None {
            return Ok(None);
        }
        let y = gpu.empty(DType::F32, &[p.directions, 3, p.hidden])?;
        for (direction, weights) in self.weights.iter().enumerate() {
            let Some(tensor) = self.peep.or(weights.peep) else { unreachable!("the problem has peepholes") };
            let from = Place { tensor, start: 0, strides: [p.hidden, 0, 1] };
            let to = Place { tensor: &y, start: direction * 3 * p.hidden, strides: [p.hidden, 0, 1] };
            Arrange::new(p.cell.op(), from, to, [3, 1, p.hidden]).run(gpu)?;
        }
        Ok(Some(y))
    }

    /// Copies states of this layer, `[layers·directions, batch, elements]`, to a slot of `[slots, batch, directions, elements filled up]`;
    /// zeros where there are none. `slot` says which one a direction's is.
    pub fn states_in(&self, gpu: &Gpu, states: Option<&Tensor>, elements: usize, to: &Tensor, slot: impl Fn(usize) -> usize) -> Result<()> {
        let p = self.problem;
        let pitch = filled(elements);
        for direction in 0..p.directions {
            let start = (self.index * p.directions + direction) * p.batch * elements;
            let none = Place { tensor: self.zeros, start: 0, strides: [0; 3] };
            let from = states.map_or(none, |tensor| Place { tensor, start, strides: [elements, 0, 1] });
            let start = (slot(direction) * p.batch * p.directions + direction) * pitch;
            let to = Place { tensor: to, start, strides: [p.directions * pitch, 0, 1] };
            let given = if states.is_some() { [p.batch, elements] } else { [0; 2] };
            Arrange { given, ..Arrange::new(p.cell.op(), from, to, [p.batch, 1, pitch]) }.run(gpu)?;
        }
        Ok(())
    }

    /// Copies them back.
    pub fn states_out(&self, gpu: &Gpu, from: &Tensor, elements: usize, states: &Tensor, slot: impl Fn(usize) -> usize) -> Result<()> {
        let p = self.problem;
        let pitch = filled(elements);
        for direction in 0..p.directions {
            let start = (slot(direction) * p.batch * p.directions + direction) * pitch;
            let from = Place { tensor: from, start, strides: [p.directions * pitch, 0, 1] };
            let start = (self.index * p.directions + direction) * p.batch * elements;
            let to = Place { tensor: states, start, strides: [elements, 0, 1] };
            Arrange::new(p.cell.op(), from, to, [p.batch, 1, elements]).run(gpu)?;
        }
        Ok(())
    }

    /// Walks all steps: `operands` are what the passes bind but for weight, lengths and peepholes.
    pub fn walk(&self, gpu: &Gpu, params: StepParams, backward: bool, operands: &[Operand]) -> Result<()> {
        let p = self.problem;
        let tile = Tile::choose(gpu.caps(), p.batch);
        let passes = if backward { Pass::backward(p) } else { Pass::forward(p) };
        let peep = self.peepholes(gpu)?;
        let weights = passes.iter().map(|&pass| self.weight(gpu, pass)).collect::<Result<Vec<_>>>()?;
        let walks: Vec<Walk> = std::iter::zip(&passes, &weights)
            .map(|(&pass, (weight, columns, depth))| {
                let (columns, depth) = (*columns, *depth);
                let weight = Operand { direction: columns * depth, column: depth, run: depth, ..Operand::shared("weight", weight, true) };
                let lengths = Operand { batch: 1, run: 1, ..Operand::shared("lengths", self.lengths, false) };
                let peep = peep.as_ref().map(|peep| Operand {
                    direction: 3 * p.hidden,
                    run: 3 * p.hidden,
                    ..Operand::shared("peep", peep, false)
                });
                let params = StepParams { quads: (depth / 4) as u32, ..params };
                let operands = [weight, lengths].into_iter().chain(peep).chain(operands.iter().copied()).collect();
                Walk { op: p.cell.op(), variant: Step { pass, tile }, params, columns, depth, backward, operands }
            })
            .collect();
        // The backward's last step is the state before all steps, and has only the pass that makes the gradient of a state.
        let total = p.time + usize::from(backward);
        let together = walks.iter().map(|walk| walk.most(gpu)).min().unwrap_or(1).min(tile::steps(gpu, p));
        for first in (0..total).step_by(together) {
            let end = (first + together).min(total);
            for (n, walk) in walks.iter().enumerate() {
                if n == 0 || first < p.time {
                    walk.run(gpu, first..end)?;
                }
            }
        }
        Ok(())
    }

    /// The sizes that every step gets.
    pub fn params(&self) -> StepParams {
        let p = self.problem;
        StepParams {
            time: p.time as u32,
            batch: p.batch as u32,
            directions: p.directions as u32,
            hidden: p.hidden as u32,
            outputs: p.output as u32,
            ..Default::default()
        }
    }

    /// The same with an output's or its gradient's strides.
    pub fn params_with(&self, y: &Lanes) -> StepParams {
        StepParams {
            y_time: y.time as u32,
            y_batch: y.batch as u32,
            y_direction: y.direction as u32,
            y_unit: y.unit as u32,
            ..self.params()
        }
    }

    /// y or d_y as an operand.
    pub fn lanes<'b>(&self, name: &'static str, lanes: &Lanes<'b>) -> Operand<'b> {
        lanes.operand(name, self.problem.output)
    }

    /// The sizes of sequences and directions, for operands.
    pub fn rows(&self) -> [usize; 2] {
        [self.problem.batch, self.problem.directions]
    }
}
