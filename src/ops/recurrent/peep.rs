//! The gradients of an LSTM's peepholes: the host side of shaders/lstm/backward_peep.wgsl.

use super::Problem;
use super::layer::filled;
use crate::gpu::{AnyVariant, Bind, Gpu, Kernel, Knobs, Tensor, Variant, Work, spread};
use crate::ops::lstm;
use crate::{DType, Error, Result};

crate::params! {
    /// As in shaders/lstm/backward_peep.wgsl.
    pub(crate) struct PeepParams {
        rows: u32, batch: u32, directions: u32, hidden: u32, accumulate: u32, workgroups: u32,
        gates_base: u32, cells_base: u32, d_peep_base: u32, padding_0: u32, padding_1: u32, padding_2: u32,
    }
}

/// Invocations of a workgroup, and the units that they have.
const LANES: usize = 256;
const UNITS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct BackwardPeep;

impl Variant for BackwardPeep {
    fn kernel(&self) -> &'static Kernel {
        &lstm::gpu::BACKWARD_PEEP
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", LANES as u32).u32("UNITS", UNITS as u32)
    }
}

/// The kernel's one variant.
pub(super) fn kernel() -> AnyVariant {
    AnyVariant::of(BackwardPeep)
}

/// `[directions, 3, hidden]` from the gradients of the sums and the cells. Times that one binding cannot hold are added one after the
/// other.
pub(super) fn gradient(gpu: &Gpu, p: &Problem, gates: &Tensor, cells: &Tensor) -> Result<Tensor> {
    let d_peep = gpu.empty(DType::F32, &[p.directions, 3, p.hidden])?;
    let (caps, row, cell_row) = (gpu.caps(), p.directions * 4 * p.hidden, p.directions * filled(p.hidden));
    let room = caps.max_window() / DType::F32.bytes();
    let by_rounds = caps.max_rounds.map_or(usize::MAX, |max| max as usize / 2 * (LANES / UNITS));
    let rows = (room / row).min((room / cell_row).saturating_sub(p.batch)).min(by_rounds);
    if rows == 0 {
        let what = "bytes of all sequences' cells at one time".into();
        return Err(Error::Limit { op: p.cell.op(), what, limit: caps.max_binding, got: 4 * ((p.batch + 1) * cell_row) as u64 });
    }
    for first in (0..p.time * p.batch).step_by(rows) {
        let rows = rows.min(p.time * p.batch - first);
        let gates = gates.window(first * row, rows * row);
        let cells = cells.window(first * cell_row, (rows + p.batch) * cell_row);
        let to = d_peep.view();
        let workgroups = p.hidden.div_ceil(UNITS) * p.directions;
        let params = PeepParams {
            rows: rows as u32,
            batch: p.batch as u32,
            directions: p.directions as u32,
            hidden: p.hidden as u32,
            accumulate: u32::from(first > 0),
            workgroups: workgroups as u32,
            gates_base: gates.base() / 4,
            cells_base: cells.base(),
            d_peep_base: to.base(),
            padding_0: 0,
            padding_1: 0,
            padding_2: 0,
        };
        let work = Work { flops: 6.0 * (rows * p.directions * p.hidden) as f64, bytes: 4.0 * (rows * (row + 2 * cell_row)) as f64 };
        gpu.dispatch(BackwardPeep, &params, &[Bind::Read(gates), Bind::Read(cells), Bind::Write(to)], spread(workgroups, caps), work)?;
    }
    Ok(d_peep)
}
