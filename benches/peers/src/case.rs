//! What both libraries are asked for, and wattn's side of it.

use burn::tensor::Device;
use wattn::ops::philox::Rng;
use wattn::ops::{Arrays, Operation, Request, Settings, run_reference};
use wattn::{Array, Data, Gpu};

use crate::turns::{Outputs, Side, Values};
use crate::{Result, SEED};

/// Adds, changes or removes tensors after the draw.
pub type Edit = Box<dyn Fn(&mut Arrays, &mut Rng)>;

/// One comparison: a request, as wattn's registry takes it, and what serves it in burn.
pub struct Case {
    pub name: String,
    /// wattn's operation.
    pub op: &'static dyn Operation,
    /// As `wattn run --shape` takes it.
    pub shape: String,
    /// As `wattn run --set` takes them.
    pub settings: Vec<(&'static str, String)>,
    pub edit: Edit,
    /// burn's sides, ready to run the request; the one that its users get comes first.
    pub theirs: fn(&Device, &Request) -> Result<Vec<Side>>,
    /// Whether results are compared with those of wattn's reference on the CPU, which is in f64; otherwise with wattn's own.
    pub by_reference: bool,
}

impl Case {
    /// Draws the tensors.
    pub fn request(&self) -> Result<Request> {
        let settings = Settings::new(self.settings.iter().map(|(key, value)| (key.to_string(), value.clone())));
        let mut tensors = self.op.draw(&self.shape, &settings, SEED)?;
        (self.edit)(&mut tensors, &mut Rng::new(SEED + 1));
        Ok(Request::new(self.op.spec(), tensors, settings)?)
    }

    /// Useful floating-point operations, as everywhere in wattn.
    pub fn flops(&self, request: &Request) -> Result<f64> {
        Ok(self.op.cost(request)?.flops)
    }

    /// What the results must be; `None` where they must be wattn's.
    pub fn expected(&self, request: &Request) -> Result<Option<Values>> {
        let reference = || -> Result<Values> {
            eprintln!("{}: reference", self.name);
            let arrays = run_reference(self.op, request)?.into_iter();
            arrays.map(|(name, array)| Ok((name, floats(&array)?.to_vec()))).collect()
        };
        self.by_reference.then(reference).transpose()
    }

    /// wattn's side, ready to run the request.
    pub fn ours(&self, gpu: &Gpu, request: &Request) -> Result<Side> {
        let mut prepared = self.op.prepare(gpu, request)?;
        gpu.finish()?;
        let (gpu, outputs) = (gpu.clone(), self.op.spec().outputs);
        // What takes no upstream gradient, as attention's lse, burn does not return.
        let aside = move |name: &str| outputs.iter().any(|output| output.name == name && !output.upstream);
        let run = move || -> Result<Outputs> {
            let tensors = prepared()?;
            gpu.finish()?;
            Ok(Box::new(move || {
                let compared = tensors.into_iter().filter(|(name, _)| !aside(name));
                compared.map(|(name, tensor)| Ok((name, tensor.read_blocking()?))).collect()
            }))
        };
        Ok(Side { name: "wattn", run: Box::new(run) })
    }
}

/// The values of a drawn tensor or of a reference.
pub fn floats(array: &Array) -> Result<&[f32]> {
    let Data::F32(values) = array.data() else { return Err("expected f32".into()) };
    Ok(values)
}
