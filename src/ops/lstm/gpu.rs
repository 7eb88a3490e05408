//! The kernels of an LSTM, and its functions on a device. Everything but the kernels is shared: see [`recurrent`].

use crate::Result;
use crate::gpu::{AnyVariant, Binding, Caps, Gpu, Kernel, Params};
use crate::ops::recurrent::{self, Cell, FIELDS, Inputs, Options, Outputs, PeepParams, Saved};
use crate::ops::{Applied, Call, Prepared, Request};

pub(crate) static FORWARD: Kernel = Kernel {
    name: "lstm/forward",
    source: include_str!("../../../shaders/lstm/forward.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("weight"),
        Binding::read("lengths"),
        Binding::read("peep").when("PEEP"),
        Binding::write("gates"),
        Binding::write("cells"),
        Binding::write("h"),
        Binding::write("m").when("PROJECTED"),
        Binding::write("output").unless("PROJECTED"),
    ],
};

pub(crate) static FORWARD_PROJECTION: Kernel = Kernel {
    name: "lstm/forward_projection",
    source: include_str!("../../../shaders/lstm/forward_projection.wgsl"),
    params: FIELDS,
    bindings: &[Binding::read("weight"), Binding::read("lengths"), Binding::read("m"), Binding::write("h"), Binding::write("output")],
};

pub(crate) static BACKWARD: Kernel = Kernel {
    name: "lstm/backward",
    source: include_str!("../../../shaders/lstm/backward.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("weight"),
        Binding::read("lengths"),
        Binding::read("peep").when("PEEP"),
        Binding::read("cells"),
        Binding::read("d_p").when("PROJECTED"),
        Binding::read("d_y").unless("PROJECTED"),
        Binding::write("gates"),
        Binding::write("d_c"),
        Binding::write("d_h").unless("PROJECTED"),
    ],
};

pub(crate) static BACKWARD_PROJECTION: Kernel = Kernel {
    name: "lstm/backward_projection",
    source: include_str!("../../../shaders/lstm/backward_projection.wgsl"),
    params: FIELDS,
    bindings: &[
        Binding::read("weight"),
        Binding::read("lengths"),
        Binding::read("gates"),
        Binding::read("d_y"),
        Binding::write("d_h"),
        Binding::write("d_p"),
    ],
};

pub(crate) static BACKWARD_PEEP: Kernel = Kernel {
    name: "lstm/backward_peep",
    source: include_str!("../../../shaders/lstm/backward_peep.wgsl"),
    params: PeepParams::FIELDS,
    bindings: &[Binding::read("gates"), Binding::read("cells"), Binding::write("d_peep")],
};

/// Every kernel variant.
pub(super) fn kernels(caps: &Caps) -> Vec<AnyVariant> {
    recurrent::variants(Cell::Lstm, caps)
}

/// y and the last states of an LSTM. Nothing is kept: this is for inference. O(layers · directions · T · B · H · (I + H)).
///
/// ```
/// use wattn::ops::lstm;
/// use wattn::ops::recurrent::{Inputs, Options, Weights};
/// # let gpu = wattn::Gpu::new(&wattn::GpuOptions::default())?;
/// // 10 steps of 2 sequences, 3 inputs, 4 units: gates i, f, g and o have 4 rows each.
/// let x = gpu.tensor(&[0.5f32; 60], &[10, 2, 3])?;
/// let (weight_ih, weight_hh) = (gpu.tensor(&[0.1f32; 48], &[16, 3])?, gpu.tensor(&[0.2f32; 64], &[16, 4])?);
/// let weights = [Weights { weight_ih: &weight_ih, weight_hh: &weight_hh, bias: None, weight_hr: None, peep: None }];
/// let first = lstm::forward(&gpu, &Inputs::new(&x, &weights), &Options::default())?;
/// // The states go on.
/// let inputs = Inputs { h0: Some(&first.hn), c0: first.cn.as_ref(), ..Inputs::new(&x, &weights) };
/// let second = lstm::forward(&gpu, &inputs, &Options::default())?;
/// assert_eq!(second.y.shape(), [10, 2, 4]);
/// # Ok::<(), wattn::Error>(())
/// ```
///
/// # Errors
/// As [`recurrent::forward`].
pub fn forward(gpu: &Gpu, inputs: &Inputs, options: &Options) -> Result<Outputs> {
    recurrent::forward(gpu, Cell::Lstm, inputs, options)
}

/// The same with what [`backward`](recurrent::backward) needs.
///
/// # Errors
/// As [`recurrent::forward`].
pub fn forward_saving(gpu: &Gpu, inputs: &Inputs, options: &Options) -> Result<(Outputs, Saved)> {
    recurrent::forward_saving(gpu, Cell::Lstm, inputs, options)
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    recurrent::prepare(gpu, Cell::Lstm, request)
}

/// The operation on tensors that are on a device.
pub(super) fn apply(call: Call) -> Result<Applied> {
    recurrent::apply(Cell::Lstm, call)
}
