//! Decoding token by token over a key/value cache: a prompt at once, then one token a step.
//!
//!     cargo run --release --example decode
//!
//! The model is one layer of attention with random weights, so what it says means nothing. In the end the whole sequence is run at once,
//! without a cache, and must give the same logits.

use wattn::ops::attention::{self, AttentionOptions, CacheOptions, CacheShape, Inputs, KvCache};
use wattn::ops::matmul::{self, MatmulOptions};
use wattn::ops::philox::Rng;
use wattn::ops::sum::{self, SumOptions};
use wattn::{DType, Gpu, GpuOptions, Result, Tensor};

const WORDS: usize = 40;
const CHANNELS: usize = 32;
const HEADS: usize = 4;
const DIM: usize = 8;
/// A token sees itself and this many before it.
const WINDOW: u32 = 12;

struct Model {
    gpu: Gpu,
    embedding: Vec<f32>,      // [words, channels]
    unembedding: Tensor,      // the same, on the device
    projections: [Tensor; 3], // of q, k and v: [heads, channels, dim]
    output: Tensor,           // [heads, dim, channels]
}

impl Model {
    fn new(gpu: &Gpu) -> Result<Self> {
        let mut rng = Rng::new(7);
        let embedding = rng.normals(WORDS * CHANNELS);
        let mut weights = |shape: [usize; 3]| {
            let scale = 1.0 / (shape[1] as f32).sqrt();
            gpu.tensor(&Vec::from_iter(rng.normals(shape.iter().product()).iter().map(|x| scale * x)), &shape)
        };
        Ok(Model {
            gpu: gpu.clone(),
            unembedding: gpu.tensor(&embedding, &[WORDS, CHANNELS])?,
            projections: [weights([HEADS, CHANNELS, DIM])?, weights([HEADS, CHANNELS, DIM])?, weights([HEADS, CHANNELS, DIM])?],
            output: weights([HEADS, DIM, CHANNELS])?,
            embedding,
        })
    }

    /// q, k and v of n tokens, each `[1, heads, n, dim]`.
    fn project(&self, tokens: &[usize]) -> Result<[Tensor; 3]> {
        let rows: Vec<f32> = tokens.iter().flat_map(|token| &self.embedding[token * CHANNELS..][..CHANNELS]).copied().collect();
        let x = self.gpu.tensor(&rows, &[1, tokens.len(), CHANNELS])?;
        let [q, k, v] = &self.projections;
        let project = |weights: &Tensor| {
            matmul::forward(&self.gpu, &x, weights, None, &MatmulOptions::default())?.reshape(&[1, HEADS, tokens.len(), DIM])
        };
        Ok([project(q)?, project(k)?, project(v)?])
    }

    /// The logits `[n, words]` of what attention gave, o `[1, heads, n, dim]`.
    fn logits(&self, o: &Tensor) -> Result<Vec<f32>> {
        let of_heads = matmul::forward(&self.gpu, o, &self.output, None, &MatmulOptions::default())?; // [1, heads, n, channels]
        let y = sum::forward(&self.gpu, &of_heads, &SumOptions { axes: Some(vec![0, 1]), keepdim: false })?;
        let transposed = MatmulOptions { trans_b: true, ..Default::default() };
        matmul::forward(&self.gpu, &y, &self.unembedding, None, &transposed)?.read_blocking::<f32>()
    }

    /// The logits of the last token, once the cache has taken in these.
    fn step(&self, cache: &mut KvCache, tokens: &[usize]) -> Result<Vec<f32>> {
        let [q, k, v] = self.project(tokens)?;
        cache.append(&self.gpu, &k, &v)?;
        let attended = cache.attend(&self.gpu, &q, None, &AttentionOptions::default())?;
        let logits = self.logits(&attended.o)?;
        Ok(logits[logits.len() - WORDS..].to_vec())
    }
}

fn main() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::default())?;
    let model = Model::new(&gpu)?;
    let shape = CacheShape { batch: 1, heads_kv: HEADS, dim: DIM, dim_v: DIM };
    // Room for the window and as many tokens again: keys that no token sees any more are dropped, and the rows used again.
    let options = CacheOptions { capacity: 32, window_left: Some(WINDOW) };
    let mut cache = KvCache::new(&gpu, &shape, DType::F32, &options)?;

    let mut tokens: Vec<usize> = vec![3, 1, 4, 1, 5, 9, 2, 6];
    let mut seen = 0;
    let mut steps = vec![];
    for _ in 0..50 {
        let logits = model.step(&mut cache, &tokens[seen..])?;
        seen = tokens.len();
        let likeliest = (0..WORDS).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        tokens.extend(likeliest);
        steps.push(logits);
    }
    println!("{tokens:?}\n{} tokens, of which {} are kept in {} rows", cache.len(), cache.kept(), cache.capacity());

    // The same at once: the logits of each step are those of its last token.
    let [q, k, v] = model.project(&tokens[..seen])?;
    let causal = AttentionOptions { causal: true, window_left: Some(WINDOW), ..Default::default() };
    let whole = model.logits(&attention::forward(&gpu, &Inputs::new(&q, &k, &v), &causal)?.o)?;
    let rows = whole.chunks(WORDS).skip(seen - steps.len());
    for (step, (got, expected)) in steps.iter().zip(rows).enumerate() {
        let error = got.iter().zip(expected).map(|(got, expected)| (got - expected).abs()).fold(0.0, f32::max);
        assert!(error < 1e-4, "step {step} is off by {error}");
    }
    Ok(())
}
