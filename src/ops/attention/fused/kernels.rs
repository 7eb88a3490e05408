//! The kernels of the fused path: declarations, parameters and variants.

use super::tile::Tile;
use crate::DType;
use crate::gpu::{AnyVariant, Binding, Caps, Kernel, Knobs, Params, Variant};
use crate::ops::host::floats;

crate::params! {
    /// As `Params` in shaders/lib/fused.wgsl.
    #[derive(Default)]
    pub(super) struct FusedParams {
        workgroups: u32, tiles: u32, heads: u32, head0: u32, i_begin: u32, i_end: u32, j_begin: u32, j_end: u32,
        part_keys: u32, part0: u32, parts: u32, tiles_along: u32, q_head_begin: u32, q_head_end: u32,
        resume: u32, group: u32, quads: u32, quads_v: u32, scale: f32, softcap: f32, slopes: u32, keep_scale: f32, threshold: u32,
        seed_low: u32, seed_high: u32, repeat_h: u32, repeat_b: u32, tiles_across: u32,
        random_head_low: u32, random_head_high: u32, random_row: u32,
        q_head: u32, q_row: u32, k_head: u32, k_row: u32, q_base: u32, k_base: u32, v_base: u32, o_base: u32, lse_base: u32,
        d_q_base: u32, d_k_base: u32, d_v_base: u32, d_o_base: u32, row_data_base: u32,
        mask_base: u32, mask_b: u32, mask_h: u32, mask_cells: u32, mask_i: u32, mask_j: u32,
        bias_base: u32, bias_b: u32, bias_h: u32, bias_i: u32, bias_j: u32,
        d_bias_base: u32, d_bias_b: u32, d_bias_h: u32, d_bias_row: u32, d_bias_col: u32,
    }
}

crate::params! {
    /// As in shaders/attention/guide.wgsl.
    pub(super) struct GuideParams {
        sequences: u32, slopes: u32, slopes_at: u32, mask_at: u32, slopes_base: u32, mask_base: u32, mask_h: u32, mask_b: u32, mask_i: u32,
        mask_j: u32, heads: u32, records: u32, cells: u32, workgroups: u32, i_begin: u32, i_end: u32, j_begin: u32, j_end: u32,
    }
}

crate::params! {
    /// As in shaders/attention/merge.wgsl.
    pub(super) struct MergeParams {
        rows: u32, parts: u32, quads: u32, o_parts_base: u32, lse_parts_base: u32, o_base: u32, lse_base: u32, padding: u32,
    }
}

const Q: Binding = Binding::read("q");
const K: Binding = Binding::read("k");
const V: Binding = Binding::read("v");
const BIAS: Binding = Binding::read("bias").when("BIAS");
/// As `GUIDE` writes it.
const GUIDE_READ: Binding = Binding::read("guide");
const D_O: Binding = Binding::read("d_o");
const ROW_DATA: Binding = Binding::read("row_data");

static FORWARD: Kernel = Kernel {
    name: "attention/fused_forward",
    source: include_str!("../../../../shaders/attention/fused_forward.wgsl"),
    params: FusedParams::FIELDS,
    bindings: &[Q, K, V, BIAS, GUIDE_READ, Binding::write("o"), Binding::write("lse")],
};

static BACKWARD_Q: Kernel = Kernel {
    name: "attention/fused_backward_q",
    source: include_str!("../../../../shaders/attention/fused_backward_q.wgsl"),
    params: FusedParams::FIELDS,
    bindings: &[Q, K, V, BIAS, GUIDE_READ, D_O, Binding::write("row_data"), Binding::write("d_q")],
};

static BACKWARD_KV: Kernel = Kernel {
    name: "attention/fused_backward_kv",
    source: include_str!("../../../../shaders/attention/fused_backward_kv.wgsl"),
    params: FusedParams::FIELDS,
    bindings: &[Q, K, V, BIAS, GUIDE_READ, D_O, ROW_DATA, Binding::write("d_k").when("D_K"), Binding::write("d_v").when("D_V")],
};

static BACKWARD_BIAS: Kernel = Kernel {
    name: "attention/fused_backward_bias",
    source: include_str!("../../../../shaders/attention/fused_backward_bias.wgsl"),
    params: FusedParams::FIELDS,
    bindings: &[Q, K, V, BIAS, GUIDE_READ, D_O, ROW_DATA, Binding::write("d_bias")],
};

static GUIDE: Kernel = Kernel {
    name: "attention/guide",
    source: include_str!("../../../../shaders/attention/guide.wgsl"),
    params: GuideParams::FIELDS,
    bindings: &[
        Binding::read("sequences"),
        Binding::read("alibi_slopes").when("ALIBI"),
        Binding::read("mask").when("MASK"),
        Binding::write("guide"),
    ],
};

static MERGE: Kernel = Kernel {
    name: "attention/merge",
    source: include_str!("../../../../shaders/attention/merge.wgsl"),
    params: MergeParams::FIELDS,
    bindings: &[Binding::read("o_parts"), Binding::read("lse_parts"), Binding::write("o"), Binding::write("lse")],
};

/// What the kernels over tiles have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Common {
    pub tile: Tile,
    /// How q, k and v are stored.
    pub elem: DType,
    pub mask: bool,
    pub bias: bool,
    /// Softcap, ALiBi or dropout.
    pub extras: bool,
}

const BOTH: [bool; 2] = [false, true];

impl Common {
    fn knobs(self) -> Knobs {
        let knobs = self.tile.knobs().dtype("elem", self.elem).bool("EXTRAS", self.extras);
        knobs.flag("MASK", self.mask).flag("BIAS", self.bias)
    }

    fn all(caps: &Caps, tiles: impl Iterator<Item = Tile>) -> Vec<Self> {
        let mut all = vec![];
        let stored = |tile: Tile| floats(caps).iter().filter(move |&&elem| tile.units.is_none() || elem == DType::F16);
        for (tile, elem) in tiles.flat_map(|tile| stored(tile).map(move |&elem| (tile, elem))) {
            for (mask, bias) in BOTH.into_iter().flat_map(|mask| BOTH.map(|bias| (mask, bias))) {
                all.extend(BOTH.map(|extras| Common { tile, elem, mask, bias, extras }));
            }
        }
        all
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Forward {
    pub common: Common,
    /// Every tile of keys is visible as a whole.
    unguarded: bool,
}

impl Forward {
    /// The one for a call, of which every tile may be `visible` as a whole: tall tiles have a variant that makes use of it.
    pub fn choose(common: Common, visible: bool) -> Self {
        Forward { common, unguarded: visible && common.tile.tall && !common.mask && !common.bias }
    }

    fn all(caps: &Caps) -> Vec<Self> {
        let common = Common::all(caps, Tile::all(caps).into_iter());
        let mut all: Vec<Self> = common.into_iter().flat_map(|common| BOTH.map(|visible| Forward::choose(common, visible))).collect();
        all.dedup();
        all
    }
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        let knobs = self.common.knobs();
        if self.common.tile.tall { knobs.bool("GUARDED", !self.unguarded) } else { knobs }
    }
}

/// What the kernels of the backward have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Backward {
    pub common: Common,
    /// How d_o is stored.
    pub d_o: DType,
}

impl Backward {
    fn knobs(self) -> Knobs {
        self.common.knobs().flag("D_O", true).dtype("elem_d_o", self.d_o)
    }

    /// Whether there are kernels for a d_o of this type: f32, or as q, k and v.
    pub fn serves(elem: DType, d_o: DType) -> bool {
        d_o == DType::F32 || d_o == elem
    }

    fn all(caps: &Caps) -> Vec<Self> {
        let with = |common: Common| {
            floats(caps).iter().filter(move |&&d_o| Backward::serves(common.elem, d_o)).map(move |&d_o| Backward { common, d_o })
        };
        Common::all(caps, Tile::all(caps).into_iter().filter(|tile| !tile.few() && tile.serves_all())).into_iter().flat_map(with).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BackwardQ(pub Backward);

impl Variant for BackwardQ {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD_Q
    }

    fn knobs(&self) -> Knobs {
        self.0.knobs()
    }
}

/// Which of the two gradients a dispatch makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BackwardKv {
    pub backward: Backward,
    pub d_k: bool,
    pub d_v: bool,
}

impl BackwardKv {
    /// One kernel where the device binds enough buffers, else two.
    pub fn choose(backward: Backward, caps: &Caps) -> Vec<Self> {
        let together = BackwardKv { backward, d_k: true, d_v: true };
        if together.kernel().present(&together.knobs()).count() <= caps.storage_buffers as usize {
            return vec![together];
        }
        vec![BackwardKv { d_k: false, ..together }, BackwardKv { d_v: false, ..together }]
    }
}

impl Variant for BackwardKv {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD_KV
    }

    fn knobs(&self) -> Knobs {
        self.backward.knobs().flag("D_K", self.d_k).flag("D_V", self.d_v)
    }
}

/// How the gradient of the bias is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Walk {
    /// A tile over the heads and sequences that share it.
    Tiles,
    /// Over the keys of each query.
    Keys,
    /// Over the queries of each key.
    Queries,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BackwardBias {
    pub backward: Backward,
    pub walk: Walk,
}

impl Variant for BackwardBias {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD_BIAS
    }

    fn knobs(&self) -> Knobs {
        self.backward.knobs().bool("SUMMED", self.walk != Walk::Tiles).bool("TRANSPOSED", self.walk == Walk::Queries)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Guide {
    pub alibi: bool,
    pub mask: bool,
}

impl Variant for Guide {
    fn kernel(&self) -> &'static Kernel {
        &GUIDE
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().flag("ALIBI", self.alibi).flag("MASK", self.mask)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Merge;

/// Invocations of a workgroup that merges.
pub(super) const MERGE_LANES: usize = 64;

impl Variant for Merge {
    fn kernel(&self) -> &'static Kernel {
        &MERGE
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("LANES", MERGE_LANES as u32)
    }
}

/// Every kernel variant.
pub(in super::super) fn all(caps: &Caps) -> Vec<AnyVariant> {
    let mut variants = vec![AnyVariant::of(Merge)];
    variants.extend([(true, false), (false, true), (true, true)].map(|(alibi, mask)| AnyVariant::of(Guide { alibi, mask })));
    variants.extend(Forward::all(caps).into_iter().map(AnyVariant::of));
    for backward in Backward::all(caps) {
        variants.push(AnyVariant::of(BackwardQ(backward)));
        variants.extend(BackwardKv::choose(backward, caps).into_iter().map(AnyVariant::of));
        if backward.common.bias {
            variants.extend([Walk::Tiles, Walk::Keys, Walk::Queries].map(|walk| AnyVariant::of(BackwardBias { backward, walk })));
        }
    }
    variants
}
