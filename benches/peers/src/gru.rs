//! One GRU layer, as [`recurrent`](crate::recurrent) says.
//!
//! `burn` is `nn::Gru`. Each step is six products and the gates, which burn fuses. Both libraries apply the reset gate after the product
//! unless they are told otherwise, as PyTorch does. burn's module takes the batch as the first dimension and returns no state: x goes in
//! and y comes out as views with their first two dimensions swapped, which is what `nn::Lstm` does itself, and hn is a slice of y.

use burn::nn::GateController;
use burn::nn::gru::{Gru, GruConfig};
use burn::tensor::{Device, Tensor};
use wattn::ops::{Operation, gru};

use crate::recurrent::Module;

impl Module for Gru {
    const OP: &'static dyn Operation = &gru::Gru;

    fn new(inputs: usize, hidden: usize, device: &Device) -> Self {
        GruConfig::new(inputs, hidden, true).with_reset_after(true).init(device)
    }

    /// r, z, n.
    fn gates(&mut self) -> Vec<&mut GateController> {
        vec![&mut self.reset_gate, &mut self.update_gate, &mut self.new_gate]
    }

    fn forward(&self, x: Tensor<3>) -> (Tensor<3>, Vec<(&'static str, Tensor<2>)>) {
        let last = x.dims()[0] - 1;
        let y = self.forward(x.swap_dims(0, 1), None).swap_dims(0, 1);
        let hn = y.clone().narrow(0, last, 1).squeeze_dim(0);
        (y, vec![("hn", hn)])
    }
}
