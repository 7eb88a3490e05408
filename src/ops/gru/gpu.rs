//! The kernels of a GRU, and its functions on a device. Everything but the kernels is shared: see [`recurrent`].

use crate::Result;
use crate::gpu::{AnyVariant, Binding, Caps, Gpu, Kernel};
use crate::ops::recurrent::{self, Cell, FIELDS, Inputs, Options, Outputs, Reset, Saved};
use crate::ops::{Applied, Call, Prepared, Request};

pub(crate) static FORWARD: Kernel = Kernel {
    name: "gru/forward",
    source: include_str!("../../../shaders/gru/forward.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("weight"),
        Binding::read("lengths"),
        Binding::write("gates"),
        Binding::write("h"),
        Binding::write("reset").when("BEFORE"),
        Binding::write("output").unless("BEFORE"),
    ],
};

pub(crate) static FORWARD_CANDIDATE: Kernel = Kernel {
    name: "gru/forward_candidate",
    source: include_str!("../../../shaders/gru/forward_candidate.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("weight"),
        Binding::read("lengths"),
        Binding::read("reset"),
        Binding::write("gates"),
        Binding::write("h"),
        Binding::write("output"),
    ],
};

pub(crate) static BACKWARD: Kernel = Kernel {
    name: "gru/backward",
    source: include_str!("../../../shaders/gru/backward.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("weight"),
        Binding::read("lengths"),
        Binding::read("h"),
        Binding::read("d_y"),
        Binding::write("gates"),
        Binding::write("d_h"),
        Binding::write("d_n").when("BEFORE"),
    ],
};

pub(crate) static BACKWARD_RESET: Kernel = Kernel {
    name: "gru/backward_reset",
    source: include_str!("../../../shaders/gru/backward_reset.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("weight"),
        Binding::read("lengths"),
        Binding::read("h"),
        Binding::read("d_n"),
        Binding::write("gates"),
        Binding::write("d_h"),
    ],
};

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    recurrent::variants(Cell::Gru(Reset::After), caps)
}

/// y and the last states of a GRU. Nothing is kept: this is for inference. O(layers · directions · T · B · H · (I + H)).
///
/// # Errors
/// As [`recurrent::forward`].
pub fn forward(gpu: &Gpu, reset: Reset, inputs: &Inputs, options: &Options) -> Result<Outputs> {
    recurrent::forward(gpu, Cell::Gru(reset), inputs, options)
}

/// The same with what [`backward`](recurrent::backward) needs.
///
/// # Errors
/// As [`recurrent::forward`].
pub fn forward_saving(gpu: &Gpu, reset: Reset, inputs: &Inputs, options: &Options) -> Result<(Outputs, Saved)> {
    recurrent::forward_saving(gpu, Cell::Gru(reset), inputs, options)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    recurrent::prepare(gpu, Cell::Gru(Reset::After), request)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    recurrent::apply(Cell::Gru(Reset::After), call)
}
