//! The kernels of additive scores: declarations, variants and dispatches.

use crate::Result;
use crate::gpu::{AnyVariant, Bind, Binding, Gpu, Kernel, Knobs, Params, Tensor, Variant, Work, spread};
use crate::ops::regions::{Cuts, Part, Region};

crate::params! {
    /// As `Params` in shaders/lib/additive.wgsl.
    struct AdditiveParams {
        batches: u32, rows: u32, cols: u32, features: u32, workgroups: u32, accumulate: u32,
        x_base: u32, x_batch: u32, x_row: u32, y_base: u32, y_batch: u32, y_col: u32, v_base: u32,
        s_base: u32, s_batch: u32, s_row: u32, s_col: u32, mask_base: u32, mask_batch: u32,
        d_x_base: u32, d_x_batch: u32, d_x_row: u32, d_v_base: u32, padding: u32,
    }
}

static FORWARD: Kernel = Kernel {
    name: "additive_attention/forward",
    source: include_str!("../../../shaders/additive_attention/forward.wgsl"),
    params: AdditiveParams::FIELDS,
    bindings: &[Binding::read("x"), Binding::read("y"), Binding::read("v"), Binding::write("scores")],
};

static BACKWARD: Kernel = Kernel {
    name: "additive_attention/backward",
    source: include_str!("../../../shaders/additive_attention/backward.wgsl"),
    params: AdditiveParams::FIELDS,
    bindings: &[
        Binding::read("x"),
        Binding::read("y"),
        Binding::read("v"),
        Binding::read("d_scores"),
        Binding::read("mask").when("MASK"),
        Binding::write("d_x"),
        Binding::write("d_v").when("D_V"),
    ],
};

/// LANES of the shaders: invocations of a workgroup.
const LANES: usize = 64;
/// PANEL of the forward: features that are staged together.
const PANEL: usize = 32;
/// Operations of lib/math's tanh, an exponential among them.
const TANH: f64 = 18.0;

/// The scores, by tiles of 16 queries and 16 keys, or of one query and 64 keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Forward {
    single: bool,
}

impl Variant for Forward {
    fn kernel(&self) -> &'static Kernel {
        &FORWARD
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().flag("SINGLE", self.single)
    }
}

/// The gradient of the queries' side, and with it that of v, or of the keys' side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Backward {
    single: bool,
    keys: bool,
    mask: bool,
}

impl Variant for Backward {
    fn kernel(&self) -> &'static Kernel {
        &BACKWARD
    }

    fn knobs(&self) -> Knobs {
        let sides = Knobs::new().bool("KEYS_ARE_ROWS", self.keys).flag("D_V", !self.keys);
        sides.flag("SINGLE", self.single).flag("MASK", self.mask)
    }
}

/// Every kernel variant.
pub(super) fn all() -> Vec<AnyVariant> {
    let sides = [(false, false), (true, false), (false, true)];
    let backward = sides.into_iter().flat_map(|(single, keys)| [false, true].map(|mask| AnyVariant::of(Backward { single, keys, mask })));
    [false, true].map(|single| AnyVariant::of(Forward { single })).into_iter().chain(backward).collect()
}

/// The axes of the kernels.
const BATCH: usize = 0;
const ROW: usize = 1;
const COL: usize = 2;
const FEATURE: usize = 3;

/// One side of the pairs: its rows of features, `[batch, count, features]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    pub tensor: &'a Tensor,
    pub count: usize,
}

/// Scores of queries and keys by their features.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scores<'a> {
    pub op: &'static str,
    pub batch: usize,
    pub features: usize,
    pub queries: Side<'a>,
    pub keys: Side<'a>,
    /// `[features]`
    pub v: &'a Tensor,
}

/// The tensors of a dispatch: x and y, v, the scores or their gradient, mask, d_x and d_v.
type Parts<'a> = [Option<Part<'a, 4>>; 7];

impl<'a> Scores<'a> {
    /// Rows of features along the rows, or the columns, of the kernels.
    fn side(&self, tensor: &'a Tensor, count: usize, axis: usize) -> Option<Part<'a, 4>> {
        let mut strides = [count * self.features, 0, 0, 1];
        strides[axis] = self.features;
        Some(Part { tensor, strides })
    }

    fn v(&self) -> Option<Part<'a, 4>> {
        Some(Part { tensor: self.v, strides: [0, 0, 0, 1] })
    }

    /// The longest loop of an invocation, when each of its indices takes so many rounds.
    fn most(gpu: &Gpu, axis: usize, rounds: usize) -> [usize; 4] {
        let mut most = [usize::MAX; 4];
        most[axis] = gpu.caps().max_rounds.map_or(usize::MAX, |max| max as usize / rounds);
        most
    }

    /// Writes `scores`, `[batch, queries, keys]`.
    pub fn forward(&self, gpu: &Gpu, scores: &'a Tensor) -> Result<()> {
        let Scores { op, batch, features, queries, keys, .. } = *self;
        let variant = Forward { single: queries.count <= 2 };
        let cuts = Cuts {
            op,
            tiles: if variant.single { [1, 1, LANES, PANEL] } else { [1, LANES / 4, LANES / 4, PANEL] },
            kept: [true, true, true, false],
            most: Scores::most(gpu, FEATURE, 3),
            flops: TANH + 3.0,
        };
        let s = Some(Part { tensor: scores, strides: [queries.count * keys.count, keys.count, 1, 0] });
        let (x, y) = (self.side(queries.tensor, queries.count, ROW), self.side(keys.tensor, keys.count, COL));
        let parts = [x, y, self.v(), s, None, None, None];
        run(gpu, cuts, variant, [batch, queries.count, keys.count, features], parts, FEATURE)
    }

    /// The gradients of the projected queries and, for each of them, of v: both `[batch, queries, features]`.
    pub fn backward_queries(&self, gpu: &Gpu, d_scores: &Tensor, mask: Option<&Tensor>, d_query: &Tensor, d_v: &Tensor) -> Result<()> {
        let keys = self.keys.count;
        let s = Part { tensor: d_scores, strides: [self.queries.count * keys, keys, 1, 0] };
        let mask = mask.map(|tensor| Part { tensor, strides: [keys, 0, 1, 0] });
        self.backward(gpu, [self.queries, self.keys], s, mask, d_query, Some(d_v))
    }

    /// The gradient of the projected keys, `[batch, keys, features]`.
    pub fn backward_keys(&self, gpu: &Gpu, d_scores: &Tensor, mask: Option<&Tensor>, d_keys: &Tensor) -> Result<()> {
        let keys = self.keys.count;
        let s = Part { tensor: d_scores, strides: [self.queries.count * keys, 1, keys, 0] };
        let mask = mask.map(|tensor| Part { tensor, strides: [keys, 1, 0, 0] });
        self.backward(gpu, [self.keys, self.queries], s, mask, d_keys, None)
    }

    /// The gradient of the first side and, where that is the queries, of v.
    fn backward<'t>(
        &'t self,
        gpu: &Gpu,
        [own, other]: [Side<'t>; 2],
        d_scores: Part<'t, 4>,
        mask: Option<Part<'t, 4>>,
        d_x: &'t Tensor,
        d_v: Option<&'t Tensor>,
    ) -> Result<()> {
        let keys = d_v.is_none();
        let variant = Backward { single: own.count <= 2 && !keys, keys, mask: mask.is_some() };
        let tanh = if keys { 0.0 } else { TANH + 2.0 };
        let cuts = Cuts {
            op: self.op,
            tiles: [1, if variant.single { 1 } else { 4 }, LANES, LANES],
            kept: [true, true, false, true],
            most: Scores::most(gpu, COL, 2),
            flops: tanh + 12.0,
        };
        let (x, y) = (self.side(own.tensor, own.count, ROW), self.side(other.tensor, other.count, COL));
        let (d_x, d_v) = (self.side(d_x, own.count, ROW), d_v.and_then(|d_v| self.side(d_v, own.count, ROW)));
        let parts = [x, y, self.v(), Some(d_scores), mask, d_x, d_v];
        run(gpu, cuts, variant, [self.batch, own.count, other.count, self.features], parts, COL)
    }
}

/// Runs a kernel piece by piece; along `summed` later ones add to what the first wrote.
fn run(gpu: &Gpu, cuts: Cuts<4>, variant: impl Variant, sizes: [usize; 4], parts: Parts, summed: usize) -> Result<()> {
    let present: Vec<Part<4>> = parts.into_iter().flatten().collect();
    cuts.each(gpu, Region::whole(sizes), &present, &mut |region| {
        let views = parts.map(|part| part.map(|part| part.window(region)));
        let [x_base, y_base, v_base, s_base, mask_base, d_x_base, d_v_base] = views.map(|view| view.map_or(0, |view| view.base()));
        let [batches, rows, cols, features] = region.sizes().map(|size| size as u32);
        let stride = |part: usize, axis: usize| parts[part].map_or(0, |part| part.strides[axis] as u32);
        let workgroups = cuts.workgroups(region);
        let params = AdditiveParams {
            batches,
            rows,
            cols,
            features,
            workgroups: workgroups as u32,
            accumulate: u32::from(region.starts()[summed] > 0),
            x_base,
            x_batch: stride(0, BATCH),
            x_row: stride(0, ROW),
            y_base,
            y_batch: stride(1, BATCH),
            y_col: stride(1, COL),
            v_base,
            s_base,
            s_batch: stride(3, BATCH),
            s_row: stride(3, ROW),
            s_col: stride(3, COL),
            mask_base,
            mask_batch: stride(4, BATCH),
            d_x_base,
            d_x_batch: stride(5, BATCH),
            d_x_row: stride(5, ROW),
            d_v_base,
            padding: 0,
        };
        let [x, y, v, s, mask, d_x, d_v] = views;
        // The forward writes the scores, the backward reads their gradient.
        let binds = [Bind::maybe(x), Bind::maybe(y), Bind::maybe(v)];
        let binds: Vec<Bind> = match d_x {
            None => binds.into_iter().chain([Bind::maybe_write(s)]).collect(),
            Some(_) => {
                binds.into_iter().chain([Bind::maybe(s), Bind::maybe(mask), Bind::maybe_write(d_x), Bind::maybe_write(d_v)]).collect()
            }
        };
        let work = Work { flops: cuts.flops(region), bytes: Bind::bytes(&binds) };
        gpu.dispatch(variant, &params, &binds, spread(workgroups, gpu.caps()), work)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::compose;

    #[test]
    fn the_shaders_have_the_same_tiles() {
        for variant in all() {
            let text = compose(variant.kernel, &variant.knobs).unwrap();
            let has = |line: String| text.lines().any(|own| own.starts_with(&line));
            assert!(has(format!("const LANES: u32 = {LANES}u;")));
            assert!(variant.kernel.name.ends_with("backward") || has(format!("const PANEL: u32 = {PANEL}u;")));
        }
    }
}
