//! wattn's side: its model, its tape and its optimizer.

use std::rc::Rc;

use wattn::Gpu;
use wattn::autograd::{Device, Variable};
use wattn::models::seq2seq::{Pairs, Seq2Seq, Seq2SeqOptions};
use wattn::nn::{Mode, Parameters};
use wattn::ops::Arrays;
use wattn::ops::optimizer::{Kind, OptimizerOptions};
use wattn::optim::{Optimizer, Schedule};

use super::{EPS, LOSSES, LR, Trainer};
use crate::case::floats;
use crate::turns::{Outputs, Values};
use crate::{Result, SEED};

/// Draws the parameters: these, and what trains from them.
pub fn trainer(options: &Seq2SeqOptions, [sources, targets]: &[Vec<Vec<i32>>; 2], gpu: &Gpu) -> Result<(Arrays, Trainer)> {
    let device = Device::from(gpu.clone());
    let mut parameters = Parameters::new(&device, SEED);
    let model = Seq2Seq::new(&mut parameters.root(), options)?;
    let pairs = Pairs::new(&device, sources, targets)?;
    let adam = OptimizerOptions { kind: Kind::Adam, lr: LR, eps: EPS, ..Default::default() };
    let mut optimizer = Optimizer::new(&parameters, &adam, Schedule::default(), None)?;
    let (initial, parameters, gpu) = (parameters.arrays()?, Rc::new(parameters), gpu.clone());
    let train = move |steps| -> Result<Outputs> {
        let mut step = || -> Result<Variable> {
            let loss = model.loss(&pairs, &Mode::train(SEED, optimizer.steps()))?;
            loss.backward()?;
            optimizer.step()?;
            Ok(loss)
        };
        let losses = (0..steps).map(|_| step()).collect::<Result<Vec<Variable>>>()?;
        gpu.finish()?;
        let parameters = parameters.clone();
        Ok(Box::new(move || {
            let losses = losses.iter().map(|loss| Ok(loss.scalar()? as f32)).collect::<Result<_>>()?;
            let mut values = Values::from([(LOSSES.to_string(), losses)]);
            for (name, array) in parameters.arrays()? {
                values.insert(name, floats(&array)?.to_vec());
            }
            Ok(values)
        }))
    };
    Ok((initial, Trainer { name: "wattn", train: Box::new(train) }))
}
