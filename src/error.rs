//! The one error type. Every variant says what was wrong, with what, and what would be accepted.

use std::path::PathBuf;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. A new variant is not a breaking change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter that wattn can run on.
    #[error("no adapter for '{wanted}'; found: {found}")]
    NoAdapter {
        /// What was asked for: `auto`, an index or part of a name.
        wanted: String,
        /// The adapters that there are, each with the reason why it was passed over.
        found: String,
    },
    /// Something is larger than the device (or the arithmetic) allows.
    #[error("{op}: {what} is {got}, over this device's limit of {limit}")]
    Limit {
        /// The operation or kernel.
        op: &'static str,
        /// What was too large, with its unit.
        what: String,
        /// The limit.
        limit: u64,
        /// The size asked for.
        got: u64,
    },
    /// The device, or [`GpuOptions::max_bytes`](crate::GpuOptions::max_bytes), has no room.
    #[error("out of device memory: {wanted} bytes wanted with {in_use} in use{}", match limit { Some(l) => format!(", {l} allowed"), None => String::new() })]
    OutOfMemory {
        /// Bytes of the allocation that failed.
        wanted: u64,
        /// Bytes in use by live tensors at that moment.
        in_use: u64,
        /// The limit set by the user, if any.
        limit: Option<u64>,
    },
    /// The device is gone; everything on it is too. A new [`Gpu`](crate::Gpu) can be made.
    #[error("the device was lost: {message}")]
    DeviceLost {
        /// What the driver said.
        message: String,
    },
    /// The device reported an error that is a fault of wattn's or of the driver's.
    #[error("the device reported an error: {message}")]
    Device {
        /// What wgpu said.
        message: String,
    },
    /// The work was not done in the time allowed ([`GpuOptions::timeout`](crate::GpuOptions::timeout)).
    #[error("the device did not finish within {seconds} s")]
    Timeout {
        /// The time allowed.
        seconds: f64,
    },
    /// This driver computes wrong numbers, whatever is left out ([`Gpu::self_test`](crate::Gpu::self_test)).
    #[error("this driver computes wrong numbers: {faults}")]
    Wrong {
        /// Operations, cases and kernels, each with what is wrong.
        faults: String,
    },
    /// Training that leads nowhere: the loss is no number any more.
    #[error("the loss is {loss} at step {step}; a lower rate (--lr) or a lower norm of gradients (--clip) may help")]
    Diverged {
        /// The optimizer's step, from 1.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// A shader that does not compose, or that the compiler or the driver refused.
    #[error("shader {kernel}: {message}")]
    Shader {
        /// The kernel, as `operation/file`.
        kernel: String,
        /// The compiler's message, with its caret where there is one.
        message: String,
    },
    /// A tensor of a shape that does not fit.
    #[error("{op}: '{tensor}' has shape {got}; expected {expected}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The tensor's name.
        tensor: String,
        /// The shape that would be accepted.
        expected: String,
        /// The shape given.
        got: String,
    },
    /// A tensor of a type that does not fit, or that the device cannot store.
    #[error("{op}: '{tensor}' is {got}; expected {expected}")]
    Dtype {
        /// The operation.
        op: &'static str,
        /// The tensor's name.
        tensor: String,
        /// The types that would be accepted.
        expected: String,
        /// The type given.
        got: String,
    },
    /// A tensor name that the operation does not know, or one that is missing.
    #[error("{op}: {what}; expected {expected}")]
    Tensors {
        /// The operation.
        op: &'static str,
        /// What is unknown or missing.
        what: String,
        /// The names that would be accepted.
        expected: String,
    },
    /// An argument with a value that is not accepted.
    #[error("{op}: {key} = {got}; expected {expected}")]
    Argument {
        /// The operation or subcommand.
        op: &'static str,
        /// The argument or key.
        key: String,
        /// What would be accepted.
        expected: String,
        /// The value given.
        got: String,
    },
    /// An index that was out of range when a kernel met it. What it would have reached was left out.
    #[error("{op}: '{tensor}' held an index that is out of range; what it would have reached was left out")]
    Index {
        /// The operation.
        op: &'static str,
        /// The tensor of indices.
        tensor: &'static str,
    },
    /// A second backward over what a first one has consumed.
    #[error(
        "{op}: a second backward over the same graph, whose memory the first has released; compute it again, or add the losses and go back once"
    )]
    Consumed {
        /// The operation where both meet.
        op: &'static str,
    },
    /// A file that is not what it should be.
    #[error("{}: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file that could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the fault lies in what the user handed over (arguments, tensors, files) and not in the run.
    /// The command line exits with 2 for the former and with 1 for the latter.
    pub fn is_input_fault(&self) -> bool {
        use Error::*;
        matches!(
            self,
            Limit { .. } | Shape { .. } | Dtype { .. } | Tensors { .. } | Argument { .. } | Index { .. } | Format { .. } | Io { .. }
        )
    }
}
