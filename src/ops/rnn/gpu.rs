//! The kernels of an RNN, and its functions on a device. Everything but the kernels is shared: see [`recurrent`].

use crate::Result;
use crate::gpu::{AnyVariant, Binding, Caps, Gpu, Kernel};
use crate::ops::recurrent::{self, Cell, FIELDS, Inputs, Nonlinearity, Options, Outputs, Saved};
use crate::ops::{Applied, Call, Prepared, Request};

pub(crate) static FORWARD: Kernel = Kernel {
    name: "rnn/forward",
    source: include_str!("../../../shaders/rnn/forward.wgsl"),
    params: FIELDS,
    bindings: &[Binding::read("weight"), Binding::read("lengths"), Binding::read("gates"), Binding::write("h"), Binding::write("output")],
};

pub(crate) static BACKWARD: Kernel = Kernel {
    name: "rnn/backward",
    source: include_str!("../../../shaders/rnn/backward.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("weight"),
        Binding::read("lengths"),
        Binding::read("h"),
        Binding::read("d_y"),
        Binding::write("gates"),
        Binding::write("d_h"),
    ],
};

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    recurrent::variants(Cell::Rnn(Nonlinearity::Tanh), caps)
}

/// y and the last states of an RNN. Nothing is kept: this is for inference. O(layers · directions · T · B · H · (I + H)).
///
/// # Errors
/// As [`recurrent::forward`].
pub fn forward(gpu: &Gpu, nonlinearity: Nonlinearity, inputs: &Inputs, options: &Options) -> Result<Outputs> {
    recurrent::forward(gpu, Cell::Rnn(nonlinearity), inputs, options)
}

/// The same with what [`backward`](recurrent::backward) needs.
///
/// # Errors
/// As [`recurrent::forward`].
pub fn forward_saving(gpu: &Gpu, nonlinearity: Nonlinearity, inputs: &Inputs, options: &Options) -> Result<(Outputs, Saved)> {
    recurrent::forward_saving(gpu, Cell::Rnn(nonlinearity), inputs, options)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    recurrent::prepare(gpu, Cell::Rnn(Nonlinearity::Tanh), request)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    recurrent::apply(Cell::Rnn(Nonlinearity::Tanh), call)
}
