//! The forward of one layer: one product with all inputs, then the steps.

use super::Cell;
use super::kernels::StepParams;
use super::layer::{Kept, Lanes, Layer, filled};
use super::walk::{Along, Operand};
use crate::gpu::{Gpu, Tensor};
use crate::ops::matmul::gpu as matmul;
use crate::ops::product::{Extra, Matrices, Product};
use crate::{DType, Result};

/// The states of all layers, `[layers·directions, batch, elements]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct States<'a> {
    pub h0: Option<&'a Tensor>,
    pub c0: Option<&'a Tensor>,
    pub hn: &'a Tensor,
    pub cn: Option<&'a Tensor>,
}

impl Layer<'_> {
    /// Makes y, and this layer's part of hn and cn, from x `[time, batch, columns]`. What the backward needs comes back with `keep`.
    pub fn forward(&self, gpu: &Gpu, x: &Tensor, states: &States, y: Lanes, keep: bool) -> Result<Option<Kept>> {
        let p = self.problem;
        let (hidden, output, rows) = (filled(p.hidden), filled(p.output), self.rows());
        let gates = self.sums(gpu, x)?;
        // A ring of slots where nothing is kept: a step reads one of h while it writes another, and a cell is its unit's own.
        let [h_slots, cell_slots, m_slots] = if keep { [p.time + 1, p.time + 1, p.time] } else { [2, 1, 1] };
        let empty = |slots: usize, elements: usize| gpu.empty(DType::F32, &[slots, p.batch, p.directions, elements]);
        let initial = |slots: usize| move |direction: usize| if direction == 0 { 0 } else { p.time % slots };
        let last = |slots: usize| move |direction: usize| if direction == 0 { p.time % slots } else { 0 };
        let h = empty(h_slots, output)?;
        self.states_in(gpu, states.h0, p.output, &h, initial(h_slots))?;
        let lstm = p.cell == Cell::Lstm;
        let cells = lstm.then(|| empty(cell_slots, hidden)).transpose()?;
        if let Some(cells) = &cells {
            self.states_in(gpu, states.c0, p.hidden, cells, initial(cell_slots))?;
        }
        let m = p.projection.then(|| empty(m_slots, hidden)).transpose()?;
        let reset = (p.cell == Cell::Gru(super::Reset::Before)).then(|| empty(1, hidden)).transpose()?;
        let mut operands = vec![
            Operand::rows("gates", &gates, true, rows, Along::Now),
            ring(Operand::rows("h", &h, true, rows, Along::Slots), h_slots, keep),
            self.lanes("output", &y),
        ];
        operands.extend(cells.as_ref().map(|cells| ring(Operand::rows("cells", cells, false, rows, Along::Slots), cell_slots, keep)));
        operands.extend(m.as_ref().map(|m| ring(Operand::rows("m", m, true, rows, Along::Now), m_slots, keep)));
        operands.extend(reset.as_ref().map(|reset| Operand::rows("reset", reset, true, rows, Along::Nothing)));
        let params = StepParams {
            h_slots: h_slots as u32,
            cell_slots: cell_slots as u32,
            m_slots: m_slots as u32,
            keep: u32::from(keep),
            ..self.params_with(&y)
        };
        self.walk(gpu, params, false, &operands)?;
        self.states_out(gpu, &h, p.output, states.hn, last(h_slots))?;
        if let (Some(cells), Some(cn)) = (&cells, states.cn) {
            self.states_out(gpu, cells, p.hidden, cn, last(cell_slots))?;
        }
        let gates = Some(gates).filter(|_| !matches!(p.cell, Cell::Rnn(_)));
        Ok(keep.then(|| Kept { x: x.clone(), gates, h, cells, m }))
    }

    /// The input's part of every gate's sum at all times, `[time, batch, directions, gate columns]`.
    fn sums(&self, gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
        let p = self.problem;
        let (inputs, columns) = (p.layer_input(self.index), p.directions * self.gate_columns());
        let gates = gpu.empty(DType::F32, &[p.time, p.batch, p.directions, self.gate_columns()])?;
        let (weight, bias) = (self.input_weight(gpu)?, self.bias(gpu)?);
        let product = Product {
            op: p.cell.op(),
            batch: &[],
            m: p.time * p.batch,
            n: columns,
            k: inputs,
            scale: 1.0,
            accumulate: false,
            a: Matrices { tensor: x, start: 0, row: inputs, col: 1, batch: &[] },
            b: Matrices { tensor: &weight, start: 0, row: 1, col: inputs, batch: &[] },
            extra: bias.as_ref().map_or(Extra::None, |tensor| Extra::OfY(Matrices { tensor, start: 0, row: 0, col: 1, batch: &[] })),
            y: Matrices { tensor: &gates, start: 0, row: columns, col: 1, batch: &[] },
        };
        // Steps in one call or in many: the same bits.
        matmul::run_by_tiles(gpu, &product)?;
        Ok(gates)
    }
}

/// Where nothing is kept there are only as many slots as a step needs, and each of them is reached at all times.
fn ring(operand: Operand, slots: usize, keep: bool) -> Operand {
    if keep { operand } else { Operand { along: Along::Nothing, run: (slots - 1) * operand.time + operand.run, ..operand } }
}
