//! The kernels of the composed path: declarations, parameters and variants.

use crate::DType;
use crate::gpu::{AnyVariant, Binding, Caps, Kernel, Knobs, Params, Variant};
use crate::ops::host::floats;
use crate::ops::softmax::Rows;

crate::params! {
    /// As `Params` in shaders/lib/pairs.wgsl.
    pub(super) struct PairsParams {
        rows: u32, cols: u32, per_head: u32, i0: u32, bh0: u32, heads: u32, low: i32, high: i32, offset: i32, softcap: f32,
        scores_base: u32, d_probs_base: u32, d_logits_base: u32, lse_base: u32, lse_head: u32, lse_row: u32, d_slope_base: u32,
        mask_base: u32, mask_b: u32, mask_h: u32, mask_i: u32, mask_j: u32,
        bias_base: u32, bias_b: u32, bias_h: u32, bias_i: u32, bias_j: u32,
        keep_base: u32, keep_scale: f32, threshold: u32, seed_low: u32, seed_high: u32,
        random_start_low: u32, random_start_high: u32, random_head_low: u32, random_head_high: u32, random_row: u32,
    }
}

crate::params! {
    /// As in shaders/attention/composed_rows.wgsl.
    pub(super) struct RowsParams {
        rows: u32, per_head: u32, i0: u32, bh0: u32, heads: u32, cols: u32, dim: u32, o_base: u32, o_batch: u32, o_head: u32, o_row: u32,
        d_o_base: u32, lse_base: u32, lse_head: u32, lse_row: u32, row_data_base: u32,
    }
}

crate::params! {
    /// As in shaders/attention/fill.wgsl.
    pub(super) struct FillParams { count: u32, y_base: u32, bits: u32, padding: u32 }
}

static FORWARD: Kernel = Kernel {
    name: "attention/composed_forward",
    source: include_str!("../../../shaders/attention/composed_forward.wgsl"),
    params: PairsParams::FIELDS,
    bindings: &[
        Binding::read("mask").when("MASK"),
        Binding::read("bias").when("BIAS"),
        Binding::read("kv_lengths").when("LENGTHS"),
        Binding::read("alibi_slopes").when("ALIBI"),
        Binding::read("dropout_keep").when("KEEP"),
        Binding::write("scores"),
        Binding::write("lse"),
    ],
};

static ROWS: Kernel = Kernel {
    name: "attention/composed_rows",
    source: include_str!("../../../shaders/attention/composed_rows.wgsl"),
    params: RowsParams::FIELDS,
    bindings: &[
        Binding::read("kv_lengths").when("LENGTHS"),
        Binding::read("alibi_slopes").when("ALIBI"),
        Binding::read("o"),
        Binding::read("lse"),
        Binding::read("d_o"),
        Binding::write("row_data"),
    ],
};

static BACKWARD: Kernel = Kernel {
    name: "attention/composed_backward",
    source: include_str!("../../../shaders/attention/composed_backward.wgsl"),
    params: PairsParams::FIELDS,
    bindings: &[
        Binding::read("mask").when("MASK"),
        Binding::read("bias").when("BIAS"),
        Binding::read("dropout_keep").when("KEEP"),
        Binding::read("row_data"),
        Binding::write("scores"),
        Binding::write("d_probs"),
        Binding::write("d_logits").when("D_LOGITS"),
        Binding::write("d_slope").when("D_SLOPE"),
    ],
};

static FILL: Kernel = Kernel {
    name: "attention/fill",
    source: include_str!("../../../shaders/attention/fill.wgsl"),
    params: FillParams::FIELDS,
    bindings: &[Binding::write("y")],
};

/// Where dropout's decisions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Dropout {
    None,
    /// A tensor.
    Given,
    /// Random numbers.
    Random,
}

const DROPOUTS: [Dropout; 3] = [Dropout::None, Dropout::Given, Dropout::Random];

impl Dropout {
    fn knobs(self, knobs: Knobs) -> Knobs {
        knobs.flag("KEEP", self == Dropout::Given).flag("RANDOM", self == Dropout::Random)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Forward {
    pub rows: Rows,
    pub mask: bool,
    pub bias: bool,
    pub lengths: bool,
    pub alibi: bool,
    pub dropout: Dropout,
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        let knobs = self.rows.knobs().flag("MASK", self.mask).flag("BIAS", self.bias);
        self.dropout.knobs(knobs.flag("LENGTHS", self.lengths).flag("ALIBI", self.alibi))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RowData {
    pub d_o: DType,
    pub lengths: bool,
    pub alibi: bool,
}

/// Words of `RowData` in shaders/attention/composed_rows.wgsl.
pub(super) const ROW_DATA: usize = 4;
/// Invocations of a workgroup of the row data.
pub(super) const ROW_LANES: usize = 64;

impl Variant for RowData {
    fn kernel(&self) -> &'static Kernel {
        &ROWS
    }

    fn knobs(&self) -> Knobs {
        let knobs = Knobs::new().dtype("elem_d_o", self.d_o).u32("LANES", ROW_LANES as u32);
        knobs.flag("LENGTHS", self.lengths).flag("ALIBI", self.alibi)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Backward {
    pub rows: Rows,
    pub mask: bool,
    pub bias: bool,
    pub dropout: Dropout,
    /// The gradient of the logits is wanted, for that of the bias.
    pub d_logits: bool,
    /// The gradient of the slopes is wanted.
    pub d_slope: bool,
}

impl Variant for Backward {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD
    }

    fn knobs(&self) -> Knobs {
        let knobs = self.rows.knobs().flag("MASK", self.mask).flag("BIAS", self.bias);
        self.dropout.knobs(knobs.flag("D_LOGITS", self.d_logits).flag("D_SLOPE", self.d_slope))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fill;

/// Invocations of a workgroup that fills.
pub(super) const FILL_LANES: usize = 256;

impl Variant for Fill {
    fn kernel(&self) -> &'static Kernel {
        &FILL
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", FILL_LANES as u32)
    }
}

/// Every kernel variant.
pub(super) fn all(caps: &Caps) -> Vec<AnyVariant> {
    const BOTH: [bool; 2] = [false, true];
    let mut variants = vec![AnyVariant::of(Fill)];
    variants.extend(super::fused::kernels::all(caps));
    for (lengths, alibi) in BOTH.into_iter().flat_map(|l| BOTH.map(|a| (l, a))) {
        variants.extend(floats(caps).iter().map(|&d_o| AnyVariant::of(RowData { d_o, lengths, alibi })));
    }
    for rows in Rows::all(caps) {
        for (mask, dropout) in BOTH.into_iter().flat_map(|m| DROPOUTS.map(|d| (m, d))) {
            for (bias, lengths, alibi) in BOTH.into_iter().flat_map(|b| BOTH.into_iter().flat_map(move |l| BOTH.map(|a| (b, l, a)))) {
                variants.push(AnyVariant::of(Forward { rows, mask, bias, lengths, alibi, dropout }));
            }
            for (bias, d_logits) in [(false, false), (true, false), (true, true)] {
                variants.extend(BOTH.map(|d_slope| AnyVariant::of(Backward { rows, mask, bias, dropout, d_logits, d_slope })));
            }
        }
    }
    variants
}
