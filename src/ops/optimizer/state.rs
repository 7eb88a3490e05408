//! The optimizer of a model: its parameters, the state of each, and the steps.

use super::gpu::{Piece, Update, bytes};
use super::gradients::together;
use super::options::{check_number, wrong};
use super::{Clip, OP, OptimizerOptions};
use crate::gpu::{Gpu, Tensor};
use crate::ops::host::{expect_dtype, expect_shape};
use crate::ops::strided::Dims;
use crate::ops::transpose::gpu::{clear, copy};
use crate::{DType, Result};

/// Parameters that are neighbours in memory, and their state.
#[derive(Clone, Debug)]
struct Run {
    /// All of them, with what lies between.
    whole: Tensor,
    /// Each one's place in the list of all parameters, and its first element in `whole`, in the order of memory.
    members: Vec<(usize, usize)>,
    /// One tensor for each of [`OptimizerOptions::states`], laid out as `whole`.
    state: Vec<Tensor>,
}

/// Steps of SGD, Adam or AdamW on the parameters of a model, which change in place.
///
/// ```
/// # use wattn::ops::optimizer::{Kind, Optimizer, OptimizerOptions, grad_norm};
/// # use wattn::{Array, Gpu, GpuOptions};
/// # let gpu = Gpu::new(&GpuOptions::default())?;
/// let (weight, bias) = (Array::f32(&[2, 2], vec![1.0, -2.0, 3.0, 4.0]), Array::f32(&[2], vec![0.5, 0.5]));
/// let parameters = gpu.upload_arena(&[&weight, &bias])?;
/// let options = OptimizerOptions { kind: Kind::AdamW, lr: 0.1, weight_decay: 0.01, ..Default::default() };
/// let mut optimizer = Optimizer::new(&gpu, &parameters, &options)?;
///
/// let gradients = [gpu.tensor(&[1.0f32; 4], &[2, 2])?, gpu.tensor(&[-1.0f32; 2], &[2])?];
/// let clip = grad_norm(&gpu, &gradients, 1.0)?;
/// optimizer.step(&gradients, Some(&clip))?;
/// // The first step of Adam is as long as the rate, and against the gradient's sign.
/// assert!((parameters[1].read_blocking::<f32>()?[0] - (0.5 * 0.999 + 0.1)).abs() < 1e-6);
/// # Ok::<(), wattn::Error>(())
/// ```
#[derive(Debug)]
pub struct Optimizer {
    gpu: Gpu,
    options: OptimizerOptions,
    shapes: Vec<Vec<usize>>,
    runs: Vec<Run>,
    steps: u64,
}

impl Optimizer {
    /// Of these parameters (f32, any shapes), whose state is zero. It keeps handles to them. Neighbours in memory, as [`Gpu::arena`] makes
    /// them, are worked on together, in whatever order they are given.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for options out of range and for parameters that overlap;
    /// [`Error::Dtype`](crate::Error::Dtype) for other types; those of [`Gpu::empty`].
    pub fn new(gpu: &Gpu, parameters: &[Tensor], options: &OptimizerOptions) -> Result<Self> {
        options.check()?;
        for (i, parameter) in parameters.iter().enumerate() {
            expect_dtype(OP, &format!("parameters[{i}]"), parameter, DType::F32)?;
        }
        let runs = neighbours(parameters, u64::from(gpu.caps().storage_alignment))?;
        let with_state = |mut run: Run| {
            let elements = run.whole.len();
            for _ in options.states() {
                let state = gpu.empty(DType::F32, &[elements])?;
                clear(gpu, &state, &run.whole)?;
                run.state.push(state);
            }
            Ok(run)
        };
        let runs = runs.into_iter().map(with_state).collect::<Result<_>>()?;
        let shapes = parameters.iter().map(|parameter| parameter.shape().to_vec()).collect();
        Ok(Optimizer { gpu: gpu.clone(), options: *options, shapes, runs, steps: 0 })
    }

    /// One step: `gradients[i]` is that of parameter i, f32 and of its shape, in other memory than the parameters and their state. With
    /// `clip` the gradients count as multiplied by its factor. Nothing is read back. O(elements), a dispatch for each eleven parameters that are
    /// neighbours, or each three on a device that binds fewer than sixteen buffers.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for another number of gradients than there are parameters, or one in the memory of
    /// parameters or state; [`Error::Shape`](crate::Error::Shape) and [`Error::Dtype`](crate::Error::Dtype) for gradients that do not fit; those
    /// of [`Gpu::dispatch`].
    pub fn step(&mut self, gradients: &[Tensor], clip: Option<&Clip>) -> Result<()> {
        if gradients.len() != self.shapes.len() {
            return Err(wrong("gradients", &format!("one for each of {} parameters", self.shapes.len()), gradients.len()));
        }
        for (i, (gradient, shape)) in gradients.iter().zip(&self.shapes).enumerate() {
            let name = format!("gradients[{i}]");
            expect_dtype(OP, &name, gradient, DType::F32)?;
            expect_shape(OP, &name, gradient.shape(), shape)?;
        }
        // No dispatch may read and write one buffer.
        let written = |gradient: &Tensor| {
            let mut own = self.runs.iter().flat_map(|run| run.state.iter().chain([&run.whole]));
            own.any(|tensor| gradient.bytes_after(tensor).is_some())
        };
        if let Some(i) = gradients.iter().position(written) {
            return Err(wrong(&format!("gradients[{i}]"), "a tensor in other memory than parameters and state", "one in the same"));
        }
        let t = self.steps + 1;
        self.runs.iter().try_for_each(|run| self.step_run(run, gradients, clip, t))?;
        self.steps = t;
        Ok(())
    }

    fn step_run(&self, run: &Run, gradients: &[Tensor], clip: Option<&Clip>, t: u64) -> Result<()> {
        let room = self.gpu.elements_at_once(bytes(run.state.len()), run.whole.len());
        let update = Update { options: &self.options, t, parameters: &run.whole, state: &run.state, clip };
        let (most, mut group): (usize, Vec<Piece>) = (together(self.gpu.caps()), vec![]);
        for &(parameter, start) in &run.members {
            let gradient = &gradients[parameter];
            for first in (0..gradient.len()).step_by(room) {
                let piece = Piece { gradient, first, place: start + first, count: room.min(gradient.len() - first) };
                let fits = |from: &Piece| piece.place + piece.count - from.place <= room;
                if group.len() == most || !group.first().is_none_or(fits) {
                    update.run(&self.gpu, &group)?;
                    group.clear();
                }
                group.push(piece);
            }
        }
        update.run(&self.gpu, &group)
    }

    /// The options, with the rate that the next step has.
    pub fn options(&self) -> &OptimizerOptions {
        &self.options
    }

    /// The rate of the steps to come: a schedule sets it before each.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for one that is negative or no number.
    pub fn set_lr(&mut self, lr: f64) -> Result<()> {
        check_number("lr", lr)?;
        self.options.lr = lr;
        Ok(())
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Says how many steps there were, for going on from a checkpoint.
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// The state of a parameter by name, in its shape: m, v and vmax, or buf, as far as the options have them. These are the tensors that
    /// the steps change, and not copies.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) when there is no such parameter.
    pub fn state(&self, parameter: usize) -> Result<Vec<(&'static str, Tensor)>> {
        let place = |run: &Run| run.members.iter().find(|(i, _)| *i == parameter).map(|&(_, start)| start);
        let found = self.runs.iter().find_map(|run| Some((run, place(run)?)));
        let (run, start) = found.ok_or_else(|| wrong("parameter", &format!("below {}", self.shapes.len()), parameter))?;
        let named = self.options.states().iter().zip(&run.state);
        named.map(|(&name, state)| Ok((name, state.part(start, &self.shapes[parameter])?))).collect()
    }

    /// The state of the first parameters that are neighbours, as it lies in memory.
    pub(super) fn whole_state(&self) -> &[Tensor] {
        self.runs.first().map_or(&[], |run| &run.state)
    }

    /// Copies `value`, f32 and of the parameter's shape, to its state of this name.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) when there is no such parameter or state, or `value` is in the memory of the state;
    /// [`Error::Shape`](crate::Error::Shape) and [`Error::Dtype`](crate::Error::Dtype) when it does not fit; those of [`Gpu::dispatch`].
    pub fn set_state(&mut self, parameter: usize, name: &str, value: &Tensor) -> Result<()> {
        let state = self.state(parameter)?.into_iter().find(|(own, _)| *own == name);
        let (_, state) = state.ok_or_else(|| wrong("name", &format!("one of {:?}", self.options.states()), format!("'{name}'")))?;
        expect_dtype(OP, name, value, DType::F32)?;
        expect_shape(OP, name, value.shape(), state.shape())?;
        if value.bytes_after(&state).is_some() {
            return Err(wrong(name, "a tensor in other memory than the state", "one in the same"));
        }
        copy_all(&self.gpu, value, &state)
    }
}

/// Copies one tensor to another of as many elements, in other memory.
pub(super) fn copy_all(gpu: &Gpu, from: &Tensor, to: &Tensor) -> Result<()> {
    copy(gpu, OP, from, to, [0, 0], &Dims::new([(to.len(), [1, 1])]))
}

/// The parameters in runs: those that lie in the same memory, one behind the other, with less than an alignment between.
fn neighbours(parameters: &[Tensor], alignment: u64) -> Result<Vec<Run>> {
    // By their memory, with each one's distance from the first that was met there.
    let mut memories: Vec<Vec<(i64, usize)>> = vec![];
    for (i, parameter) in parameters.iter().enumerate() {
        let distance = |memory: &&mut Vec<(i64, usize)>| parameter.bytes_after(&parameters[memory[0].1]);
        match memories.iter_mut().find_map(|memory| distance(&memory).map(|bytes| (memory, bytes))) {
            Some((memory, bytes)) => memory.push((bytes, i)),
            None => memories.push(vec![(0, i)]),
        }
    }
    let mut runs = vec![];
    for mut memory in memories {
        memory.sort_unstable();
        let mut members: Vec<(i64, usize)> = vec![];
        for (at, i) in memory {
            if let Some(&(before, last)) = members.last() {
                let end = before + parameters[last].bytes() as i64;
                if at < end {
                    return Err(wrong(&format!("parameters[{i}]"), "a tensor of its own", format!("one that overlaps parameters[{last}]")));
                }
                if at - end >= alignment as i64 {
                    runs.push(run(parameters, &members));
                    members.clear();
                }
            }
            members.push((at, i));
        }
        runs.push(run(parameters, &members));
    }
    Ok(runs)
}

fn run(parameters: &[Tensor], members: &[(i64, usize)]) -> Run {
    let ((start, first), (_, last)) = (members[0], members[members.len() - 1]);
    let whole = parameters[first].through(&parameters[last]);
    let members = members.iter().map(|&(at, i)| (i, (at - start) as usize / DType::F32.bytes())).collect();
    Run { whole, members, state: vec![] }
}
