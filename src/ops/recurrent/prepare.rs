//! A request by names, run on a device.

use std::collections::BTreeMap;

use super::gpu::{Gradients, Inputs, Outputs, Upstream, Weights, backward, forward, forward_saving};
use super::{Cell, Options, Peep, Problem, suffix};
use crate::Result;
use crate::gpu::{Gpu, Tensor};
use crate::ops::host::float_tensor;
use crate::ops::{Prepared, Request};
use crate::{DType, Error};

/// The tensors of a request on a device, by name.
struct Tensors {
    by_name: BTreeMap<String, Tensor>,
    problem: Problem,
    lengths: Option<Vec<i32>>,
}

impl Tensors {
    fn new(gpu: &Gpu, cell: Cell, request: &Request) -> Result<Self> {
        let problem = Problem::of(cell, request)?;
        let lengths = request.tensor("lengths").map(|_| problem.lengths_of(request)).transpose()?;
        let lengths = lengths.map(|lengths| lengths.into_iter().map(|length| length as i32).collect());
        let mut by_name = BTreeMap::new();
        for name in request.tensors.keys().filter(|name| *name != "lengths") {
            by_name.extend(float_tensor(gpu, request, name, DType::F32)?.map(|tensor| (name.clone(), tensor)));
        }
        Ok(Tensors { by_name, problem, lengths })
    }

    fn get(&self, name: &str) -> Option<&Tensor> {
        self.by_name.get(name)
    }

    fn weights(&self) -> Result<Vec<Weights<'_>>> {
        let one = |(layer, direction)| {
            let own = |base: &str| self.get(&format!("{base}{}", suffix(layer, direction)));
            let required = |base: &str| {
                let what = format!("tensor '{base}{}' is missing", suffix(layer, direction));
                own(base).ok_or(Error::Tensors { op: self.problem.cell.op(), what, expected: "it".into() })
            };
            Ok(Weights {
                weight_ih: required("weight_ih")?,
                weight_hh: required("weight_hh")?,
                bias: own("bias_ih").zip(own("bias_hh")).map(<[_; 2]>::from),
                weight_hr: own("weight_hr"),
                peep: own("peep"),
            })
        };
        self.problem.places().map(one).collect()
    }

    fn inputs<'a>(&'a self, weights: &'a [Weights<'a>]) -> Result<Inputs<'a>> {
        let missing = || Error::Tensors { op: self.problem.cell.op(), what: "tensor 'x' is missing".into(), expected: "x".into() };
        Ok(Inputs {
            x: self.get("x").ok_or_else(missing)?,
            h0: self.get("h0"),
            c0: self.get("c0"),
            lengths: self.lengths.as_deref(),
            weights,
            peep: self.get("peep"),
        })
    }

    /// The gradients of the inputs that there are.
    fn named(&self, gradients: Gradients) -> Vec<(String, Tensor)> {
        let Gradients { d_x, d_h0, d_c0, weights, d_peep } = gradients;
        let mut out = vec![("d_x".to_string(), d_x)];
        out.extend(self.get("h0").map(|_| ("d_h0".to_string(), d_h0)));
        out.extend(self.get("c0").and(d_c0).map(|d_c0| ("d_c0".to_string(), d_c0)));
        out.extend(d_peep.filter(|_| self.problem.peep == Peep::Shared).map(|d_peep| ("d_peep".to_string(), d_peep)));
        for ((layer, direction), own) in self.problem.places().zip(weights) {
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
            out.extend(all.into_iter().filter_map(|(base, tensor)| Some((format!("d_{base}{suffix}"), tensor?))));
        }
        out
    }
}

/// Runs the request on a device.
pub(crate) fn prepare(gpu: &Gpu, cell: Cell, request: &Request) -> Result<Prepared> {
    let tensors = Tensors::new(gpu, cell, request)?;
    let p = tensors.problem;
    let options = Options { batch_first: p.batch_first, directions: p.directions, dropout_p: p.dropout_p, seed: p.seed };
    let training = request.wants_gradients();
    let gpu = gpu.clone();
    Ok(Box::new(move || {
        let weights = tensors.weights()?;
        let inputs = tensors.inputs(&weights)?;
        let named = |outputs: Outputs| {
            let cn = outputs.cn.map(|cn| ("cn".to_string(), cn));
            [("y".to_string(), outputs.y), ("hn".to_string(), outputs.hn)].into_iter().chain(cn).collect::<Vec<_>>()
        };
        if !training {
            return Ok(named(forward(&gpu, cell, &inputs, &options)?));
        }
        let (outputs, saved) = forward_saving(&gpu, cell, &inputs, &options)?;
        let upstream = Upstream { d_y: tensors.get("d_y"), d_hn: tensors.get("d_hn"), d_cn: tensors.get("d_cn") };
        let gradients = backward(&gpu, &inputs, saved, &upstream)?;
        Ok(named(outputs).into_iter().chain(tensors.named(gradients)).collect())
    }))
}
