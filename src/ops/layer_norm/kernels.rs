//! The kernels and their variants.

use super::Kind;
use crate::Result;
use crate::gpu::{AnyVariant, Binding, Caps, Gpu, Kernel, Knobs, Params, Variant};
use crate::ops::Tuning;
use crate::ops::softmax::{Again, Rows};

crate::params! {
    /// As in shaders/layer_norm/forward.wgsl.
    pub(super) struct ForwardParams {
        rows: u32, cols: u32, eps: f32, x_base: u32, weight_base: u32, bias_base: u32, y_base: u32, mean_base: u32, rstd_base: u32,
        padding_0: u32, padding_1: u32, padding_2: u32,
    }
}

crate::params! {
    /// As in shaders/layer_norm/backward.wgsl.
    pub(super) struct BackwardParams {
        rows: u32, cols: u32, x_base: u32, weight_base: u32, mean_base: u32, rstd_base: u32, d_y_base: u32, d_x_base: u32,
    }
}

crate::params! {
    /// As in shaders/layer_norm/backward_weight.wgsl.
    pub(super) struct WeightParams {
        rows: u32, cols: u32, slice: u32, x_base: u32, mean_base: u32, rstd_base: u32, d_y_base: u32, d_weight_base: u32, d_bias_base: u32,
        padding_0: u32, padding_1: u32, padding_2: u32,
    }
}

static FORWARD: Kernel = Kernel {
    name: "layer_norm/forward",
    source: include_str!("../../../shaders/layer_norm/forward.wgsl"),
    params: ForwardParams::FIELDS,
    bindings: &[
        Binding::read("x"),
        Binding::read("weight").when("WEIGHT"),
        Binding::read("bias").when("BIAS"),
        Binding::write("y"),
        Binding::write("mean").when("CENTER"),
        Binding::write("rstd"),
    ],
};

static BACKWARD: Kernel = Kernel {
    name: "layer_norm/backward",
    source: include_str!("../../../shaders/layer_norm/backward.wgsl"),
    params: BackwardParams::FIELDS,
    bindings: &[
        Binding::read("x"),
        Binding::read("weight").when("WEIGHT"),
        Binding::read("mean").when("CENTER"),
        Binding::read("rstd"),
        Binding::read("d_y"),
        Binding::write("d_x"),
    ],
};

static BACKWARD_WEIGHT: Kernel = Kernel {
    name: "layer_norm/backward_weight",
    source: include_str!("../../../shaders/layer_norm/backward_weight.wgsl"),
    params: WeightParams::FIELDS,
    bindings: &[
        Binding::read("x"),
        Binding::read("mean").when("CENTER"),
        Binding::read("rstd"),
        Binding::read("d_y"),
        Binding::write("d_weight"),
        Binding::write("d_bias").when("BIAS"),
    ],
};

/// The longest rows that are held: 8 KiB, as softmax does it.
const LONGEST_FORWARD: usize = 2048;
const LONGEST_BACKWARD: usize = 1024;

/// How a row is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    rows: Rows,
    held: bool,
    kind: Kind,
    weight: bool,
}

impl Row {
    fn choose(gpu: &Gpu, kind: Kind, columns: usize, longest: usize, weight: bool) -> Result<Self> {
        Ok(Row { rows: Rows::choose(gpu, kind.op(), columns)?, held: Again::holds(gpu, columns, longest), kind, weight })
    }

    fn all(caps: &Caps, kind: Kind) -> Vec<Self> {
        let flags = [[false, false], [false, true], [true, false], [true, true]];
        let with = |rows: Rows| flags.map(|[held, weight]| Row { rows, held, kind, weight });
        Rows::all(caps).into_iter().flat_map(with).collect()
    }

    fn knobs(self, longest: usize) -> Knobs {
        let flags = [("HELD", self.held), ("CENTER", self.kind.centers()), ("WEIGHT", self.weight)];
        let knobs = flags.into_iter().fold(self.rows.knobs(), |knobs, (flag, on)| knobs.flag(flag, on));
        if self.held { knobs.u32("COLUMNS", longest as u32) } else { knobs }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Forward {
    row: Row,
    bias: bool,
}

impl Forward {
    pub fn choose(gpu: &Gpu, kind: Kind, columns: usize, weight: bool, bias: bool) -> Result<Self> {
        Ok(Forward { row: Row::choose(gpu, kind, columns, LONGEST_FORWARD, weight)?, bias })
    }
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        self.row.knobs(LONGEST_FORWARD).flag("BIAS", self.bias)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Backward(Row);

impl Backward {
    pub fn choose(gpu: &Gpu, kind: Kind, columns: usize, weight: bool) -> Result<Self> {
        Ok(Backward(Row::choose(gpu, kind, columns, LONGEST_BACKWARD, weight)?))
    }
}

impl Variant for Backward {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD
    }

    fn knobs(&self) -> Knobs {
        self.0.knobs(LONGEST_BACKWARD)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BackwardWeight {
    pub kind: Kind,
    pub bias: bool,
}

impl BackwardWeight {
    /// Columns of a workgroup.
    pub const WIDTH: usize = 32;
}

impl Variant for BackwardWeight {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD_WEIGHT
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("WIDTH", Self::WIDTH as u32).flag("CENTER", self.kind.centers()).flag("BIAS", self.bias)
    }
}

/// Every variant that a normalization has.
pub(crate) fn kernels(caps: &Caps, kind: Kind) -> Vec<AnyVariant> {
    let rows = Row::all(caps, kind).into_iter();
    let rows = rows.flat_map(|row| {
        let forward = [false, true].map(|bias| AnyVariant::of(Forward { row, bias }));
        forward.into_iter().chain([AnyVariant::of(Backward(row))])
    });
    rows.chain([false, true].map(|bias| AnyVariant::of(BackwardWeight { kind, bias }))).collect()
}

/// The default, then every way of working on a row pinned.
pub(crate) fn tunings(caps: &Caps) -> Vec<Tuning> {
    Tuning::all::<Rows>(caps).into_iter().chain(Tuning::all::<Again>(caps).into_iter().skip(1)).collect()
}
