//! The functions of shaders/lib that compute positions, called with indices at the ends of 32 bits and compared with u64 arithmetic on the
//! host. No tensor is large.

use wattn::gpu::{Bind, Binding, Kernel, Knobs, Params, Variant, Work};
use wattn::ops::philox::{self, Rng};
use wattn::{DType, f16};

wattn::params! {
    struct Count { count: u32, padding: u32 }
}

/// Four vectors in, one out.
static FUNCTIONS: Kernel = Kernel {
    name: "test/functions",
    source: "
#import index
#import random

const FUNCTION: u32 = 0u;

struct Params { count: u32, padding: u32 }
struct Call { a: vec4<u32>, b: vec4<u32>, c: vec4<u32> }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> calls: array<Call>;
@group(0) @binding(2) var<storage, read_write> results: array<vec4<u32>>;

fn result(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>) -> vec4<u32> {
    switch FUNCTION {
        case 0u: { return vec4(spread(a.xyz, b.xyz), 0u, 0u, 0u); }
        case 1u: { return vec4(offset_of(a.x, b, c), 0u, 0u, 0u); }
        case 2u: { return vec4(byte_of(a.x, b.x), 0u, 0u, 0u); }
        case 3u: { return vec4(bitcast<u32>(distance_past(a.x, b.x, bitcast<i32>(c.x))), 0u, 0u, 0u); }
        case 4u: { return vec4(wide_multiply(a.x, b.x), 0u, 0u); }
        case 5u: { return vec4(wide_add(a.xy, b.xy), 0u, 0u); }
        case 6u: { return vec4(wide_scale(a.xy, b.x), 0u, 0u); }
        default: { return vec4(random_element(a.xy, b.xy), 0u, 0u, 0u); }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.count {
        let call = calls[id.x];
        results[id.x] = result(call.a, call.b, call.c);
    }
}",
    params: Count::FIELDS,
    bindings: &[Binding::read("calls"), Binding::write("results")],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Function(u32);

impl Variant for Function {
    fn kernel(&self) -> &'static Kernel {
        &FUNCTIONS
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("FUNCTION", self.0)
    }
}

type Call = [[u32; 4]; 3];

/// Calls a function of the shaders with each of these, and compares the first two words.
#[track_caller]
fn check(function: u32, calls: &[Call], expected: impl Fn(&Call) -> [u32; 2]) {
    let gpu = super::gpu();
    let words: Vec<i32> = calls.iter().flatten().flatten().map(|&word| word as i32).collect();
    let calls_on_device = gpu.tensor(&words, &[words.len()]).unwrap();
    let results = gpu.empty(DType::I32, &[calls.len(), 4]).unwrap();
    let params = Count { count: calls.len() as u32, padding: 0 };
    let binds = [Bind::Read(calls_on_device.view()), Bind::Write(results.view())];
    gpu.dispatch(Function(function), &params, &binds, [calls.len().div_ceil(64) as u32, 1, 1], Work::default()).unwrap();
    let results = results.read_blocking::<i32>().unwrap();
    for (call, got) in calls.iter().zip(results.chunks_exact(4)) {
        assert_eq!([got[0] as u32, got[1] as u32], expected(call), "function {function} of {call:?}");
    }
}

/// Numbers around which something may overflow.
fn edges() -> Vec<u32> {
    let around = [0u32, 1 << 15, 1 << 16, 1 << 24, 1 << 30, 1 << 31].into_iter();
    around.flat_map(|n| [n.wrapping_sub(2), n.wrapping_sub(1), n, n.wrapping_add(1)]).collect()
}

/// Every pair of them.
fn pairs() -> impl Iterator<Item = (u32, u32)> {
    edges().into_iter().flat_map(|a| edges().into_iter().map(move |b| (a, b)))
}

fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

fn whole([low, high]: [u32; 2]) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[test]
fn workgroups_of_two_dimensions() {
    let groups = |x: u32, y: u32, across: u32| [[x, y, 0, 0], [across, 65_535, 1, 0], [0; 4]];
    let calls: Vec<Call> = [0, 1, 65_533, 65_534].into_iter().flat_map(|x| [0, 1, 32_768, 65_534].map(|y| groups(x, y, 65_535))).collect();
    check(0, &calls, |[a, b, _]| halves(u64::from(a[1]) * u64::from(b[0]) + u64::from(a[0])));
}

/// Tensors of 2³¹ elements, read through strides and repeated: the offset of the last elements, and of many in between.
#[test]
fn offsets_of_strided_elements() {
    let shapes: [([u32; 4], [u32; 4]); 6] = [
        ([1, 1, 1, 1 << 31], [0, 0, 0, 1]),
        ([1, 1, 1 << 16, 1 << 15], [0, 0, 1 << 15, 1]),
        // Transposed.
        ([1, 1, 1 << 16, 1 << 15], [0, 0, 1, 1 << 16]),
        ([46_337, 3, 5, 3089], [46_335, 15_445, 3089, 1]),
        // Repeated along two of four.
        ([1 << 10, 1 << 9, 1 << 7, 1 << 5], [1 << 21, 0, 1 << 14, 0]),
        ([7, 11, 27_887_399, 1], [306_761_389, 27_887_399, 1, 0]),
    ];
    let mut rng = Rng::new(1);
    for (sizes, strides) in shapes {
        let count: u64 = sizes.iter().map(|&n| u64::from(n)).product();
        assert!(count > 1 << 30 && count <= 1 << 31, "{sizes:?}");
        let ends = edges().into_iter().map(u64::from).chain((1..5).map(|back| count - back)).filter(|&i| i < count);
        let indices: Vec<u64> = ends.chain((0..200).map(|_| rng.below(count as usize) as u64)).collect();
        let calls: Vec<Call> = indices.into_iter().map(|i| [[i as u32, 0, 0, 0], sizes, strides]).collect();
        check(1, &calls, |[index, sizes, strides]| {
            let mut rest = u64::from(index[0]);
            let mut offset = 0;
            for (&size, &stride) in sizes.iter().zip(strides).rev() {
                offset += rest % u64::from(size) * u64::from(stride);
                rest /= u64::from(size);
            }
            assert!(offset < 1 << 32, "the place is in a tensor");
            [offset as u32, 0]
        });
    }
}

#[test]
fn bytes_of_words() {
    let calls: Vec<Call> = edges().into_iter().map(|index| [[0x8421_c3a5, 0, 0, 0], [index, 0, 0, 0], [0; 4]]).collect();
    check(2, &calls, |[word, index, _]| [u32::from(word[0].to_le_bytes()[(index[0] % 4) as usize]), 0]);
}

/// |i + offset - j| for slopes, exact to f32's own rounding wherever it lies.
#[test]
fn distances_between_positions() {
    let positions = [0u32, 1, 1000, 1 << 24, (1 << 24) + 1, (1 << 30) - 2];
    let offsets = [0i32, 1, -1, 1 << 24, (1 << 24) + 1, -(1 << 24) - 1, 1 << 30, (1 << 30) + 3, -(1 << 30) - 3, i32::MAX, i32::MIN];
    let calls: Vec<Call> = positions
        .into_iter()
        .flat_map(|i| positions.map(|j| (i, j)))
        .flat_map(|(i, j)| offsets.map(|offset| [[i, 0, 0, 0], [j, 0, 0, 0], [offset as u32, 0, 0, 0]]))
        .collect();
    let exact = |[i, j, offset]: &Call| i64::from(i[0]) - i64::from(j[0]) + i64::from(offset[0] as i32);
    // Offsets of up to 2³⁰ are rounded once.
    let (near, far): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(|call| (call[2][0] as i32).unsigned_abs() <= 1 << 30);
    check(3, &near, |call| [(exact(call) as f32).to_bits(), 0]);
    // Others have two parts, each of which is.
    check(3, &far, |call| {
        let near = (call[2][0] as i32).clamp(-(1 << 30), 1 << 30);
        let part = i64::from(call[0][0]) - i64::from(call[1][0]) + i64::from(near);
        let sum = part as f32 + (call[2][0] as i32 - near) as f32;
        assert!((f64::from(sum) - exact(call) as f64).abs() <= 256.0, "{sum} for {}", exact(call));
        [sum.to_bits(), 0]
    });
}

#[test]
fn numbers_of_64_bits() {
    let calls: Vec<Call> = pairs().map(|(a, b)| [[a, 0, 0, 0], [b, 0, 0, 0], [0; 4]]).collect();
    check(4, &calls, |[a, b, _]| halves(u64::from(a[0]) * u64::from(b[0])));
    let wide: Vec<Call> = pairs().flat_map(|(a, b)| pairs().step_by(7).map(move |(c, d)| [[a, b, 0, 0], [c, d, 0, 0], [0; 4]])).collect();
    check(5, &wide, |[a, b, _]| halves(whole([a[0], a[1]]).wrapping_add(whole([b[0], b[1]]))));
    check(6, &wide, |[a, b, _]| halves(whole([a[0], a[1]]).wrapping_mul(u64::from(b[0]))));
}

#[test]
fn random_words() {
    let calls: Vec<Call> = pairs().map(|(low, high)| [[7, 0xffff_fff0, 0, 0], [low, high, 0, 0], [0; 4]]).collect();
    check(7, &calls, |[seed, at, _]| [philox::element(whole([seed[0], seed[1]]), whole([at[0], at[1]])), 0]);
}

wattn::params! {
    /// As `Params` in shaders/lib/batched.wgsl.
    struct Batched {
        m: u32, n: u32, k: u32, accumulate: u32, scale: f32, first: u32,
        a_base: u32, a_row: u32, a_col: u32, b_base: u32, b_row: u32, b_col: u32, y_base: u32, y_row: u32, y_col: u32,
        extra_base: u32, extra_row: u32, extra_col: u32, padding_0: u32, padding_1: u32,
        sizes: [u32; 4], a_batch: [u32; 4], b_batch: [u32; 4], y_batch: [u32; 4], extra_batch: [u32; 4],
    }
}

static BATCHED: Kernel = Kernel {
    name: "test/batched",
    source: "
#import batched

@group(0) @binding(1) var<storage, read> calls: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> results: array<vec4<u32>>;

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3<u32>) {
    let call = calls[group.x];
    find_batch(call.x);
    results[group.x] = vec4(a_at(call.y, call.z), b_at(call.y, call.z), y_at(call.y, call.z), columns_left(call.z));
}",
    params: Batched::FIELDS,
    bindings: &[Binding::read("calls"), Binding::write("results")],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct InBatches;

impl Variant for InBatches {
    fn kernel(&self) -> &'static Kernel {
        &BATCHED
    }

    fn knobs(&self) -> Knobs {
        Knobs::new()
    }
}

/// Elements of products of 2³¹ elements, in windows that begin far into them: bases are negative and come right by wrapping around.
#[test]
fn elements_of_batched_matrices() {
    // y is [3, 5, 11959, 11971], 2,147,418,... elements; a is read transposed, b is repeated along the outer batches.
    let [outer, inner, m, n] = [3u64, 5, 11_959, 11_971];
    assert!(outer * inner * m * n > (1 << 31) - (1 << 20) && outer * inner * m * n <= 1 << 31);
    let place = |strides: [u64; 4], [batch, i, j]: [u64; 3]| {
        batch / inner * strides[0] + batch % inner * strides[1] + i * strides[2] + j * strides[3]
    };
    let layouts: [[u64; 4]; 3] = [[inner * m * n, m * n, 1, m], [0, m * n, n, 1], [inner * m * n, m * n, n, 1]];
    // The window of each tensor begins at this batch, row and column, and some elements into its binding.
    let (start, into) = ([13u64, 11_000, 64], 17u64);
    let base = |layout: [u64; 4]| (into.wrapping_sub(place(layout, start))) as u32;
    let word = |layout: usize, axis: usize| layouts[layout][axis] as u32;
    let batch = |layout: usize| [0, 0, word(layout, 0), word(layout, 1)];
    let params = Batched {
        m: m as u32,
        n: n as u32,
        k: 1,
        accumulate: 0,
        scale: 1.0,
        first: 13,
        a_base: base(layouts[0]),
        a_row: word(0, 2),
        a_col: word(0, 3),
        b_base: base(layouts[1]),
        b_row: word(1, 2),
        b_col: word(1, 3),
        y_base: base(layouts[2]),
        y_row: word(2, 2),
        y_col: word(2, 3),
        extra_base: 0,
        extra_row: 0,
        extra_col: 0,
        padding_0: 0,
        padding_1: 0,
        sizes: [1, 1, outer as u32, inner as u32],
        a_batch: batch(0),
        b_batch: batch(1),
        y_batch: batch(2),
        extra_batch: [0; 4],
    };
    let places: Vec<[u64; 3]> =
        [13, 14].into_iter().flat_map(|b| [11_000, 11_958].into_iter().flat_map(move |i| [64, 11_970].map(|j| [b, i, j]))).collect();
    let words: Vec<i32> = places.iter().flat_map(|&[b, i, j]| [b as i32 - 13, i as i32, j as i32, 0]).collect();
    let gpu = super::gpu();
    let calls = gpu.tensor(&words, &[places.len(), 4]).unwrap();
    let results = gpu.empty(DType::I32, &[places.len(), 4]).unwrap();
    let binds = [Bind::Read(calls.view()), Bind::Write(results.view())];
    gpu.dispatch(InBatches, &params, &binds, [places.len() as u32, 1, 1], Work::default()).unwrap();
    let results = results.read_blocking::<i32>().unwrap();
    for (&at, got) in places.iter().zip(results.chunks_exact(4)) {
        let expected = layouts.map(|layout| (place(layout, at) as i64 - place(layout, start) as i64 + into as i64) as u32 as i32);
        assert_eq!(got[..3], expected, "{at:?}");
        assert_eq!(got[3] as u64, (n - at[2]).min(4), "{at:?}");
    }
}

/// What tests/sizes/fill.rs fills is what it says.
#[test]
fn filled_tensors_hold_what_is_said() {
    use super::fill::{Filled, read};
    let gpu = super::gpu();
    for dtype in [DType::F32, DType::U8].into_iter().chain(gpu.caps().f16.then_some(DType::F16)) {
        let filled = Filled::new(gpu, dtype, &[1 << 16, 11], 0x1234_5678_9abc);
        for first in [0, 1, 2, 3, 5, (11 << 16) - 100] {
            assert_eq!(read(gpu, &filled.tensor, first, 100), filled.at(first, 100), "{dtype} from {first}");
        }
    }
    assert!(f16::from_f32(2047.0 / 2048.0).to_f32() == 2047.0 / 2048.0, "every number is exact in f16");
}
