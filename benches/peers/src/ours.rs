//! wattn's side.

use wattn::ops::attention::{self, AttentionOptions, Inputs, Path};
use wattn::{Gpu, Tensor};

use crate::{Case, Drawn, Outputs, Result, Side};

/// The inputs on wattn's device.
pub struct Wattn {
    gpu: Gpu,
    path: Path,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    d_o: Tensor,
}

impl Wattn {
    pub fn new(gpu: Gpu, drawn: &Drawn, path: Path) -> Result<Self> {
        let upload = |values: &[f32]| gpu.tensor(values, &drawn.shape());
        let (q, k, v, d_o) = (upload(&drawn.q)?, upload(&drawn.k)?, upload(&drawn.v)?, upload(&drawn.d_o)?);
        gpu.finish()?;
        Ok(Wattn { gpu, path, q, k, v, d_o })
    }

    pub fn side(&self, case: Case) -> Side<'_> {
        Side { name: "wattn", run: Box::new(move || self.run(case)) }
    }

    fn run(&self, case: Case) -> Result<Outputs> {
        let inputs = Inputs::new(&self.q, &self.k, &self.v);
        let options = AttentionOptions { causal: case.causal, path: self.path, ..Default::default() };
        let attended = attention::forward(&self.gpu, &inputs, &options)?;
        let gradients = case.backward.then(|| attention::backward(&self.gpu, &inputs, &attended, &self.d_o, &options)).transpose()?;
        self.gpu.finish()?;
        Ok(Box::new(move || {
            let mut tensors = vec![("o", attended.o)];
            tensors.extend(gradients.into_iter().flat_map(|d| [("d_q", d.d_q), ("d_k", d.d_k), ("d_v", d.d_v)]));
            tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.read_blocking()?))).collect()
        }))
    }
}
