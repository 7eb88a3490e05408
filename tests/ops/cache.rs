//! The key/value cache: decoding in steps gives the rows that attention over the whole sequence gives.

use wattn::ops::attention::{AttentionOptions, CacheOptions, CacheShape, KvCache};
use wattn::ops::check::Expected;
use wattn::ops::{Arrays, Request, Settings, find};
use wattn::{Array, DType, Error, Gpu, GpuOptions, Tensor, wgpu};

use crate::common::open;
use crate::{Device, SMALL_BINDING, assert_close, bits, floats, gpu, normal, try_run};

const DEVICES: [Device; 3] = [Device::Default, Device::Baseline, Device::SmallBindings];

/// A sequence, and the steps in which it is decoded.
#[derive(Clone, Copy, Debug)]
struct Decoding {
    heads_q: usize,
    shape: CacheShape,
    dtype: DType,
    options: CacheOptions,
    attention: AttentionOptions,
    alibi: bool,
    /// Tokens of each step.
    steps: &'static [usize],
}

const ODD: &[usize] = &[1, 7, 1, 33, 2, 65, 1, 1, 20, 1];

/// Plain causal attention, in odd steps, with room for one token at first.
fn plain() -> Decoding {
    Decoding {
        heads_q: 4,
        shape: CacheShape { batch: 2, heads_kv: 2, dim: 67, dim_v: 5 },
        dtype: DType::F32,
        options: CacheOptions { capacity: 1, window_left: None },
        attention: AttentionOptions::default(),
        alibi: false,
        steps: ODD,
    }
}

/// What the steps read and gave: the tensors of the whole sequence.
struct Decoded {
    tensors: Arrays,
    outputs: Arrays,
    cache: KvCache,
}

impl Decoding {
    /// The tokens from `from` on of a tensor `[batch, heads, seq, dim]`.
    fn tokens(&self, gpu: &Gpu, whole: &Array, from: usize, n: usize) -> Tensor {
        let &[batch, heads, seq, dim] = whole.shape() else { panic!("{:?}", whole.shape()) };
        let rows: Vec<f32> = floats(whole).chunks(seq * dim).flat_map(|head| &head[from * dim..][..n * dim]).copied().collect();
        gpu.upload(&Array::f32(&[batch, heads, n, dim], rows).to_float(self.dtype)).unwrap()
    }

    fn cache(&self, gpu: &Gpu) -> KvCache {
        KvCache::new(gpu, &self.shape, self.dtype, &self.options).unwrap()
    }

    /// Decodes a drawn sequence with this cache, which is empty.
    fn run(&self, gpu: &Gpu, mut cache: KvCache, seed: u64) -> Decoded {
        let CacheShape { batch, heads_kv, dim, dim_v } = self.shape;
        let seq: usize = self.steps.iter().sum();
        let [q, k, v] = [[self.heads_q, dim], [heads_kv, dim], [heads_kv, dim_v]].map(|[heads, dim]| [batch, heads, seq, dim]);
        let mut tensors = Arrays::new();
        for (i, (name, shape)) in [("q", q), ("k", k), ("v", v)].into_iter().enumerate() {
            tensors.insert(name.into(), normal(3 * seed + i as u64, &shape));
        }
        if self.alibi {
            let slopes = (0..self.heads_q).map(|h| 0.5 / (h + 1) as f32).collect();
            tensors.insert("alibi_slopes".into(), Array::f32(&[self.heads_q], slopes));
        }
        let slopes = tensors.get("alibi_slopes").map(|slopes| gpu.upload(slopes).unwrap());
        let (mut o, mut lse) = (vec![0.0; batch * self.heads_q * seq * dim_v], vec![0.0; batch * self.heads_q * seq]);
        let mut from = 0;
        for &n in self.steps {
            let [q, k, v] = ["q", "k", "v"].map(|name| self.tokens(gpu, &tensors[name], from, n));
            cache.append(gpu, &k, &v).unwrap();
            let attended = cache.attend(gpu, &q, slopes.as_ref(), &self.attention).unwrap();
            for (whole, step, dim) in [(&mut o, attended.o, dim_v), (&mut lse, attended.lse, 1)] {
                let step = step.read_blocking::<f32>().unwrap();
                for (head, rows) in whole.chunks_mut(seq * dim).zip(step.chunks(n * dim)) {
                    head[from * dim..][..n * dim].copy_from_slice(rows);
                }
            }
            from += n;
            assert_eq!(cache.len(), from);
        }
        let o = ("o".to_string(), Array::f32(&[batch, self.heads_q, seq, dim_v], o));
        let outputs = Arrays::from([o, ("lse".to_string(), Array::f32(&[batch, self.heads_q, seq], lse))]);
        Decoded { tensors, outputs, cache }
    }

    /// The keys of the whole sequence's attention.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![("causal", "true".to_string()), ("dtype", self.dtype.to_string())];
        settings.extend(self.attention.window_left.or(self.options.window_left).map(|window| ("window_left", window.to_string())));
        settings.extend(self.attention.scale.map(|scale| ("scale", scale.to_string())));
        settings.push(("softcap", self.attention.softcap.to_string()));
        settings
    }

    /// Decodes on a device and compares with the whole sequence: with what the device computes for it, and with the reference.
    fn check(&self, gpu: &Gpu) -> KvCache {
        let decoded = self.run(gpu, self.cache(gpu), 1);
        self.compare(gpu, &decoded);
        decoded.cache
    }

    fn compare(&self, gpu: &Gpu, decoded: &Decoded) {
        let settings = self.settings();
        let tensors: Vec<(&str, &Array)> = decoded.tensors.iter().map(|(name, array)| (name.as_str(), array)).collect();
        let borrowed: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let whole = try_run(gpu, "attention", &tensors, &borrowed).unwrap();
        for name in ["o", "lse"] {
            assert_close(floats(&decoded.outputs[name]), floats(&whole[name]), 2e-5);
        }
        let op = find("attention").unwrap();
        let settings = Settings::new(settings.into_iter().map(|(key, value)| (key.to_string(), value)));
        let request = Request::new(op.spec(), decoded.tensors.clone(), settings).unwrap();
        for check in Expected::new(op, &request).unwrap().compare(op, &decoded.outputs) {
            assert!(check.ok, "{self:?}: {check}");
        }
    }
}

/// Runs on all devices, in f32 and f16, and hands each cache to `look`.
fn on_every_device(decodings: &[Decoding], look: impl Fn(&Decoding, &KvCache)) {
    for device in DEVICES {
        let gpu = device.open();
        for &dtype in types(&gpu) {
            for decoding in decodings.iter().map(|decoding| Decoding { dtype, ..*decoding }) {
                look(&decoding, &decoding.check(&gpu));
            }
        }
    }
}

/// How a device can store keys and values.
fn types(gpu: &Gpu) -> &'static [DType] {
    if gpu.caps().f16 {
        return &[DType::F32, DType::F16];
    }
    println!("cache: f16 skipped, this device cannot store it");
    &[DType::F32]
}

#[test]
fn steps_give_what_the_whole_sequence_gives() {
    let one_by_one = Decoding { steps: &[1; 35], ..plain() };
    let roomy = Decoding { options: CacheOptions { capacity: 500, window_left: None }, ..plain() };
    let one_head =
        Decoding { heads_q: 1, shape: CacheShape { batch: 3, heads_kv: 1, dim: 1, dim_v: 33 }, steps: &[5, 1, 1, 9, 1], ..plain() };
    on_every_device(&[plain(), one_by_one, roomy, one_head], |decoding, cache| {
        let len = decoding.steps.iter().sum();
        assert_eq!((cache.len(), cache.kept(), cache.is_empty()), (len, len, false));
        assert!(cache.capacity() >= len && cache.capacity() < (2 * len).max(decoding.options.capacity + 1));
        assert_eq!(cache.k().shape(), [decoding.shape.batch, decoding.shape.heads_kv, cache.capacity(), decoding.shape.dim]);
        assert_eq!(cache.v().shape(), [decoding.shape.batch, decoding.shape.heads_kv, cache.capacity(), decoding.shape.dim_v]);
    });
}

#[test]
fn a_window_drops_keys_and_nothing_else() {
    let with = |window, steps| Decoding { options: CacheOptions { capacity: 1, window_left: Some(window) }, steps, ..plain() };
    let narrower = AttentionOptions { window_left: Some(3), ..Default::default() };
    let relative = AttentionOptions { softcap: 2.0, scale: Some(0.3), window_right: Some(0), ..Default::default() };
    let decodings = [
        with(0, &[1; 12]),
        with(5, &[1; 60]),
        with(16, ODD),
        Decoding { attention: narrower, ..with(16, ODD) },
        Decoding { attention: relative, alibi: true, ..with(9, &[1, 3, 1, 30, 1, 1, 1, 12, 1, 1, 25, 1, 40]) },
        // A prompt far longer than the window, whose room is given back.
        with(2, &[120, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ];
    on_every_device(&decodings, |decoding, cache| {
        let window = decoding.options.window_left.unwrap() as usize;
        let largest = *decoding.steps.iter().max().unwrap();
        assert!(cache.kept() < cache.len() && cache.kept() > window, "{decoding:?}: {} kept", cache.kept());
        assert!(cache.capacity() <= 2 * (window + largest), "{decoding:?}: room for {}", cache.capacity());
    });
    let gpu = gpu();
    let after_a_prompt = decodings[5].check(gpu);
    assert!(after_a_prompt.capacity() <= 2 * 3, "room for {}", after_a_prompt.capacity());
}

/// Caches of which one binding holds a few heads, and of which it holds a part of one.
#[test]
fn a_cache_larger_than_a_binding() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: SMALL_BINDING, ..wgpu::Limits::defaults() };
    // With its features, unlike Device::SmallBindings: f16 is cut as well.
    let gpu = open(GpuOptions { limits: Some(limits), ..Default::default() });
    for &dtype in types(&gpu) {
        for (heads_kv, dim) in [(13, 16), (1, 163), (3, 67)] {
            let shape = CacheShape { batch: 1, heads_kv, dim, dim_v: 3 };
            let cache = Decoding { heads_q: heads_kv, shape, dtype, steps: &[100, 60, 1, 90, 1], ..plain() }.check(&gpu);
            assert!(cache.k().bytes() > 2 * SMALL_BINDING, "{} bytes", cache.k().bytes());
        }
    }
}

/// What the spare rows hold reaches nothing: here memory that held NaN before.
#[test]
fn spare_rows_do_not_matter() {
    let gpu = Device::Default.open();
    let decoding = Decoding { options: CacheOptions { capacity: 64, window_left: None }, steps: &[1, 7, 1, 33, 2, 30, 1], ..plain() };
    let plain = decoding.run(&gpu, decoding.cache(&gpu), 1);
    let CacheShape { batch, heads_kv, dim, dim_v } = decoding.shape;
    // In the sizes of the first tensors and of those that they grow to, and nothing else may take the place of these.
    gpu.trim();
    let spoilt = |capacity: usize| {
        [dim, dim_v].map(|dim| gpu.tensor(&vec![f32::NAN; batch * heads_kv * capacity * dim], &[batch, heads_kv, capacity, dim]).unwrap())
    };
    drop([spoilt(64), spoilt(128)]);
    gpu.finish().unwrap();
    let cache = decoding.cache(&gpu);
    assert!(cache.k().read_blocking::<f32>().unwrap().iter().all(|x| x.is_nan()), "the pool gave other memory");
    let planted = decoding.run(&gpu, cache, 1);
    assert_eq!((planted.cache.len(), planted.cache.capacity()), (75, 128));
    for tensor in [planted.cache.k(), planted.cache.v()] {
        let values = tensor.read_blocking::<f32>().unwrap();
        let spare = values.iter().filter(|x| x.is_nan()).count();
        assert_eq!(spare * 128, values.len() * (128 - 75), "NaN in {:?}", tensor.shape());
    }
    for name in ["o", "lse"] {
        assert_eq!(bits(floats(&planted.outputs[name])), bits(floats(&plain.outputs[name])), "{name}");
    }
}

#[test]
fn a_cleared_cache_starts_again() {
    let decoding = Decoding { options: CacheOptions { capacity: 1, window_left: Some(16) }, ..plain() };
    let first = decoding.run(gpu(), decoding.cache(gpu()), 1);
    let mut cache = first.cache;
    let capacity = cache.capacity();
    cache.clear();
    assert_eq!((cache.len(), cache.kept(), cache.is_empty(), cache.capacity()), (0, 0, true, capacity));
    let second = decoding.run(gpu(), cache, 2);
    decoding.compare(gpu(), &second);
    assert_ne!(first.outputs, second.outputs);
}

/// The cache's own tensors, and clones of them, may be appended as well.
#[test]
fn a_cache_can_be_appended_to_itself() {
    let gpu = gpu();
    let shape = CacheShape { batch: 1, heads_kv: 1, dim: 2, dim_v: 2 };
    let mut cache = KvCache::new(gpu, &shape, DType::F32, &CacheOptions { capacity: 1, window_left: None }).unwrap();
    let row = |x: f32| gpu.tensor(&[x, x], &[1, 1, 1, 2]).unwrap();
    cache.append(gpu, &row(1.0), &row(2.0)).unwrap();
    let (k, v) = (cache.k().clone(), cache.v().clone());
    // Exchanged, into a cache that has room for them.
    cache.clear();
    cache.append(gpu, &v, &k).unwrap();
    assert_eq!(cache.k().read_blocking::<f32>().unwrap()[..2], [2.0; 2]);
    assert_eq!(cache.v().read_blocking::<f32>().unwrap()[..2], [1.0; 2]);
    let (k, v) = (cache.k().reshape(&[1, 1, cache.capacity(), 2]).unwrap(), cache.v().clone());
    let before = cache.capacity();
    cache.append(gpu, &k, &v).unwrap();
    assert_eq!(cache.len(), 1 + before);
    assert_eq!(cache.k().read_blocking::<f32>().unwrap()[..4], [2.0; 4]);
}

/// After the first steps a step that moves nothing makes nothing new, and with a window neither does one that does.
#[test]
fn a_step_creates_nothing() {
    for window_left in [None, Some(8)] {
        let gpu = Device::Default.open();
        let options = CacheOptions { capacity: if window_left.is_some() { 18 } else { 128 }, window_left };
        let decoding = Decoding { options, ..plain() };
        let mut cache = decoding.cache(&gpu);
        let [q, k, v] = [(4, 67), (2, 67), (2, 5)].map(|(heads, dim)| decoding.tokens(&gpu, &normal(1, &[2, heads, 1, dim]), 0, 1));
        let counts = || (gpu.memory().buffers_created, gpu.counters().pipelines);
        let mut before = counts();
        for step in 0..100 {
            cache.append(&gpu, &k, &v).unwrap();
            cache.attend(&gpu, &q, None, &AttentionOptions::default()).unwrap().o.read_blocking::<f32>().unwrap();
            // The first move takes a second pair of tensors.
            if step > 30 {
                assert_eq!(counts(), before, "step {step}, window {window_left:?}");
            }
            before = counts();
        }
        assert_eq!(cache.capacity(), options.capacity);
    }
}

/// Steps in an application's encoder, growth included.
#[test]
fn steps_in_an_encoder() {
    let gpu = Device::Default.open();
    let decoding = Decoding { steps: &[3, 1, 4], ..plain() };
    let [q, k, v] = [(4, 67), (2, 67), (2, 5)].map(|(heads, dim)| normal(heads as u64, &[2, heads, 8, dim]));
    let steps = |gpu: &Gpu| {
        let mut cache = decoding.cache(gpu);
        let mut from = 0;
        let mut last = None;
        for &n in decoding.steps {
            let [q, k, v] = [&q, &k, &v].map(|whole| decoding.tokens(gpu, whole, from, n));
            cache.append(gpu, &k, &v)?;
            last = Some(cache.attend(gpu, &q, None, &AttentionOptions::default())?.o);
            from += n;
        }
        Ok(last.unwrap())
    };
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let recorded = gpu.encode(&mut encoder, steps).unwrap();
    let expected = steps(&gpu).unwrap().read_blocking::<f32>().unwrap();
    gpu.queue().submit([encoder.finish()]);
    assert_eq!(bits(&recorded.read_blocking::<f32>().unwrap()), bits(&expected));
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let gpu = Device::Baseline.open();
    let new = |shape: CacheShape, dtype, capacity| {
        KvCache::new(&gpu, &shape, dtype, &CacheOptions { capacity, window_left: Some(2) }).map(drop).unwrap_err().to_string()
    };
    let shape = CacheShape { batch: 2, heads_kv: 2, dim: 3, dim_v: 1 };
    assert_eq!(new(shape, DType::I32, 4), "kv_cache: 'k' is i32; expected f32 or f16");
    assert!(new(shape, DType::F16, 4).contains("lacks SHADER_F16"));
    assert_eq!(new(shape, DType::F32, 0), "kv_cache: 'k' has shape [2, 2, 0, 3]; expected every dimension at least 1");
    assert!(new(CacheShape { dim_v: 0, ..shape }, DType::F32, 4).contains("'v' has shape [2, 2, 4, 0]"));
    assert!(new(shape, DType::F32, 1 << 30).contains("over this device's limit of 2147483648"));
    assert!(new(shape, DType::F32, usize::MAX).contains("over this device's limit"));

    let zeros = |shape: [usize; 4]| gpu.tensor(&vec![0.0f32; shape.iter().product()], &shape).unwrap();
    let mut cache = KvCache::new(&gpu, &shape, DType::F32, &CacheOptions { capacity: 4, window_left: Some(2) }).unwrap();
    let attend = |cache: &KvCache, q: [usize; 4], options: AttentionOptions| {
        cache.attend(&gpu, &zeros(q), None, &options).map(drop).unwrap_err().to_string()
    };
    let plain = AttentionOptions::default();
    assert!(attend(&cache, [2, 2, 1, 3], plain).contains("n at most 0"));
    for n in [3, 2] {
        cache.append(&gpu, &zeros([2, 2, n, 3]), &zeros([2, 2, n, 1])).unwrap();
    }
    let state = (cache.len(), cache.kept(), cache.capacity(), cache.k().buffer().clone());

    let mut append = |k: &Tensor, v: &Tensor| cache.append(&gpu, k, v).unwrap_err().to_string();
    assert_eq!(append(&zeros([2, 1, 1, 3]), &zeros([2, 2, 1, 1])), "kv_cache: 'k' has shape [2, 1, 1, 3]; expected [2, 2, n, 3]");
    assert_eq!(append(&zeros([2, 2, 5, 3]), &zeros([2, 2, 4, 1])), "kv_cache: 'v' has shape [2, 2, 4, 1]; expected [2, 2, 5, 1]");
    assert!(append(&zeros([2, 2, 1, 3]).reshape(&[12]).unwrap(), &zeros([2, 2, 1, 1])).contains("'k' has shape [12]"));
    let integers = gpu.tensor(&[0i32; 12], &[2, 2, 1, 3]).unwrap();
    assert_eq!(append(&integers, &zeros([2, 2, 1, 1])), "kv_cache: 'k' is i32; expected f32");
    let integers = gpu.tensor(&[0i32; 4], &[2, 2, 1, 1]).unwrap();
    assert_eq!(append(&zeros([2, 2, 1, 3]), &integers), "kv_cache: 'v' is i32; expected f32");
    assert_eq!(state, (cache.len(), cache.kept(), cache.capacity(), cache.k().buffer().clone()));

    let expected = "expected [2, heads_q, n, 3] with heads_q a multiple of 2 and n at most 2, the last tokens whose keys are all there";
    for q in [[2, 2, 3, 3], [1, 2, 1, 3], [2, 3, 1, 3], [2, 2, 1, 4]] {
        assert_eq!(attend(&cache, q, plain), format!("kv_cache: 'q' has shape {q:?}; {expected}"));
    }
    assert!(attend(&cache, [2, 2, 1, 3], AttentionOptions { offset: 1, ..plain }).contains("offset = 1; expected 0"));
    assert!(attend(&cache, [2, 2, 1, 3], AttentionOptions { dropout_p: 0.5, ..plain }).contains("dropout_p = 0.5; expected 0"));
    let wider = AttentionOptions { window_left: Some(3), ..plain };
    assert_eq!(attend(&cache, [2, 2, 1, 3], wider), "kv_cache: window_left = 3; expected at most 2, the cache's");
    assert!(attend(&cache, [2, 2, 1, 3], AttentionOptions { softcap: -1.0, ..plain }).contains("softcap"));
    let slopes = gpu.tensor(&[1.0f32; 3], &[3]).unwrap();
    assert!(cache.attend(&gpu, &zeros([2, 2, 1, 3]), Some(&slopes), &plain).unwrap_err().to_string().contains("'alibi_slopes'"));
    // A smaller window leaves out what may be gone, so that more tokens can be served.
    let narrower = AttentionOptions { window_left: Some(0), ..plain };
    cache.attend(&gpu, &zeros([2, 2, 4, 3]), None, &narrower).unwrap().o.read_blocking::<f32>().unwrap();
    assert!(attend(&cache, [2, 2, 5, 3], narrower).contains("n at most 4"));
}

/// Where there is no room for twice as much, just enough is taken; where there is not even that, everything stays as it was.
#[test]
fn a_cache_that_the_memory_cannot_hold() {
    let gpu = open(GpuOptions { max_bytes: Some(1 << 20), ..Default::default() });
    let shape = CacheShape { batch: 1, heads_kv: 1, dim: 64, dim_v: 64 };
    let mut cache = KvCache::new(&gpu, &shape, DType::F32, &CacheOptions { capacity: 512, window_left: None }).unwrap();
    let tokens = |n: usize, value: f32| gpu.tensor(&vec![value; n * 64], &[1, 1, n, 64]).unwrap();
    cache.append(&gpu, &tokens(512, 1.0), &tokens(512, 1.0)).unwrap();
    gpu.finish().unwrap();
    // 256 KiB are in use, and 512 KiB more leave too little for the rest.
    let held = gpu.empty(DType::F32, &[64 << 10]).unwrap();
    let one = tokens(1, 1.0);
    cache.append(&gpu, &one, &one).unwrap();
    assert_eq!(cache.capacity(), 513);
    gpu.finish().unwrap();
    let refused = cache.append(&gpu, &tokens(400, 2.0), &tokens(400, 2.0));
    assert!(matches!(refused, Err(Error::OutOfMemory { .. })), "{refused:?}");
    assert_eq!((cache.len(), cache.kept(), cache.capacity()), (513, 513, 513));
    drop(held);
    gpu.finish().unwrap();
    let o = cache.attend(&gpu, &one, None, &AttentionOptions::default()).unwrap().o.read_blocking::<f32>().unwrap();
    assert_close(&o, &[1.0; 64], 1e-5);
}
