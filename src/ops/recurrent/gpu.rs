//! The layers on a device: all layers one after the other, forward and backward.

use super::arrange::{Arrange, Place};
use super::backward::StateGradients;
use super::forward::States;
use super::layer::{Kept, Lanes, Layer};
use super::{Cell, CellShapes, Options, Peep, Problem, Shapes, kernels};
use crate::gpu::{AnyVariant, Caps, Gpu, Tensor};
use crate::ops::dropout::{self, DropoutOptions};
use crate::ops::host::expect_dtype;
use crate::{DType, Result};

/// The weights of one layer and direction, f32, with PyTorch's names and layouts. A gate has H rows of a weight; an RNN has one, a GRU r, z
/// and n, an LSTM i, f, g and o.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// `[gates·H, I]`, or in layers after the first `[gates·H, directions·P]`.
    pub weight_ih: &'a Tensor,
    /// `[gates·H, P]`, where P is H without a projection.
    pub weight_hh: &'a Tensor,
    /// bias_ih and bias_hh, `[gates·H]` each.
    pub bias: Option<[&'a Tensor; 2]>,
    /// `[P, H]`: an LSTM's projection.
    pub weight_hr: Option<&'a Tensor>,
    /// `[3, H]`: an LSTM's peepholes to i, f and o, of this layer and direction alone.
    pub peep: Option<&'a Tensor>,
}

/// The tensors of a call.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `[T, B, I]`, or `[B, T, I]` with `batch_first`.
    pub x: &'a Tensor,
    /// `[layers·directions, B, P]`; zeros when absent.
    pub h0: Option<&'a Tensor>,
    /// `[layers·directions, B, H]`, of an LSTM; zeros when absent.
    pub c0: Option<&'a Tensor>,
    /// The steps of each sequence, 0 to T; all T when absent.
    pub lengths: Option<&'a [i32]>,
    /// Of each layer and direction, at layer · directions + direction.
    pub weights: &'a [Weights<'a>],
    /// `[3, H]`: peepholes that all layers and directions share.
    pub peep: Option<&'a Tensor>,
}

impl<'a> Inputs<'a> {
    /// Without initial states, lengths and peepholes.
    pub fn new(x: &'a Tensor, weights: &'a [Weights<'a>]) -> Self {
        Inputs { x, h0: None, c0: None, lengths: None, weights, peep: None }
    }

    fn problem(&self, cell: Cell, options: &Options, upstream: &Upstream) -> Result<Problem> {
        let shape = |tensor: Option<&'a Tensor>| tensor.map(Tensor::shape);
        let cells: Vec<CellShapes> = self
            .weights
            .iter()
            .map(|w| CellShapes {
                weight_ih: w.weight_ih.shape(),
                weight_hh: w.weight_hh.shape(),
                bias: w.bias.map(|bias| bias.map(Tensor::shape)),
                weight_hr: shape(w.weight_hr),
                peep: shape(w.peep),
            })
            .collect();
        let shapes = Shapes {
            x: self.x.shape(),
            h0: shape(self.h0),
            c0: shape(self.c0),
            cells: &cells,
            peep: shape(self.peep),
            d_y: upstream.d_y.map(Tensor::shape),
            d_hn: upstream.d_hn.map(Tensor::shape),
            d_cn: upstream.d_cn.map(Tensor::shape),
        };
        let problem = Problem::new(cell, options, &shapes)?;
        let own = self.weights.iter().flat_map(|w| {
            let bias = w.bias.into_iter().flat_map(|[ih, hh]| [("bias_ih", ih), ("bias_hh", hh)]);
            let optional = [("weight_hr", w.weight_hr), ("peep", w.peep)].into_iter().filter_map(|(name, tensor)| Some((name, tensor?)));
            [("weight_ih", w.weight_ih), ("weight_hh", w.weight_hh)].into_iter().chain(bias).chain(optional)
        });
        let whole = [
            ("h0", self.h0),
            ("c0", self.c0),
            ("peep", self.peep),
            ("d_y", upstream.d_y),
            ("d_hn", upstream.d_hn),
            ("d_cn", upstream.d_cn),
        ];
        let whole = whole.into_iter().filter_map(|(name, tensor)| Some((name, tensor?)));
        let all = [("x", self.x)].into_iter().chain(own).chain(whole);
        all.into_iter().try_for_each(|(name, tensor)| expect_dtype(cell.op(), name, tensor, DType::F32))?;
        Ok(problem)
    }
}

/// The results, f32.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// `[T, B, directions·P]`, or `[B, T, directions·P]` with `batch_first`; 0 past a sequence's length.
    pub y: Tensor,
    /// `[layers·directions, B, P]`: the states after each sequence's last step.
    pub hn: Tensor,
    /// `[layers·directions, B, H]`, of an LSTM.
    pub cn: Option<Tensor>,
}

/// The gradients of the results; what is absent counts as zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct Upstream<'a> {
    /// In y's shape.
    pub d_y: Option<&'a Tensor>,
    /// In hn's shape.
    pub d_hn: Option<&'a Tensor>,
    /// In cn's shape.
    pub d_cn: Option<&'a Tensor>,
}

/// The gradients of one layer's and direction's weights, each in the weight's shape, f32.
#[derive(Clone, Debug)]
pub struct WeightGradients {
    /// `[gates·H, I]`
    pub d_weight_ih: Tensor,
    /// `[gates·H, P]`
    pub d_weight_hh: Tensor,
    /// Of bias_ih and bias_hh, when there are biases.
    pub d_bias: Option<[Tensor; 2]>,
    /// `[P, H]`, when there is a projection.
    pub d_weight_hr: Option<Tensor>,
    /// `[3, H]`, when this layer and direction has peepholes of its own.
    pub d_peep: Option<Tensor>,
}

/// The gradients of a call, f32.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// In x's shape; 0 past a sequence's length.
    pub d_x: Tensor,
    /// `[layers·directions, B, P]`, whether h0 was given or not.
    pub d_h0: Tensor,
    /// `[layers·directions, B, H]`, of an LSTM.
    pub d_c0: Option<Tensor>,
    /// Of each layer and direction, in the order of the weights.
    pub weights: Vec<WeightGradients>,
    /// `[3, H]`, when all layers and directions share their peepholes.
    pub d_peep: Option<Tensor>,
}

/// What a forward keeps for its backward, which consumes it.
#[derive(Debug)]
pub struct Saved {
    problem: Problem,
    lengths: Option<Vec<i32>>,
    layers: Vec<Kept>,
}

/// A call on a device.
struct Call<'a> {
    gpu: &'a Gpu,
    problem: &'a Problem,
    inputs: &'a Inputs<'a>,
    packed: bool,
    lengths: Tensor,
    zeros: Tensor,
}

impl<'a> Call<'a> {
    fn new(gpu: &'a Gpu, problem: &'a Problem, inputs: &'a Inputs<'a>, lengths: Option<&[i32]>) -> Result<Self> {
        let steps: Vec<i32> = problem.lengths(lengths)?.into_iter().map(|length| length as i32).collect();
        let (lengths, packed) = (gpu.tensor(&steps, &[problem.batch])?, lengths.is_some());
        Ok(Call { gpu, problem, inputs, packed, lengths, zeros: gpu.tensor(&[0.0f32; 4], &[4])? })
    }

    fn layer(&self, index: usize) -> Layer<'_> {
        let own = index * self.problem.directions..(index + 1) * self.problem.directions;
        Layer {
            problem: self.problem,
            index,
            weights: &self.inputs.weights[own],
            peep: self.inputs.peep,
            lengths: &self.lengths,
            packed: self.packed,
            zeros: &self.zeros,
        }
    }

    /// `[time, batch, columns]` and `[batch, time, columns]`, one made of the other.
    fn exchanged(&self, from: &Tensor, shape: [usize; 3]) -> Result<Tensor> {
        let [outer, inner, columns] = shape;
        let to = self.gpu.empty(DType::F32, &shape)?;
        let source = Place { tensor: from, start: 0, strides: [columns, outer * columns, 1] };
        let target = Place { tensor: &to, start: 0, strides: [inner * columns, columns, 1] };
        Arrange::new(self.problem.cell.op(), source, target, [outer, inner, columns]).run(self.gpu)?;
        Ok(to)
    }

    /// Drops elements of what layer `index` gives, or of its gradient.
    fn dropout(&self, y: &Tensor, index: usize) -> Result<()> {
        let p = self.problem;
        let options = DropoutOptions { p: p.dropout_p, seed: p.seed };
        if p.dropout_p == 0.0 { Ok(()) } else { dropout::gpu::in_place(self.gpu, y, &options, index as u64 * y.len() as u64) }
    }

    fn forward(&self, keep: bool) -> Result<(Outputs, Vec<Kept>)> {
        let (p, gpu) = (self.problem, self.gpu);
        let y = gpu.empty(DType::F32, &p.y_shape())?;
        let hn = gpu.empty(DType::F32, &p.h_shape())?;
        let cn = (p.cell == Cell::Lstm).then(|| gpu.empty(DType::F32, &p.c_shape())).transpose()?;
        let states = States { h0: self.inputs.h0, c0: self.inputs.c0, hn: &hn, cn: cn.as_ref() };
        let mut kept = vec![];
        let mut x = if p.batch_first { self.exchanged(self.inputs.x, [p.time, p.batch, p.input])? } else { self.inputs.x.clone() };
        for index in 0..p.layers {
            let layer = self.layer(index);
            if index + 1 == p.layers {
                kept.extend(layer.forward(gpu, &x, &states, Lanes::of(p, &y, p.batch_first), keep)?);
            } else {
                let next = gpu.empty(DType::F32, &[p.time, p.batch, p.columns()])?;
                kept.extend(layer.forward(gpu, &x, &states, Lanes::of(p, &next, false), keep)?);
                self.dropout(&next, index)?;
                x = next;
            }
        }
        Ok((Outputs { y, hn, cn }, kept))
    }

    fn backward(&self, kept: Vec<Kept>, upstream: &Upstream) -> Result<Gradients> {
        let (p, gpu) = (self.problem, self.gpu);
        let d_h0 = gpu.empty(DType::F32, &p.h_shape())?;
        let d_c0 = (p.cell == Cell::Lstm).then(|| gpu.empty(DType::F32, &p.c_shape())).transpose()?;
        let states = StateGradients { d_hn: upstream.d_hn, d_cn: upstream.d_cn, d_h0: &d_h0, d_c0: d_c0.as_ref() };
        let mut weights = vec![];
        let mut d_x = None;
        for (index, kept) in kept.into_iter().enumerate().rev() {
            let d_y = match (&d_x, upstream.d_y) {
                (Some(d_y), _) => Lanes::of(p, d_y, false),
                (None, Some(d_y)) => Lanes::of(p, d_y, p.batch_first),
                (None, None) => Lanes::zero(&self.zeros),
            };
            let (gradient, own) = self.layer(index).backward(gpu, kept, &states, d_y)?;
            if index > 0 {
                self.dropout(&gradient, index - 1)?;
            }
            d_x = Some(gradient);
            weights.splice(0..0, own);
        }
        let Some(d_x) = d_x else { unreachable!("there is at least one layer") };
        let d_x = if p.batch_first { self.exchanged(&d_x, [p.batch, p.time, p.input])? } else { d_x };
        let d_peep = (p.peep == Peep::Shared).then(|| self.shared_peep(&mut weights)).transpose()?;
        Ok(Gradients { d_x, d_h0, d_c0, weights, d_peep })
    }

    /// The sum over all layers and directions.
    fn shared_peep(&self, weights: &mut [WeightGradients]) -> Result<Tensor> {
        let (p, gpu) = (self.problem, self.gpu);
        let sum = gpu.empty(DType::F32, &[3, p.hidden])?;
        for (n, d_peep) in weights.iter_mut().filter_map(|w| w.d_peep.take()).enumerate() {
            let place = |tensor| Place { tensor, start: 0, strides: [p.hidden, 0, 1] };
            let arrange = Arrange::new(p.cell.op(), place(&d_peep), place(&sum), [3, 1, p.hidden]);
            Arrange { accumulate: n > 0, ..arrange }.run(gpu)?;
        }
        Ok(sum)
    }
}

/// y and the last states. Nothing is kept: this is for inference.
///
/// # Errors
/// As [`Problem::new`] and [`Problem::lengths`]; [`Error::Dtype`](crate::Error::Dtype) for tensors that are not f32; those of
/// [`Gpu::dispatch`].
pub fn forward(gpu: &Gpu, cell: Cell, inputs: &Inputs, options: &Options) -> Result<Outputs> {
    let problem = inputs.problem(cell, options, &Upstream::default())?;
    Ok(Call::new(gpu, &problem, inputs, inputs.lengths)?.forward(false)?.0)
}

/// The same with what [`backward`] needs: activated gates, states and cells of all steps, and the inputs of all layers.
///
/// # Errors
/// As [`forward`].
pub fn forward_saving(gpu: &Gpu, cell: Cell, inputs: &Inputs, options: &Options) -> Result<(Outputs, Saved)> {
    let problem = inputs.problem(cell, options, &Upstream::default())?;
    let (outputs, layers) = Call::new(gpu, &problem, inputs, inputs.lengths)?.forward(true)?;
    Ok((outputs, Saved { problem, lengths: inputs.lengths.map(<[i32]>::to_vec), layers }))
}

/// The gradients of x, the initial states and all weights. `inputs` are those of the forward; lengths and options come from `saved`.
///
/// # Errors
/// As [`forward`], and [`Error::Shape`](crate::Error::Shape) for upstream gradients or inputs of other shapes than the forward's.
pub fn backward(gpu: &Gpu, inputs: &Inputs, saved: Saved, upstream: &Upstream) -> Result<Gradients> {
    let p = saved.problem;
    let options = Options { batch_first: p.batch_first, directions: p.directions, dropout_p: p.dropout_p, seed: p.seed };
    let problem = inputs.problem(p.cell, &options, upstream)?;
    if problem != p {
        let got = format!("inputs of {problem:?}");
        return Err(crate::Error::Argument {
            op: p.cell.op(),
            key: "saved".into(),
            expected: format!("the inputs of its forward, {p:?}"),
            got,
        });
    }
    Call::new(gpu, &problem, inputs, saved.lengths.as_deref())?.backward(saved.layers, upstream)
}

/// Every kernel variant that a kind of cell uses.
pub(crate) fn variants(cell: Cell, caps: &Caps) -> Vec<AnyVariant> {
    let mut all = kernels::all(cell, caps);
    if cell == Cell::Lstm {
        all.push(super::peep::kernel());
    }
    all.push(super::arrange::kernel());
    all
}
