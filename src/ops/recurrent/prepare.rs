//! Tensors by names, run on a device.

use super::gpu::{Gradients, Inputs, Outputs, Upstream, Weights, backward, forward, forward_saving};
use super::names::Named;
use super::{Cell, Options, Problem, suffix};
use crate::gpu::{Gpu, Tensor};
use crate::ops::call::{self, Applied, Call};
use crate::ops::{Prepared, Request};
use crate::{Error, Result};

/// Runs the request on a device.
pub(crate) fn prepare(gpu: &Gpu, cell: Cell, request: &Request) -> Result<Prepared> {
    Problem::of(cell.with_settings(&request.settings)?, request)?.lengths_of(request)?;
    call::prepare(gpu, cell.op(), request, move |call| apply(cell, call), call::as_f32)
}

/// The operation on tensors that are on a device. Without `training` nothing is kept, and there is no way back.
pub(crate) fn apply(cell: Cell, call: Call) -> Result<Applied> {
    let cell = cell.with_settings(&call.settings)?;
    let named = Named::of(cell, &call.tensors)?;
    let options = Options { directions: named.directions, ..Options::from_settings(cell.op(), &call.settings)? };
    let (outputs, saved) = {
        let weights = weights(&call, &named)?;
        let inputs = inputs(&call, &weights)?;
        if call.training {
            let (outputs, saved) = forward_saving(&call.gpu, cell, &inputs, &options)?;
            (outputs, Some(saved))
        } else {
            (forward(&call.gpu, cell, &inputs, &options)?, None)
        }
    };
    let Outputs { y, hn, cn } = outputs;
    Ok(Applied::new([("y", Some(y)), ("hn", Some(hn)), ("cn", cn)], move |d| {
        let untrained = || Error::Tensors { op: cell.op(), what: "nothing was kept".into(), expected: "a forward for training".into() };
        let weights = weights(&call, &named)?;
        let upstream = Upstream { d_y: d.get("d_y"), d_hn: d.get("d_hn"), d_cn: d.get("d_cn") };
        let gradients = backward(&call.gpu, &inputs(&call, &weights)?, saved.ok_or_else(untrained)?, &upstream)?;
        Ok(gradients_by_name(&call, &named, gradients))
    }))
}

fn places(named: &Named) -> impl Iterator<Item = (usize, usize)> + use<> {
    let Named { layers, directions, .. } = *named;
    (0..layers * directions).map(move |n| (n / directions, n % directions))
}

fn weights<'a>(call: &'a Call, named: &Named) -> Result<Vec<Weights<'a>>> {
    let one = |(layer, direction)| {
        let own = |base: &str| call.optional(&format!("{base}{}", suffix(layer, direction)));
        Ok(Weights {
            weight_ih: call.tensor(&format!("weight_ih{}", suffix(layer, direction)))?,
            weight_hh: call.tensor(&format!("weight_hh{}", suffix(layer, direction)))?,
            bias: own("bias_ih").zip(own("bias_hh")).map(<[_; 2]>::from),
            weight_hr: own("weight_hr"),
            peep: own("peep"),
        })
    };
    places(named).map(one).collect()
}

fn inputs<'a>(call: &'a Call, weights: &'a [Weights<'a>]) -> Result<Inputs<'a>> {
    Ok(Inputs {
        x: call.tensor("x")?,
        h0: call.optional("h0"),
        c0: call.optional("c0"),
        lengths: call.list("lengths"),
        weights,
        peep: call.optional("peep"),
    })
}

/// The gradients of the inputs that there are.
fn gradients_by_name(call: &Call, named: &Named, gradients: Gradients) -> Vec<(String, Option<Tensor>)> {
    let Gradients { d_x, d_h0, d_c0, weights, d_peep } = gradients;
    let given = |name: &str, gradient: Option<Tensor>| (format!("d_{name}"), gradient.filter(|_| call.optional(name).is_some()));
    let mut out = vec![given("x", Some(d_x)), given("h0", Some(d_h0)), given("c0", d_c0), given("peep", d_peep)];
    for ((layer, direction), own) in places(named).zip(weights) {
        let [d_bias_ih, d_bias_hh] = own.d_bias.map_or([None, None], |bias| bias.map(Some));
        let all = [
            ("weight_ih", Some(own.d_weight_ih)),
            ("weight_hh", Some(own.d_weight_hh)),
            ("bias_ih", d_bias_ih),
            ("bias_hh", d_bias_hh),
            ("weight_hr", own.d_weight_hr),
            ("peep", own.d_peep),
        ];
        let suffix = suffix(layer, direction);
        out.extend(all.into_iter().map(|(base, tensor)| (format!("d_{base}{suffix}"), tensor)));
    }
    out
}
