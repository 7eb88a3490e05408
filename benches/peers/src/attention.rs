//! Attention, forward, and forward with backward, without a mask and causal.
//!
//! - `wattn`: `ops::attention::forward`, and `backward` of an upstream gradient that is drawn like the inputs.
//! - `burn`: `tensor::module::attention`. For inference it chooses a fused kernel; under autodiff it is a product, a softmax and a product,
//!   which autodiff differentiates one by one. The upstream gradient comes in by multiplying o with it, which is one pass over o more than
//!   wattn does.
//! - `burn composed`: `tensor::module::attention_fallback`, without autodiff: the forward that training uses.
//!
//! Their results are compared with wattn's.
//!
//! GFLOP/s count the useful operations, as everywhere: 4 · pairs · D forward, 12 · pairs · D with the backward, over the visible pairs.

use burn::tensor::module::{attention, attention_fallback};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};
use wattn::Gpu;
use wattn::ops::attention::{self as ours, AttentionOptions, Inputs, Path};
use wattn::ops::philox::Rng;

use crate::device::{read, upload};
use crate::report::Subject;
use crate::turns::{Options, Outputs, Side, measure};
use crate::{Result, SEED, device, report};

const BATCH: usize = 1;
const HEADS: usize = 8;
const DIM: usize = 64;

/// 1 batch, 8 heads of 64; without a mask and causal.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Queries and keys.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65536))]
    seq: u32,
    /// wattn's kernels: auto, fused or composed.
    #[arg(long, default_value = "auto", value_parser = path)]
    path: Path,
}

fn path(text: &str) -> std::result::Result<Path, String> {
    text.parse().map_err(|()| "expected auto, fused or composed".to_string())
}

/// What both libraries are asked for.
#[derive(Clone, Copy)]
struct Case {
    causal: bool,
    backward: bool,
}

impl Case {
    /// The name that benches/ops/attention.rs gives it.
    fn name(self, seq: usize) -> String {
        let (causal, what) = (if self.causal { "causal_" } else { "" }, if self.backward { "both" } else { "forward" });
        format!("{seq}_{causal}{what}")
    }

    fn flops(self, seq: usize) -> f64 {
        let options = AttentionOptions { causal: self.causal, ..Default::default() };
        let pairs = (BATCH * HEADS) as f64 * options.pairs(seq, 0, seq) as f64;
        (if self.backward { 12.0 } else { 4.0 }) * pairs * DIM as f64
    }
}

/// What goes in, of shape `[BATCH, HEADS, seq, DIM]`.
struct Drawn {
    seq: usize,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    d_o: Vec<f32>,
}

impl Drawn {
    fn new(seq: usize) -> Self {
        let mut rng = Rng::new(SEED);
        let mut draw = || rng.normals(BATCH * HEADS * seq * DIM);
        Drawn { seq, q: draw(), k: draw(), v: draw(), d_o: draw() }
    }

    fn shape(&self) -> [usize; 4] {
        [BATCH, HEADS, self.seq, DIM]
    }
}

/// The inputs on wattn's device.
struct Wattn {
    gpu: Gpu,
    path: Path,
    q: wattn::Tensor,
    k: wattn::Tensor,
    v: wattn::Tensor,
    d_o: wattn::Tensor,
}

impl Wattn {
    fn new(gpu: Gpu, drawn: &Drawn, path: Path) -> Result<Self> {
        let upload = |values: &[f32]| gpu.tensor(values, &drawn.shape());
        let (q, k, v, d_o) = (upload(&drawn.q)?, upload(&drawn.k)?, upload(&drawn.v)?, upload(&drawn.d_o)?);
        gpu.finish()?;
        Ok(Wattn { gpu, path, q, k, v, d_o })
    }

    fn side(&self, case: Case) -> Side<'_> {
        Side { name: "wattn", run: Box::new(move || self.run(case)) }
    }

    fn run(&self, case: Case) -> Result<Outputs> {
        let inputs = Inputs::new(&self.q, &self.k, &self.v);
        let options = AttentionOptions { causal: case.causal, path: self.path, ..Default::default() };
        let attended = ours::forward(&self.gpu, &inputs, &options)?;
        let gradients = case.backward.then(|| ours::backward(&self.gpu, &inputs, &attended, &self.d_o, &options)).transpose()?;
        self.gpu.finish()?;
        Ok(Box::new(move || {
            let mut tensors = vec![("o", attended.o)];
            tensors.extend(gradients.into_iter().flat_map(|d| [("d_q", d.d_q), ("d_k", d.d_k), ("d_v", d.d_v)]));
            tensors.into_iter().map(|(name, tensor)| Ok((name.to_string(), tensor.read_blocking()?))).collect()
        }))
    }
}

/// The inputs on burn's device: plain ones for inference, others that autodiff follows.
struct Burn {
    device: Device,
    plain: [Tensor<4>; 3],
    tracked: [Tensor<4>; 3],
    d_o: Tensor<4>,
}

impl Burn {
    fn new(device: Device, drawn: &Drawn) -> Result<Self> {
        let differentiating = device.clone().autodiff();
        let all = |device: &Device| [&drawn.q, &drawn.k, &drawn.v].map(|values| upload(values, drawn.shape(), device));
        let (plain, tracked) = (all(&device), all(&differentiating).map(Tensor::require_grad));
        let d_o = upload(&drawn.d_o, drawn.shape(), &differentiating);
        device.sync()?;
        Ok(Burn { device, plain, tracked, d_o })
    }

    fn side(&self, case: Case) -> Side<'_> {
        let run = move || if case.backward { self.both(case) } else { self.forward(case, attention) };
        Side { name: "burn", run: Box::new(run) }
    }

    fn composed(&self, case: Case) -> Side<'_> {
        Side { name: "burn composed", run: Box::new(move || self.forward(case, attention_fallback)) }
    }

    fn forward(&self, case: Case, attend: Attend) -> Result<Outputs> {
        let [q, k, v] = self.plain.clone();
        let o = attend(q, k, v, None, None, options(case));
        self.finish(vec![("o", o)])
    }

    fn both(&self, case: Case) -> Result<Outputs> {
        let [q, k, v] = self.tracked.clone();
        let o = attention(q, k, v, None, None, options(case));
        let gradients = (o.clone() * self.d_o.clone()).backward();
        let mut tensors = vec![("o", o.without_autodiff())];
        for (name, tensor) in ["d_q", "d_k", "d_v"].into_iter().zip(&self.tracked) {
            tensors.push((name, tensor.grad(&gradients).ok_or("burn returns no gradient")?));
        }
        self.finish(tensors)
    }

    fn finish(&self, tensors: Vec<(&'static str, Tensor<4>)>) -> Result<Outputs> {
        self.device.sync()?;
        Ok(Box::new(move || tensors.into_iter().map(|(name, tensor)| Ok((name.to_string(), read(tensor)?))).collect()))
    }
}

/// `attention` or `attention_fallback`.
type Attend =
    fn(Tensor<4>, Tensor<4>, Tensor<4>, Option<Tensor<4, burn::tensor::Bool>>, Option<Tensor<4>>, AttentionModuleOptions) -> Tensor<4>;

// No scale: burn's default is wattn's, and its fused kernel takes no other.
fn options(case: Case) -> AttentionModuleOptions {
    AttentionModuleOptions { is_causal: case.causal, ..Default::default() }
}

/// Compares, prints and records.
pub fn run(args: &Args) -> Result<()> {
    let options = &args.options;
    let gpu = options.open()?;
    let drawn = Drawn::new(args.seq as usize);
    let theirs = Burn::new(device::open(gpu.info())?, &drawn)?;
    let ours = Wattn::new(gpu.clone(), &drawn, args.path)?;
    let mut rows = vec![];
    for (backward, causal) in [(false, false), (false, true), (true, false), (true, true)] {
        let case = Case { causal, backward };
        let name = case.name(drawn.seq);
        if !options.want(&name) {
            continue;
        }
        let mut sides = vec![ours.side(case), theirs.side(case)];
        if !backward {
            sides.push(theirs.composed(case));
        }
        rows.push(measure(options, &name, case.flops(drawn.seq), &mut sides, None)?);
    }
    let subject = Subject { op: "attention", shape: &drawn.shape(), note: &format!(", wattn with path {}", args.path) };
    report::finish(gpu.info(), options, &subject, &rows)
}
