//! Walks time steps: which dispatches, over what of each tensor.
//!
//! A dispatch binds what its steps reach of each tensor. Where that is more than a binding, the steps are cut in halves, then the
//! directions, the columns and the sequences. Steps follow one another; the parts of a step do not depend on each other.

use std::ops::Range;

use super::kernels::{Step, StepParams};
use crate::gpu::{Access, Bind, Gpu, Tensor, Variant, View, Work, spread};
use crate::{DType, Error, Result};

/// Which part of a tensor along time a step reaches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Along {
    /// None: the tensor does not go along time.
    Nothing,
    /// Its own time.
    Now,
    /// Its own time, and the one after it in the direction of the layer.
    Next,
    /// The slots of the state before it and after it.
    Slots,
}

/// A tensor of the walk: where a sequence's, direction's and time's elements are, and how many are reached there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand<'a> {
    /// The binding in the kernel.
    pub name: &'static str,
    pub tensor: &'a Tensor,
    /// Bound as vectors of 4.
    pub vectors: bool,
    pub along: Along,
    pub time: usize,
    pub batch: usize,
    pub direction: usize,
    /// From one column to the next, of what each column has for itself alone.
    pub column: usize,
    /// Elements that are reached at one place.
    pub run: usize,
}

impl<'a> Operand<'a> {
    /// What all steps, sequences and directions share.
    pub fn shared(name: &'static str, tensor: &'a Tensor, vectors: bool) -> Self {
        Operand { name, tensor, vectors, along: Along::Nothing, time: 0, batch: 0, direction: 0, column: 0, run: tensor.len() }
    }

    /// `[times or slots, batch, directions, run]`, in that order in memory.
    pub fn rows(name: &'static str, tensor: &'a Tensor, vectors: bool, [batch, directions]: [usize; 2], along: Along) -> Self {
        let run = tensor.shape()[3];
        let time = batch * directions * run;
        Operand { name, tensor, vectors, along, time, batch: directions * run, direction: run, column: 0, run }
    }
}

/// Steps of one pass over all of a layer.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    pub op: &'static str,
    pub variant: Step,
    /// The sizes; the walk fills in the rest.
    pub params: StepParams,
    /// Columns of the product, and its depth.
    pub columns: usize,
    pub depth: usize,
    /// Whether it goes against time.
    pub backward: bool,
    pub operands: Vec<Operand<'a>>,
}

/// Floating-point operations that a single workgroup does in a fraction of a second on a slow device, one step after the other.
const ALONE: f64 = 2e8;

/// What a dispatch does.
#[derive(Clone, Debug)]
struct Region {
    steps: Range<usize>,
    directions: Range<usize>,
    columns: Range<usize>,
    batch: Range<usize>,
}

impl Walk<'_> {
    /// Records the steps.
    ///
    /// # Errors
    /// [`Error::Limit`] when one tile of one step is more than a binding, and those of [`Gpu::dispatch`].
    pub fn run(&self, gpu: &Gpu, steps: Range<usize>) -> Result<()> {
        let directions = 0..self.params.directions as usize;
        self.cut(gpu, Region { steps, directions, columns: 0..self.columns, batch: 0..self.params.batch as usize })
    }

    /// The most steps that one dispatch should have.
    pub fn most(&self, gpu: &Gpu) -> usize {
        let tiles = self.columns.div_ceil(self.variant.tile.columns());
        let flops = self.flops(1, self.columns, self.params.batch as usize, self.params.directions as usize);
        let alone = self.flops(1, self.columns, self.variant.tile.rows(), 1);
        let by_time = (1.0 / gpu.share(Work { flops, bytes: 0.0 }, 0)).min(ALONE / alone) as usize;
        // Of each tile: the depth of the product, the rows of an invocation with up to four units each, and what is handed over.
        let rounds = tiles * (self.depth / 4 + 8 * 5 + 8);
        let by_rounds = gpu.caps().max_rounds.map_or(usize::MAX, |max| max as usize / 2 / rounds);
        by_time.min(by_rounds).max(1)
    }

    fn flops(&self, steps: usize, columns: usize, batch: usize, directions: usize) -> f64 {
        2.0 * steps as f64 * columns as f64 * self.depth as f64 * (batch * directions) as f64
    }

    fn cut(&self, gpu: &Gpu, region: Region) -> Result<()> {
        let caps = gpu.caps();
        let bytes = |operand: &Operand| self.reach(operand, &region).len() * DType::F32.bytes();
        let halves = |range: &Range<usize>, unit: usize| {
            let half = range.start + (range.len() / 2).next_multiple_of(unit).min(range.len());
            [range.start..half, half..range.end]
        };
        let tile = self.variant.tile;
        let large = self.operands.iter().find(|operand| bytes(operand) > caps.max_window());
        // Steps that take too long together are the caller's to cut. Sequences and columns of one step do not touch one another.
        let flops = self.flops(1, region.columns.len(), region.batch.len(), region.directions.len());
        let too_long = region.steps.len() == 1 && gpu.share(Work { flops, bytes: 0.0 }, 0) > 1.0;
        if large.is_none() && !too_long {
            return self.dispatch(gpu, &region);
        }
        if region.steps.len() > 1 {
            let halves = halves(&region.steps, 1);
            return halves.into_iter().try_for_each(|steps| self.cut(gpu, Region { steps, ..region.clone() }));
        }
        if region.directions.len() > 1 {
            let halves = halves(&region.directions, 1);
            return halves.into_iter().try_for_each(|directions| self.cut(gpu, Region { directions, ..region.clone() }));
        }
        // Less than a tile takes no less time.
        let [least, one] = if large.is_some() { [self.variant.pass.together(), 1] } else { [tile.columns(), tile.rows()] };
        if large.is_none_or(|operand| operand.column > 0) && region.columns.len() > least {
            let halves = halves(&region.columns, if region.columns.len() > tile.columns() { tile.columns() } else { least });
            return halves.into_iter().try_for_each(|columns| self.cut(gpu, Region { columns, ..region.clone() }));
        }
        if large.is_none_or(|operand| operand.batch > 0) && region.batch.len() > one {
            let halves = halves(&region.batch, if region.batch.len() > tile.rows() { tile.rows() } else { one });
            return halves.into_iter().try_for_each(|batch| self.cut(gpu, Region { batch, ..region.clone() }));
        }
        let Some(large) = large else { return self.dispatch(gpu, &region) };
        let what = format!("bytes of '{}' for one sequence and step, with its alignment, which one binding must hold", large.name);
        Err(Error::Limit { op: self.op, what, limit: caps.max_binding, got: bytes(large) as u64 + u64::from(caps.storage_alignment) })
    }

    /// The elements of a tensor that a region reaches.
    fn reach(&self, operand: &Operand, region: &Region) -> Range<usize> {
        let (first, last) = self.times(operand.along, region);
        let along = |time: usize, batch: usize, direction: usize, column: usize| {
            time * operand.time + batch * operand.batch + direction * operand.direction + column * operand.column
        };
        let low = along(first, region.batch.start, region.directions.start, region.columns.start);
        let high = along(last, region.batch.end - 1, region.directions.end - 1, region.columns.end - 1);
        low..(high + operand.run).min(operand.tensor.len())
    }

    /// The first and the last time, or slot, that a region reaches.
    fn times(&self, along: Along, region: &Region) -> (usize, usize) {
        let time = self.params.time as isize;
        // In the direction of the layer; the backward also has the place before all steps, which is -1.
        let (first, last) = (region.steps.start as isize, region.steps.end as isize - 1);
        let (first, last) = if self.backward { (time - 1 - last, time - 1 - first) } else { (first, last) };
        let last = if matches!(along, Along::Next) { last + 1 } else { last };
        let one = |direction: usize| if direction == 0 { [first, last] } else { [time - 1 - last, time - 1 - first] };
        let ends: Vec<isize> = region.directions.clone().flat_map(one).collect();
        let (low, high) = ends.iter().fold((isize::MAX, isize::MIN), |(low, high), &end| (low.min(end), high.max(end)));
        let inside = |at: isize, count: isize| at.clamp(0, count - 1) as usize;
        match along {
            Along::Nothing => (0, 0),
            Along::Now | Along::Next => (inside(low, time), inside(high, time)),
            Along::Slots => (inside(low, time + 1), inside(high + 1, time + 1)),
        }
    }

    fn dispatch(&self, gpu: &Gpu, region: &Region) -> Result<()> {
        let tile = self.variant.tile;
        let tiles = region.columns.len().div_ceil(tile.columns());
        let [across, tiles] = if region.steps.len() > 1 { [1, tiles] } else { [tiles, 1] };
        let down = region.batch.len().div_ceil(tile.rows());
        let workgroups = across * down * region.directions.len();
        let mut params = StepParams {
            first: region.steps.start as u32,
            steps: region.steps.len() as u32,
            batch_begin: region.batch.start as u32,
            batch_end: region.batch.end as u32,
            direction_begin: region.directions.start as u32,
            column_begin: region.columns.start as u32,
            column_end: region.columns.end as u32,
            tiles: tiles as u32,
            across: across as u32,
            down: down as u32,
            workgroups: workgroups as u32,
            ..self.params
        };
        let knobs = self.variant.knobs();
        let mut bytes = 0.0;
        let bind = |binding: &crate::gpu::Binding| {
            if !binding.present(&knobs) {
                return Bind::Absent;
            }
            let Some(operand) = self.operands.iter().find(|operand| operand.name == binding.name) else {
                unreachable!("{} has no operand for {}", self.variant.kernel().name, binding.name)
            };
            let reach = self.reach(operand, region);
            bytes += 4.0 * reach.len() as f64;
            let view = operand.tensor.window(reach.start, reach.len());
            *base_of(&mut params, operand.name) = base(operand, &reach, &view);
            match binding.access {
                Access::Read => Bind::Read(view),
                Access::ReadWrite => Bind::Write(view),
            }
        };
        let binds: Vec<Bind> = self.variant.kernel().bindings.iter().map(bind).collect();
        let flops = self.flops(region.steps.len(), region.columns.len(), region.batch.len(), region.directions.len());
        gpu.dispatch(self.variant, &params, &binds, spread(workgroups, gpu.caps()), Work { flops, bytes })
    }
}

/// What the kernel adds to an index into the whole tensor to get one into the binding. It may be negative, and wraps around as u32 does.
fn base(operand: &Operand, reach: &Range<usize>, view: &View) -> u32 {
    let unit = if operand.vectors { 4 } else { 1 };
    (view.base() / unit).wrapping_sub((reach.start / unit as usize) as u32)
}

/// The parameter for the base of a binding.
fn base_of<'a>(params: &'a mut StepParams, name: &str) -> &'a mut u32 {
    match name {
        "weight" => &mut params.weight_base,
        "lengths" => &mut params.lengths_base,
        "peep" => &mut params.peep_base,
        "gates" => &mut params.gates_base,
        "h" => &mut params.h_base,
        "cells" => &mut params.cells_base,
        "output" | "d_y" => &mut params.y_base,
        "m" | "d_p" => &mut params.m_base,
        "d_h" => &mut params.d_h_base,
        "d_c" => &mut params.d_c_base,
        "reset" | "d_n" => &mut params.scratch_base,
        other => unreachable!("no parameter for the base of {other}"),
    }
}
