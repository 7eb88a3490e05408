//! The layer over scores of tags.

use super::{Init, Scope};
use crate::autograd::{Device, Variable, apply, no_grad, settings};
use crate::ops::crf;
use crate::{Array, Error, Result};

/// A linear-chain conditional random field: [`ops::crf`](crate::ops::crf). transitions `[tags, tags]` (row from, column to), start_transitions and
/// end_transitions `[tags]` are uniform up to 0.1, with the names of the package pytorch-crf.
///
/// Source: Lafferty, McCallum & Pereira 2001.
#[derive(Clone, Debug)]
pub struct Crf {
    transitions: Variable,
    start: Variable,
    end: Variable,
}

impl Crf {
    /// Draws the parameters.
    ///
    /// # Errors
    /// As [`Scope::draw`].
    pub fn new(scope: &mut Scope, tags: usize) -> Result<Self> {
        let init = Init::Uniform(0.1);
        let transitions = scope.draw("transitions", &[tags, tags], init)?;
        let start = scope.draw("start_transitions", &[tags], init)?;
        Ok(Crf { transitions, start, end: scope.draw("end_transitions", &[tags], init)? })
    }

    fn inputs<'a>(&'a self, emissions: &'a Variable, lengths: Option<&'a Variable>) -> Vec<(&'static str, &'a Variable)> {
        let mut inputs = vec![("emissions", emissions), ("transitions", &self.transitions), ("start", &self.start), ("end", &self.end)];
        inputs.extend(lengths.map(|lengths| ("lengths", lengths)));
        inputs
    }

    /// The negative log-likelihood of tags (i32 `[batch, time]`) under emissions `[batch, time, tags]`, the mean over the sequences.
    ///
    /// # Errors
    /// As [`apply`].
    pub fn loss(&self, emissions: &Variable, tags: &Variable, lengths: Option<&Variable>) -> Result<Variable> {
        let mut inputs = self.inputs(emissions, lengths);
        inputs.push(("tags", tags));
        apply(&crf::Crf, &inputs, &settings(&[("reduction", &"mean")]))?.get("loss")
    }

    /// The best tags, i32 `[batch, time]`, -1 past a sequence's length.
    ///
    /// # Errors
    /// As [`apply`].
    pub fn decode(&self, emissions: &Variable, lengths: Option<&Variable>) -> Result<Array> {
        let path = match emissions.device() {
            Device::Gpu(gpu) => {
                let [emissions, transitions, start, end] = [emissions, &self.transitions, &self.start, &self.end].map(Variable::value);
                let lengths = lengths.map(Variable::array).transpose()?;
                let lengths = lengths.as_ref().map(|lengths| match lengths.data() {
                    crate::Data::I32(lengths) => Ok(lengths.as_slice()),
                    _ => {
                        Err(Error::Dtype { op: "crf", tensor: "lengths".into(), expected: "i32".into(), got: lengths.dtype().to_string() })
                    }
                });
                let inputs = [emissions.tensor(), transitions.tensor(), start.tensor(), end.tensor()];
                let [Some(emissions), Some(transitions), Some(start), Some(end)] = inputs else { unreachable!("they are on a GPU") };
                let inputs = crf::Inputs { emissions, transitions, start, end, lengths: lengths.transpose()? };
                return crf::decode(gpu, &inputs)?.path.array();
            }
            // The reference has the path among the outputs of a call, whatever its tags.
            Device::Cpu(_) => {
                let shape = emissions.shape();
                let sizes = &shape[..shape.len().min(2)];
                let tags = emissions.device().constant(Array::i32(sizes, vec![0; sizes.iter().product()]))?;
                let mut inputs = self.inputs(emissions, lengths);
                inputs.push(("tags", &tags));
                no_grad(|| apply(&crf::Crf, &inputs, &settings(&[])))?.get("viterbi_path")?
            }
        };
        path.array()
    }
}
