//! The sum of a loss on the device.

use crate::gpu::{AnyVariant, Bind, Binding, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::{DType, Result};

crate::params! {
    /// As in shaders/loss/total.wgsl.
    struct TotalParams {
        count: u32, slices: u32, last: u32, mean: u32, parts_base: u32, sums_base: u32, loss_base: u32, padding: u32,
    }
}

static TOTAL: Kernel = Kernel {
    name: "loss/total",
    source: include_str!("../../../shaders/loss/total.wgsl"),
    params: TotalParams::FIELDS,
    bindings: &[Binding::read("parts"), Binding::write("sums"), Binding::write("loss")],
};

/// Parts of a workgroup, one to an invocation.
const SLICE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Sum;

impl Variant for Sum {
    fn kernel(&self) -> &'static Kernel {
        &TOTAL
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", SLICE as u32)
    }
}

/// Every kernel variant.
pub(crate) fn kernels() -> Vec<AnyVariant> {
    vec![AnyVariant::of(Sum)]
}

/// A loss that has been summed up.
pub(crate) struct Total {
    /// `[]`
    pub loss: Tensor,
    /// The sum of the terms and that of their weights: `[1, 2]`.
    pub sums: Tensor,
}

/// The sum, or with `mean` the mean, of parts `[parts, 2]`: each the sum of some terms and that of their weights.
pub(crate) fn total(gpu: &Gpu, parts: Tensor, mean: bool) -> Result<Total> {
    let loss = gpu.empty(DType::F32, &[])?;
    let mut parts = parts;
    loop {
        let count = parts.len() / 2;
        let slices = count.div_ceil(SLICE);
        let sums = gpu.empty(DType::F32, &[slices, 2])?;
        let each = Work { flops: 2.0 * SLICE as f64, bytes: 8.0 * SLICE as f64 };
        let most = gpu.at_once(each, slices).min(gpu.caps().max_window() / (8 * SLICE)).max(1);
        for first in (0..slices).step_by(most) {
            let own = most.min(slices - first);
            let terms = (own * SLICE).min(count - first * SLICE);
            let (from, to, loss) = (parts.window(2 * first * SLICE, 2 * terms), sums.window(2 * first, 2 * own), loss.view());
            let params = TotalParams {
                count: terms as u32,
                slices: own as u32,
                last: u32::from(slices == 1),
                mean: u32::from(mean),
                parts_base: from.base(),
                sums_base: to.base(),
                loss_base: loss.base(),
                padding: 0,
            };
            let work = Work { flops: 2.0 * terms as f64, bytes: 8.0 * terms as f64 };
            let binds = [Bind::Read(from), Bind::Write(to), Bind::Write(loss)];
            gpu.dispatch(Sum, &params, &binds, spread(own, gpu.caps()), work)?;
        }
        if slices == 1 {
            return Ok(Total { loss, sums });
        }
        parts = sums;
    }
}
