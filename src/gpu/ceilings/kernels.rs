//! The kernels that measure the ceilings.

use crate::DType;
use crate::gpu::adapter::MatrixTeams;
use crate::gpu::kernel::{AnyVariant, Binding, Kernel, Knobs, Params, Variant};

crate::params! {
    pub(super) struct RoundsParams { rounds: u32, padding_0: u32, padding_1: u32, padding_2: u32 }
}

crate::params! {
    pub(super) struct CopyParams { count: u32, padding_0: u32, padding_1: u32, padding_2: u32 }
}

crate::params! {
    pub(super) struct EmptyParams { write: u32, padding_0: u32, padding_1: u32, padding_2: u32 }
}

static FMA: Kernel = Kernel {
    name: "gpu/fma",
    source: include_str!("../../../shaders/gpu/fma.wgsl"),
    params: RoundsParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

static UNITS: Kernel = Kernel {
    name: "gpu/units",
    source: include_str!("../../../shaders/gpu/units.wgsl"),
    params: RoundsParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

static COPY: Kernel = Kernel {
    name: "gpu/copy",
    source: include_str!("../../../shaders/gpu/copy.wgsl"),
    params: CopyParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

static EMPTY: Kernel = Kernel {
    name: "gpu/empty",
    source: include_str!("../../../shaders/gpu/empty.wgsl"),
    params: EmptyParams::FIELDS,
    bindings: &[Binding::write("y")],
};

/// Multiply-adds of this type, in a few chains or in many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fma {
    pub elem: DType,
    pub many: bool,
}

impl Fma {
    /// Invocations of a workgroup.
    pub const LANES: usize = 64;
}

impl Variant for Fma {
    fn kernel(&self) -> &'static Kernel {
        &FMA
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", Fma::LANES as u32).dtype("elem", self.elem).flag("MANY", self.many)
    }
}

/// Multiply-adds of matrix units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Units(pub MatrixTeams);

impl Units {
    /// TURNS and CHAINS of the shader.
    pub const TURNS: usize = 8;
    pub const CHAINS: usize = 4;
}

impl Variant for Units {
    fn kernel(&self) -> &'static Kernel {
        &UNITS
    }

    fn knobs(&self) -> Knobs {
        self.0.knobs().u32("TURNS", Units::TURNS as u32).u32("CHAINS", Units::CHAINS as u32)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Copying;

impl Copying {
    pub const LANES: usize = 256;
    /// Vectors of an invocation.
    pub const ITEMS: usize = 8;
}

impl Variant for Copying {
    fn kernel(&self) -> &'static Kernel {
        &COPY
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", Copying::LANES as u32).u32("ITEMS", Copying::ITEMS as u32)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Empty;

impl Variant for Empty {
    fn kernel(&self) -> &'static Kernel {
        &EMPTY
    }

    fn knobs(&self) -> Knobs {
        Knobs::new()
    }
}

/// Every variant.
pub(in crate::gpu) fn kernels() -> Vec<AnyVariant> {
    let fma = [DType::F32, DType::F16].into_iter().flat_map(|elem| [false, true].map(|many| AnyVariant::of(Fma { elem, many })));
    let units = [8, 16].map(|size| AnyVariant::of(Units(MatrixTeams { size, lanes: 128 })));
    fma.chain(units).chain([AnyVariant::of(Copying), AnyVariant::of(Empty)]).collect()
}
