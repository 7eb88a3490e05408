//! Attention, forward, and forward with backward: plain, causal, with key lengths, with a mask, and with a bias and its gradient.
//!
//! - `wattn`: the operation `attention` of the registry, which is `ops::attention::forward`, and `backward` of an upstream gradient that is
//!   drawn like the inputs.
//! - `burn`: `tensor::module::attention`. For inference it chooses a fused kernel, but not with a bias; under autodiff it is a product, a
//!   softmax and a product, which autodiff differentiates one by one. The upstream gradient comes in by multiplying o with it, which is one
//!   pass over o more than wattn does.
//! - `burn composed`: `tensor::module::attention_fallback`, without autodiff: the forward that training uses, and all there is with a bias.
//!
//! Their results are compared with wattn's.
//!
//! Key lengths are those of 2 batch elements, the second half as long as the first. burn has no such option and gets a mask that hides the
//! same keys. The mask hides a tenth of the pairs at random, the same in every head, and the bias is each head's own. To burn, whose masks
//! are `[batch, heads, seq_q, seq_k]` and hide where they are true, what is the same along a dimension is a view of what was uploaded.
//!
//! GFLOP/s count the useful operations, as everywhere: 4 · pairs · D forward, 12 · pairs · D with the backward, over the pairs that
//! causality and lengths leave visible.

use burn::tensor::module::{attention, attention_fallback};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use wattn::ops::attention::{Attention, Path};
use wattn::ops::philox::Rng;
use wattn::ops::{Arrays, Request};
use wattn::{Array, Data};

use crate::Result;
use crate::case::Case;
use crate::device::{Pendings, drawn};
use crate::turns::{self, Outputs, Side, Warm};

const HEADS: usize = 8;
const DIM: usize = 64;

/// 8 heads of 64; 1 batch, with key lengths 2.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    warm: Warm,
    /// Queries and keys; several may be given.
    #[arg(long, value_delimiter = ',', default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=65536))]
    seq: Vec<u32>,
    /// wattn's kernels: auto, fused or composed.
    #[arg(long, default_value = "auto", value_parser = path)]
    path: Path,
}

fn path(text: &str) -> std::result::Result<Path, String> {
    text.parse().map_err(|()| "expected auto, fused or composed".to_string())
}

/// What decides, beside q and k, how much a query sees of a key.
#[derive(Clone, Copy, PartialEq)]
pub enum With {
    Nothing,
    Causal,
    Lengths,
    Mask,
    Bias,
}

impl With {
    const ALL: [With; 5] = [With::Nothing, With::Causal, With::Lengths, With::Mask, With::Bias];

    /// Its part of a case's name.
    fn name(self) -> &'static str {
        match self {
            With::Nothing => "",
            With::Causal => "causal_",
            With::Lengths => "lengths_",
            With::Mask => "mask_",
            With::Bias => "bias_",
        }
    }

    fn batch(self) -> usize {
        if self == With::Lengths { 2 } else { 1 }
    }

    /// The tensor that it takes, if any.
    fn tensor(self, seq: usize, rng: &mut Rng) -> Option<(&'static str, Array)> {
        // No row is hidden entirely: each query sees the key at its own position.
        let mut keep = |pair: usize| u8::from(rng.uniform() < 0.9 || pair / seq == pair % seq);
        match self {
            With::Nothing | With::Causal => None,
            With::Lengths => Some(("kv_lengths", Array::i32(&[2], vec![seq as i32, seq.div_ceil(2) as i32]))),
            With::Mask => Some(("mask", Array::u8(&[1, 1, seq, seq], (0..seq * seq).map(&mut keep).collect()))),
            With::Bias => Some(("bias", Array::f32(&[1, HEADS, seq, seq], rng.normals(HEADS * seq * seq)))),
        }
    }
}

/// One case, with the name that benches/ops/attention.rs gives it or would.
pub fn case(seq: u32, with: With, backward: bool, path: Path) -> Case {
    let edit = move |tensors: &mut Arrays, rng: &mut Rng| {
        tensors.retain(|name, _| backward || name != "d_o");
        tensors.extend(with.tensor(seq as usize, rng).map(|(name, array)| (name.to_string(), array)));
    };
    Case {
        name: format!("{seq}_{}{}", with.name(), if backward { "both" } else { "forward" }),
        op: &Attention,
        shape: format!("{},{HEADS},{seq},{DIM}", with.batch()),
        settings: vec![("causal", (with == With::Causal).to_string()), ("path", path.to_string())],
        edit: Box::new(edit),
        theirs,
        by_reference: false,
    }
}

/// The inputs on burn's device; autodiff follows them when there is an upstream gradient.
#[derive(Clone)]
struct Burn {
    device: Device,
    causal: bool,
    /// q, k, v.
    inputs: [Tensor<4>; 3],
    hidden: Option<Tensor<4, Bool>>,
    bias: Option<Tensor<4>>,
    d_o: Option<Tensor<4>>,
}

impl Burn {
    fn new(device: &Device, request: &Request) -> Result<Self> {
        let followed = request.wants_gradients();
        let on = if followed { device.clone().autodiff() } else { device.clone() };
        let float = |name: &str| request.tensor(name).map(|array| drawn(array, &on)).transpose();
        let input = |name: &str| -> Result<Option<Tensor<4>>> {
            Ok(float(name)?.map(|tensor: Tensor<4>| if followed { tensor.require_grad() } else { tensor }))
        };
        let [Some(q), Some(k), Some(v)] = [input("q")?, input("k")?, input("v")?] else {
            return Err("attention takes q, k and v".into());
        };
        let burn = Burn {
            device: device.clone(),
            causal: request.settings.text("causal") == Some("true"),
            hidden: hidden(request, &q.dims(), &on),
            inputs: [q, k, v],
            bias: input("bias")?,
            d_o: float("d_o")?,
        };
        device.sync()?;
        Ok(burn)
    }

    fn side(&self, name: &'static str, attend: Attend) -> Side {
        let burn = self.clone();
        Side { name, run: Box::new(move || burn.run(attend)) }
    }

    fn run(&self, attend: Attend) -> Result<Outputs> {
        let [q, k, v] = self.inputs.clone();
        // No scale: burn's default is wattn's, and its fused kernel takes no other.
        let options = AttentionModuleOptions { is_causal: self.causal, ..Default::default() };
        let o = attend(q, k, v, self.hidden.clone(), self.bias.clone(), options);
        let mut results = Pendings::default();
        let Some(d_o) = &self.d_o else {
            results.push("o", o);
            return results.finish(&self.device);
        };
        let gradients = (o.clone() * d_o.clone()).backward();
        results.push("o", o.without_autodiff());
        for (name, tensor) in ["d_q", "d_k", "d_v", "d_bias"].into_iter().zip(self.inputs.iter().chain(&self.bias)) {
            results.push(name, tensor.grad(&gradients).ok_or("burn returns no gradient")?);
        }
        results.finish(&self.device)
    }
}

/// Where pairs are hidden, by a mask or by key lengths, in the shape that burn takes.
fn hidden(request: &Request, q: &[usize; 4], device: &Device) -> Option<Tensor<4, Bool>> {
    let [batch, heads, seq, _] = *q;
    let (shape, hidden): (_, Vec<bool>) = match (request.tensor("mask").map(Array::data), request.tensor("kv_lengths").map(Array::data)) {
        (Some(Data::U8(keep)), _) => ([1, 1, seq, seq], keep.iter().map(|&keep| keep == 0).collect()),
        (_, Some(Data::I32(lengths))) => {
            ([batch, 1, 1, seq], lengths.iter().flat_map(|&length| (0..seq).map(move |key| key >= length as usize)).collect())
        }
        _ => return None,
    };
    Some(Tensor::<4, Bool>::from_data(TensorData::new(hidden, shape), device).expand([batch, heads, seq, seq]))
}

/// `attention` or `attention_fallback`.
type Attend = fn(Tensor<4>, Tensor<4>, Tensor<4>, Option<Tensor<4, Bool>>, Option<Tensor<4>>, AttentionModuleOptions) -> Tensor<4>;

fn theirs(device: &Device, request: &Request) -> Result<Vec<Side>> {
    let burn = Burn::new(device, request)?;
    let mut sides = vec![burn.side("burn", attention)];
    // With a bias they are the same.
    if burn.d_o.is_none() && burn.bias.is_none() {
        sides.push(burn.side("burn composed", attention_fallback));
    }
    Ok(sides)
}

/// Compares, prints and records.
pub fn run(args: &Args) -> Result<()> {
    let of_length = |&seq: &u32| {
        let kinds = [false, true].into_iter().flat_map(|backward| With::ALL.map(|with| (backward, with)));
        kinds.map(move |(backward, with)| case(seq, with, backward, args.path))
    };
    turns::run(&args.warm, "attention", &format!(", wattn with path {}", args.path), args.seq.iter().flat_map(of_length))
}
