//! The backward of one layer: the steps against time, then one product for each gradient.

use super::arrange::{Arrange, Place};
use super::gpu::WeightGradients;
use super::kernels::StepParams;
use super::layer::{Kept, Lanes, Layer, filled};
use super::walk::{Along, Operand};
use super::{Cell, Peep, Reset, peep};
use crate::gpu::{Gpu, Tensor};
use crate::ops::product::{Extra, Matrices, Product};
use crate::ops::{matmul, sum, weighted_sum};
use crate::{DType, Result};

/// The gradients of the states of all layers, `[layers·directions, batch, elements]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateGradients<'a> {
    pub d_hn: Option<&'a Tensor>,
    pub d_cn: Option<&'a Tensor>,
    pub d_h0: &'a Tensor,
    pub d_c0: Option<&'a Tensor>,
}

impl Layer<'_> {
    /// Makes the gradients of x, `[time, batch, columns]`, and of the weights of each direction, and this layer's part of those of the
    /// initial states.
    pub fn backward(&self, gpu: &Gpu, kept: Kept, states: &StateGradients, d_y: Lanes) -> Result<(Tensor, Vec<WeightGradients>)> {
        let p = self.problem;
        let (hidden, output, rows) = (filled(p.hidden), filled(p.output), self.rows());
        let empty = |slots: usize, elements: usize| gpu.empty(DType::F32, &[slots, p.batch, p.directions, elements]);
        let Kept { x, gates, h, cells, m } = kept;
        let gates = gates.map_or_else(|| empty(p.time, self.gate_columns()), Ok)?;
        let d_h = empty(1, output)?;
        self.states_in(gpu, states.d_hn, p.output, &d_h, |_| 0)?;
        let d_c = cells.is_some().then(|| empty(1, hidden)).transpose()?;
        if let Some(d_c) = &d_c {
            self.states_in(gpu, states.d_cn, p.hidden, d_c, |_| 0)?;
        }
        let d_p = p.projection.then(|| empty(p.time, output)).transpose()?;
        let d_n = (p.cell == Cell::Gru(Reset::Before)).then(|| empty(1, hidden)).transpose()?;
        let mut operands = vec![
            Operand::rows("gates", &gates, true, rows, Along::Next),
            Operand::rows("h", &h, true, rows, Along::Slots),
            Operand::rows("d_h", &d_h, true, rows, Along::Nothing),
            self.lanes("d_y", &d_y),
        ];
        operands.extend(cells.as_ref().map(|cells| Operand::rows("cells", cells, true, rows, Along::Slots)));
        operands.extend(d_c.as_ref().map(|d_c| Operand::rows("d_c", d_c, true, rows, Along::Nothing)));
        operands.extend(d_p.as_ref().map(|d_p| Operand::rows("d_p", d_p, true, rows, Along::Now)));
        operands.extend(d_n.as_ref().map(|d_n| Operand::rows("d_n", d_n, true, rows, Along::Nothing)));
        let slots = (p.time + 1) as u32;
        let params = StepParams { h_slots: slots, cell_slots: slots, m_slots: p.time as u32, ..self.params_with(&d_y) };
        self.walk(gpu, params, true, &operands)?;
        self.states_out(gpu, &d_h, p.output, states.d_h0, |_| 0)?;
        if let (Some(d_c), Some(d_c0)) = (&d_c, states.d_c0) {
            self.states_out(gpu, d_c, p.hidden, d_c0, |_| 0)?;
        }

        let steps = Steps { layer: self, gates: &gates };
        let d_x = steps.d_x(gpu)?;
        let d_input = steps.d_input_weight(gpu, &x)?;
        let d_bias = p.bias.then(|| sum::rows(gpu, &gates, p.directions * self.gate_columns())).transpose()?;
        let d_peep = match (p.peep, &cells) {
            (Peep::None, _) | (_, None) => None,
            (_, Some(cells)) => Some(peep::gradient(gpu, p, &gates, cells)?),
        };
        let one = |direction: usize| {
            let inputs = p.layer_input(self.index);
            let d_weight_ih = gpu.empty(DType::F32, &[p.cell.gates() * p.hidden, inputs])?;
            steps.to_pytorch(gpu, &d_input, direction, &d_weight_ih, false)?;
            Ok(WeightGradients {
                d_weight_ih,
                d_weight_hh: steps.d_recurrent_weight(gpu, &h, direction)?,
                d_bias: d_bias.as_ref().map(|d_bias| steps.d_biases(gpu, d_bias, direction)).transpose()?,
                d_weight_hr: d_p.as_ref().zip(m.as_ref()).map(|(d_p, m)| steps.d_projection(gpu, d_p, m, direction)).transpose()?,
                d_peep: d_peep.as_ref().map(|d_peep| steps.d_peep(gpu, d_peep, direction)).transpose()?,
            })
        };
        Ok((d_x, (0..p.directions).map(one).collect::<Result<_>>()?))
    }
}

/// The gradients of all sums of gates, `[time, batch, directions, gate columns]`, from which the others are products.
struct Steps<'a> {
    layer: &'a Layer<'a>,
    gates: &'a Tensor,
}

impl Steps<'_> {
    /// y += a b over `[m, n, k]`. With lengths the gradients of steps past a sequence's end are marked as hidden, and what they would
    /// multiply is not used.
    fn product(&self, gpu: &Gpu, [m, n, k]: [usize; 3], a: Matrices, b: Matrices, y: Matrices) -> Result<()> {
        let op = self.layer.problem.cell.op();
        let product = Product { op, batch: &[], m, n, k, scale: 1.0, accumulate: false, a, b, extra: Extra::None, y };
        if self.layer.packed { weighted_sum::gpu::run(gpu, &product) } else { matmul::gpu::run_by_tiles(gpu, &product) }
    }

    /// The rows of all times and sequences, and the columns of a row of the gates.
    fn size(&self) -> (usize, usize) {
        let p = self.layer.problem;
        (p.time * p.batch, p.directions * self.layer.gate_columns())
    }

    /// d_x = d_sums W
    fn d_x(&self, gpu: &Gpu) -> Result<Tensor> {
        let p = self.layer.problem;
        let (rows, columns) = self.size();
        let inputs = p.layer_input(self.layer.index);
        let weight = self.layer.input_weight(gpu)?;
        let d_x = gpu.empty(DType::F32, &[p.time, p.batch, inputs])?;
        self.product(gpu, [rows, inputs, columns], matrix(self.gates, columns), matrix(&weight, inputs), matrix(&d_x, inputs))?;
        Ok(d_x)
    }

    /// d_W = d_sumsᵀ x of both directions, in the order of the gates here.
    fn d_input_weight(&self, gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
        let (rows, columns) = self.size();
        let inputs = self.layer.problem.layer_input(self.layer.index);
        let d_weight = gpu.empty(DType::F32, &[columns, inputs])?;
        let size = [columns, inputs, rows];
        self.product(gpu, size, matrix(self.gates, columns).transposed(), matrix(x, inputs), matrix(&d_weight, inputs))?;
        Ok(d_weight)
    }

    /// d_U = d_sumsᵀ h[t-1]
    fn d_recurrent_weight(&self, gpu: &Gpu, h: &Tensor, direction: usize) -> Result<Tensor> {
        let p = self.layer.problem;
        let (rows, columns) = self.size();
        let (own, output) = (self.layer.gate_columns(), filled(p.output));
        // The state before time t is in slot t, and for the reverse direction in slot t + 1.
        let before = matrix(h, p.directions * output).at(direction * p.batch * p.directions * output + direction * output);
        let d_sums = matrix(self.gates, columns).at(direction * own);
        let d_here = gpu.empty(DType::F32, &[own, p.output])?;
        self.product(gpu, [own, p.output, rows], d_sums.transposed(), before, matrix(&d_here, p.output))?;
        let d_weight = gpu.empty(DType::F32, &[p.cell.gates() * p.hidden, p.output])?;
        self.to_pytorch(gpu, &d_here, 0, &d_weight, true)?;
        if p.cell == Cell::Gru(Reset::Before) {
            // n's product is with r h, which is a unit's fourth gate; its own sum is the third.
            let d_sums = Matrices { col: 4, ..d_sums.at(2) };
            let reset = Matrices { col: 4, ..matrix(self.gates, columns).at(direction * own + 3) };
            let y = matrix(&d_weight, p.hidden).at(2 * p.hidden * p.hidden);
            self.product(gpu, [p.hidden, p.hidden, rows], d_sums.transposed(), reset, y)?;
        }
        Ok(d_weight)
    }

    /// d_W = d_pᵀ m
    fn d_projection(&self, gpu: &Gpu, d_p: &Tensor, m: &Tensor, direction: usize) -> Result<Tensor> {
        let p = self.layer.problem;
        let (hidden, output) = (filled(p.hidden), filled(p.output));
        let d_weight = gpu.empty(DType::F32, &[p.output, p.hidden])?;
        let d_p = matrix(d_p, p.directions * output).at(direction * output);
        let m = matrix(m, p.directions * hidden).at(direction * hidden);
        self.product(gpu, [p.output, p.hidden, self.size().0], d_p.transposed(), m, matrix(&d_weight, p.hidden))?;
        Ok(d_weight)
    }

    /// Copies a gradient of a direction with rows `[hidden, slots]` to PyTorch's `[gates, hidden]`.
    fn to_pytorch(&self, gpu: &Gpu, from: &Tensor, direction: usize, to: &Tensor, recurrent: bool) -> Result<()> {
        let p = self.layer.problem;
        let columns = to.shape().get(1).copied().unwrap_or(1);
        let slots = self.layer.slots();
        let start = direction * self.layer.gate_columns() * columns;
        let from = Place { tensor: from, start, strides: [slots * columns, columns, 1] };
        let to = Place { tensor: to, start: 0, strides: [columns, p.hidden * columns, 1] };
        let gates = self.layer.gates_of(recurrent);
        Arrange { slots: Some(gates), ..Arrange::new(p.cell.op(), from, to, [p.hidden, p.cell.gates(), columns]) }.run(gpu)
    }

    /// The gradients of bias_ih and bias_hh from the sums over all times and sequences.
    fn d_biases(&self, gpu: &Gpu, sums: &Tensor, direction: usize) -> Result<[Tensor; 2]> {
        let p = self.layer.problem;
        let one = |recurrent: bool| {
            let d_bias = gpu.empty(DType::F32, &[p.cell.gates() * p.hidden])?;
            self.to_pytorch(gpu, sums, direction, &d_bias, recurrent)?;
            Ok(d_bias)
        };
        Ok([one(false)?, one(true)?])
    }

    /// One direction's part of `[directions, 3, hidden]`.
    fn d_peep(&self, gpu: &Gpu, both: &Tensor, direction: usize) -> Result<Tensor> {
        let p = self.layer.problem;
        let d_peep = gpu.empty(DType::F32, &[3, p.hidden])?;
        let from = Place { tensor: both, start: direction * 3 * p.hidden, strides: [p.hidden, 0, 1] };
        let to = Place { tensor: &d_peep, start: 0, strides: [p.hidden, 0, 1] };
        Arrange::new(p.cell.op(), from, to, [3, 1, p.hidden]).run(gpu)?;
        Ok(d_peep)
    }
}

/// A matrix with rows of so many elements.
fn matrix(tensor: &Tensor, row: usize) -> Matrices<'_> {
    Matrices { tensor, start: 0, row, col: 1, batch: &[] }
}
