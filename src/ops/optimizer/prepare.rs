//! The steps of a request, from p0 and the gradients of a file.

use super::state::copy_all;
use super::{GRADIENTS, Optimizer, Problem, grad_norm};
use crate::gpu::{Caps, Choice, Gpu, Tensor};
use crate::ops::host::float_tensor;
use crate::ops::{Prepared, Request};
use crate::{DType, Result};

/// How a request's parameters are given to the optimizer. The formulas do not know of parameters' borders, so verify tries both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As one.
    Whole,
    /// In parts, as many as a dispatch may take and some more.
    Parts,
}

/// More than a dispatch takes, so that there is a second one with few.
const PARTS: usize = 13;

impl Choice for Layout {
    const NAME: &'static str = "optimizer.layout";

    fn all(_caps: &Caps) -> Vec<(String, Self)> {
        vec![("parts".into(), Layout::Parts)]
    }
}

/// The parts of a tensor, one behind the other.
fn parts(tensor: &Tensor, layout: Layout) -> Result<Vec<Tensor>> {
    let (len, count) = (tensor.len(), if layout == Layout::Parts { PARTS } else { 1 });
    let borders: Vec<usize> = (0..=count).map(|part| part * len / count).collect();
    let filled = borders.windows(2).filter(|pair| pair[0] < pair[1]);
    filled.map(|pair| tensor.part(pair[0], &[pair[1] - pair[0]])).collect()
}

/// Runs the request on a device.
pub(super) fn prepare(gpu: &Gpu, request: &Request) -> Result<Prepared> {
    let Problem { shape, options, clip, steps } = Problem::of(request)?;
    let layout = gpu.pinned().unwrap_or(Layout::Whole);
    let tensor = |name: &str| float_tensor(gpu, request, name, DType::F32);
    let Some(p0) = tensor("p0")? else { unreachable!("a request has its required tensors") };
    let names = (1..=steps).map(|t| format!("{}{t}", GRADIENTS.name));
    let gradients: Vec<Tensor> = names.filter_map(|name| tensor(&name).transpose()).collect::<Result<_>>()?;
    let gpu = gpu.clone();
    Ok(Box::new(move || {
        let copied = |from: &Tensor| {
            let to = gpu.empty(DType::F32, &shape)?;
            copy_all(&gpu, from, &to).map(|()| to)
        };
        let p = copied(&p0)?;
        let mut optimizer = Optimizer::new(&gpu, &parts(&p, layout)?, &options)?;
        let mut out = vec![];
        for (t, gradient) in (1..).zip(&gradients) {
            let gradients = parts(gradient, layout)?;
            let clip = clip.map(|limit| grad_norm(&gpu, &gradients, limit)).transpose()?;
            optimizer.step(&gradients, clip.as_ref())?;
            out.push((format!("p{t}"), copied(&p)?));
        }
        // The parts are neighbours, so their state is one tensor too.
        for (&name, state) in options.states().iter().zip(optimizer.whole_state()) {
            out.push((name.to_string(), state.reshape(&shape)?));
        }
        Ok(out)
    }))
}
