//! One LSTM layer, as [`recurrent`](crate::recurrent) says.
//!
//! `burn` is `nn::Lstm`. Each step is eight products and the gates, which burn fuses.

use burn::nn::{GateController, Lstm, LstmConfig};
use burn::tensor::{Device, Tensor};
use wattn::ops::{Operation, lstm};

use crate::recurrent::Module;

impl Module for Lstm {
    const OP: &'static dyn Operation = &lstm::Lstm;

    fn new(inputs: usize, hidden: usize, device: &Device) -> Self {
        LstmConfig::new(inputs, hidden, true).with_batch_first(false).init(device)
    }

    /// i, f, g, o.
    fn gates(&mut self) -> Vec<&mut GateController> {
        let Lstm { input_gate, forget_gate, cell_gate, output_gate, .. } = self;
        [Some(input_gate), forget_gate.as_mut(), Some(cell_gate), Some(output_gate)].into_iter().flatten().collect()
    }

    fn forward(&self, x: Tensor<3>) -> (Tensor<3>, Vec<(&'static str, Tensor<2>)>) {
        let (y, state) = self.forward(x, None);
        (y, vec![("hn", state.hidden), ("cn", state.cell)])
    }
}
