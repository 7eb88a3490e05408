//! Tensors too large to be drawn on the host: a kernel fills them with random numbers, any of which the host can draw as well.
//!
//! Word n of a tensor is random word n of its seed (shaders/lib/random.wgsl, `wattn::ops::philox`). It holds one f32, two f16 or four u8.

use wattn::gpu::{Bind, Binding, Kernel, Knobs, Params, Variant, Work, spread};
use wattn::ops::attention::{self, AttentionOptions, Inputs};
use wattn::ops::check::{Expected, wrong};
use wattn::ops::{Arrays, Request, Settings, find, philox};
use wattn::{Array, DType, Data, Gpu, Tensor, f16};

wattn::params! {
    struct FillParams { words: u32, first_block: u32, seed_low: u32, seed_high: u32 }
}

static FILL: Kernel = Kernel {
    name: "test/fill",
    source: "
#import index
#import random

const LANES: u32 = 256u;
// Numbers in a word: one f32, two f16 or four u8.
const NUMBERS: u32 = 1u;

struct Params { words: u32, first_block: u32, seed_low: u32, seed_high: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

// From 12 bits to [-1, 1), exact in f16.
fn number(bits: u32) -> f32 {
    return f32(bits) / 2048.0 - 1.0;
}

fn stored(word: u32) -> u32 {
    if NUMBERS == 1u {
        return bitcast<u32>(number(word >> 20u));
    }
    if NUMBERS == 2u {
        return pack2x16float(vec2(number(word & 0xfffu), number(word >> 20u)));
    }
    // 1 where one of the two lowest bits of a byte is set: three of four.
    return (word | (word >> 1u)) & 0x01010101u;
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let block = spread(group, groups) * LANES + local;
    if 4u * block >= params.words {
        return;
    }
    let words = philox4x32(vec4(params.first_block + block, 0u, 0u, 0u), vec2(params.seed_low, params.seed_high));
    for (var i = 0u; i < min(4u, params.words - 4u * block); i++) {
        y[4u * block + i] = stored(words[i]);
    }
}",
    params: FillParams::FIELDS,
    bindings: &[Binding::write("y")],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Fill {
    numbers: u32,
}

impl Variant for Fill {
    fn kernel(&self) -> &'static Kernel {
        &FILL
    }

    fn knobs(&self) -> Knobs {
        Knobs::new().u32("NUMBERS", self.numbers)
    }
}

/// A tensor of random numbers in [-1, 1), or of u8 of which three in four are 1.
pub struct Filled {
    pub tensor: Tensor,
    seed: u64,
}

impl Filled {
    pub fn new(gpu: &Gpu, dtype: DType, shape: &[usize], seed: u64) -> Self {
        let tensor = gpu.empty(dtype, shape).unwrap_or_else(|e| panic!("{shape:?} {dtype}: {e}"));
        let numbers = 4 / dtype.bytes();
        // A binding begins at a multiple of its alignment, which divides this.
        let step = (gpu.caps().max_binding as usize / 4).next_multiple_of(1 << 12) - (1 << 12);
        let words = tensor.len().div_ceil(numbers);
        for first in (0..words).step_by(step) {
            let count = step.min(words - first);
            let elements = (count * numbers).min(tensor.len() - first * numbers);
            let view = tensor.window(first * numbers, elements);
            assert_eq!(view.base(), 0);
            let params =
                FillParams { words: count as u32, first_block: (first / 4) as u32, seed_low: seed as u32, seed_high: (seed >> 32) as u32 };
            let groups = spread(count.div_ceil(4 * 256), gpu.caps());
            // Submitted now and then, as the work of an operation is.
            let work = Work { flops: 50.0 * count as f64, bytes: 4.0 * count as f64 };
            gpu.dispatch(Fill { numbers: numbers as u32 }, &params, &[Bind::Write(view)], groups, work).unwrap();
        }
        Filled { tensor, seed }
    }

    /// What the tensor holds from element `first` on.
    pub fn at(&self, first: usize, count: usize) -> Vec<f32> {
        let numbers = 4 / self.tensor.dtype().bytes();
        let number = |bits: u32| bits as f32 / 2048.0 - 1.0;
        let mut block = (u64::MAX, [0; 4]);
        let element = |i: usize| {
            let word = (i / numbers) as u64;
            if block.0 != word / 4 {
                let seed = [self.seed as u32, (self.seed >> 32) as u32];
                block = (word / 4, philox::philox4x32([(word / 4) as u32, 0, 0, 0], seed));
            }
            let word = block.1[(word % 4) as usize];
            match (numbers, i % numbers) {
                (1, _) | (2, 1) => number(word >> 20),
                (2, _) => number(word & 0xfff),
                (_, byte) => f32::from(u8::from((word >> (8 * byte)) & 3 != 0)),
            }
        };
        (first..first + count).map(element).collect()
    }

    /// Slices of `count` elements that begin at each of `firsts`, one after the other, as an array of this shape.
    pub fn slices(&self, firsts: &[usize], count: usize, shape: &[usize]) -> Array {
        let values: Vec<f32> = firsts.iter().flat_map(|&first| self.at(first, count)).collect();
        match self.tensor.dtype() {
            DType::U8 => Array::u8(shape, values.into_iter().map(|x| x as u8).collect()),
            _ => Array::f32(shape, values),
        }
    }
}

/// Elements of a tensor from `first` on, read back alone.
pub fn read(gpu: &Gpu, tensor: &Tensor, first: usize, count: usize) -> Vec<f32> {
    let size = tensor.dtype().bytes();
    let skipped = first % (4 / size);
    let offset = tensor.offset() + ((first - skipped) * size) as u64;
    let part = Tensor::from_buffer(gpu, tensor.buffer().clone(), offset, &[skipped + count], tensor.dtype()).unwrap();
    let values = match part.array().unwrap().data() {
        Data::F32(values) => values.clone(),
        Data::F16(values) => values.iter().copied().map(f16::to_f32).collect(),
        Data::U8(values) => values.iter().map(|&x| f32::from(x)).collect(),
        Data::I32(_) | Data::F64(_) => panic!("no result is of indices or of f64"),
    };
    values[skipped..].to_vec()
}

/// The same slices of a result.
pub fn read_slices(gpu: &Gpu, tensor: &Tensor, firsts: &[usize], count: usize, shape: &[usize]) -> Array {
    Array::f32(shape, firsts.iter().flat_map(|&first| read(gpu, tensor, first, count)).collect())
}

/// Compares slices of results with the reference on the same slices of the inputs. What of the reference's tensors is not in `got`
/// depends on more than the slices.
#[track_caller]
pub fn compare(op: &str, inputs: Vec<(&str, Array)>, settings: &[(&str, &str)], got: Vec<(&str, Array)>) {
    let op = find(op).unwrap_or_else(|| panic!("no operation '{op}'"));
    let named = |tensors: Vec<(&str, Array)>| tensors.into_iter().map(|(name, array)| (name.to_string(), array)).collect::<Arrays>();
    let settings = Settings::new(settings.iter().map(|&(key, value)| (key.to_string(), value.to_string())));
    let request = Request::new(op.spec(), named(inputs), settings).unwrap_or_else(|e| panic!("{e}"));
    let got = named(got);
    let checks = Expected::new(op, &request).unwrap_or_else(|e| panic!("{e}")).compare(op, &got);
    let checks: Vec<_> = checks.into_iter().filter(|check| got.contains_key(&check.name)).collect();
    assert_eq!(checks.len(), got.len());
    assert_eq!(wrong(&checks), None, "{}", op.spec().name);
}

/// Attention of some queries that stand at each of `places` in a long sequence and see a window of it.
#[track_caller]
pub fn attend_at(gpu: &Gpu, dtype: DType, [keys, dim]: [usize; 2], places: &[usize]) {
    let (queries, window) = (QUERIES, 300);
    let q = Filled::new(gpu, dtype, &[1, 1, queries, dim], 1);
    let [k, v] = [2, 3].map(|seed| Filled::new(gpu, dtype, &[1, 1, keys, dim], seed));
    let inputs = Inputs::new(&q.tensor, &k.tensor, &v.tensor);
    for &place in places {
        assert!(place + queries <= keys);
        let options = AttentionOptions { causal: true, offset: place as i32, window_left: Some(window as u32), ..Default::default() };
        let attended = attention::forward(gpu, &inputs, &options).unwrap();
        // The keys that they see are counted from the first of them.
        let first = place.saturating_sub(window);
        let seen = place + queries - first;
        let slice = |filled: &Filled| filled.slices(&[first * dim], seen * dim, &[1, 1, seen, dim]);
        let [offset, window, dtype] = [(place - first).to_string(), window.to_string(), dtype.to_string()];
        let settings = [("causal", "true"), ("offset", &offset), ("window_left", &window), ("dtype", &dtype)];
        let got = [("o", &attended.o), ("lse", &attended.lse)].map(|(name, tensor)| (name, tensor.array().unwrap()));
        let q = q.slices(&[0], queries * dim, &[1, 1, queries, dim]);
        compare("attention", vec![("q", q), ("k", slice(&k)), ("v", slice(&v))], &settings, got.into());
    }
}

/// Queries of [`attend_at`].
pub const QUERIES: usize = 8;

/// Places out of `count`: the first and the last, those on both sides of every multiple of `piece`, and some more.
pub fn places(count: usize, piece: usize) -> Vec<usize> {
    let mut rng = philox::Rng::new(count as u64);
    let ends = (piece..count).step_by(piece).flat_map(|at| [at - 1, at]);
    let mut all: Vec<usize> = [0, count - 1].into_iter().chain(ends).chain((0..6).map(|_| rng.below(count))).collect();
    all.sort_unstable();
    all.dedup();
    all
}
