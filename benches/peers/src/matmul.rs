//! Products of square f32 matrices, forward.
//!
//! - `wattn`: the operation `matmul` of the registry, which is `ops::matmul::forward`.
//! - `burn`: `Tensor::matmul`.
//!
//! Their results are compared with wattn's.

use burn::tensor::{Device, Tensor};
use wattn::ops::Request;
use wattn::ops::matmul::Matmul;

use crate::Result;
use crate::case::Case;
use crate::device::{Pendings, drawn};
use crate::turns::{self, Side, Warm};

/// f32, without a bias.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    warm: Warm,
    /// Rows and columns; several may be given.
    #[arg(long, value_delimiter = ',', default_value = "256,512,1024,2048", value_parser = clap::value_parser!(u32).range(1..=16384))]
    size: Vec<u32>,
}

/// The case of one size, with the name that benches/ops/matmul.rs gives it.
pub fn case(size: u32) -> Case {
    Case {
        name: format!("{size}_forward"),
        op: &Matmul,
        shape: format!("{size},{size},{size}"),
        settings: vec![],
        edit: Box::new(|tensors, _| tensors.retain(|name, _| name != "d_y")),
        theirs,
        by_reference: false,
    }
}

fn theirs(device: &Device, request: &Request) -> Result<Vec<Side>> {
    let (a, b): (Tensor<2>, Tensor<2>) = (drawn(&request.tensors["a"], device)?, drawn(&request.tensors["b"], device)?);
    device.sync()?;
    let device = device.clone();
    let run = move || {
        let mut results = Pendings::default();
        results.push("y", a.clone().matmul(b.clone()));
        results.finish(&device)
    };
    Ok(vec![Side { name: "burn", run: Box::new(run) }])
}

/// Compares, prints and records.
pub fn run(args: &Args) -> Result<()> {
    turns::run(&args.warm, "matmul", "", args.size.iter().map(|&size| case(size)))
}
