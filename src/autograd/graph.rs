//! The record: nodes, and the walk back through them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Device, Value};
use crate::{Error, Result};

/// Where a variable comes from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// Nowhere: no gradient is wanted.
    Constant,
    /// A parameter, which keeps its gradient.
    Leaf(Arc<Leaf>),
    /// An output of a node.
    Output(Arc<Node>, usize),
}

impl Origin {
    pub fn wants_gradient(&self) -> bool {
        !matches!(self, Origin::Constant)
    }
}

/// A parameter.
#[derive(Debug)]
pub(super) struct Leaf {
    pub value: Mutex<Value>,
    pub gradient: Mutex<Option<Value>>,
}

/// One use of an operation.
pub(super) struct Node {
    /// Higher than those of all nodes that it was computed from.
    number: u64,
    op: &'static str,
    device: Device,
    outputs: usize,
    /// None once a backward has been here.
    step: Mutex<Option<Step>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.op, self.number)
    }
}

/// From the upstream gradient of each output, of which some may be absent and count as zero, to that of each input.
pub(super) type Backward = Box<dyn FnOnce(&[Option<Value>]) -> Result<Vec<Option<Value>>> + Send>;

struct Step {
    inputs: Vec<Origin>,
    backward: Backward,
}

impl Node {
    pub fn new(op: &'static str, device: &Device, outputs: usize, inputs: Vec<Origin>, backward: Backward) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Arc::new(Node { number, op, device: device.clone(), outputs, step: Mutex::new(Some(Step { inputs, backward })) })
    }
}

impl Drop for Node {
    /// Drops what only this node kept alive one by one: a graph may be as deep as a sequence is long, and the stack is not.
    fn drop(&mut self) {
        let mut nodes: Vec<Option<Step>> = vec![self.step.get_mut().unwrap_or_else(PoisonError::into_inner).take()];
        while let Some(step) = nodes.pop() {
            for origin in step.into_iter().flat_map(|step| step.inputs) {
                if let Origin::Output(node, _) = origin
                    && let Some(mut node) = Arc::into_inner(node)
                {
                    nodes.push(node.step.get_mut().unwrap_or_else(PoisonError::into_inner).take());
                }
            }
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The nodes that have received gradients, and what they have received for each output, by number.
type Pending = BTreeMap<u64, (Arc<Node>, Vec<Option<Value>>)>;

/// Takes `gradient` to where a variable comes from.
fn send(device: &Device, origin: &Origin, gradient: Value, pending: &mut Pending) -> Result<()> {
    let add_to = |place: &mut Option<Value>| {
        let sum = match place.take() {
            None => gradient,
            Some(before) => device.add(&before, &gradient)?,
        };
        *place = Some(sum);
        Ok(())
    };
    match origin {
        Origin::Constant => Ok(()),
        Origin::Leaf(leaf) => add_to(&mut lock(&leaf.gradient)),
        Origin::Output(node, index) => {
            let received = match pending.entry(node.number) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert((node.clone(), vec![None; node.outputs])),
            };
            add_to(&mut received.1[*index])
        }
    }
}

/// Goes back from `origin`, whose upstream gradient is `gradient`.
///
/// # Errors
/// [`Error::Consumed`] for a node where a backward was before; those of the operations.
pub(super) fn backward(device: &Device, origin: &Origin, gradient: Value) -> Result<()> {
    let mut pending = Pending::new();
    send(device, origin, gradient, &mut pending)?;
    while let Some((_, (node, upstream))) = pending.pop_last() {
        let Step { inputs, backward } = lock(&node.step).take().ok_or(Error::Consumed { op: node.op })?;
        let gradients = backward(&upstream)?;
        // What is left of the memory of this step goes back before the next one allocates.
        drop(upstream);
        for (origin, gradient) in inputs.iter().zip(gradients) {
            gradient.map_or(Ok(()), |gradient| send(&node.device, origin, gradient, &mut pending))?;
        }
    }
    Ok(())
}

thread_local! {
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread records what it computes.
pub fn is_recording() -> bool {
    !PAUSED.get()
}

/// Runs `run` without recording: for predictions, which keep nothing. What it returns has no way back.
pub fn no_grad<T>(run: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            PAUSED.set(self.0);
        }
    }
    let _restore = Restore(PAUSED.replace(true));
    run()
}
