//! Long work is cut into several dispatches and submissions, by how fast a device is found to be. That must not be seen in the results: the
//! order of every sum is fixed by the shapes and the device's limits.

use wattn::Gpu;
use wattn::gpu::Work;
use wattn::ops::{Operation, REGISTRY, Request};

use crate::{Device, Results, bits_of};

/// So few operations that everything is cut that can be.
pub const TINY: f64 = 1e5;

/// Compares the bits of a request whose work is cut with those of the same one on the whole.
pub fn compare(gpu: &Gpu, op: &dyn Operation, request: &Request, whole: &Results) -> Result<(), String> {
    let cut = op.prepare(&gpu.submitting(TINY), request).and_then(|mut run| run()).and_then(|outputs| bits_of(&outputs));
    let cut = cut.map_err(|e| e.to_string())?;
    let differ: Vec<&str> = whole.iter().zip(&cut).filter(|(whole, cut)| whole != cut).map(|(whole, _)| whole.0.as_str()).collect();
    if differ.is_empty() { Ok(()) } else { Err(format!("other bits where work is cut: {}", differ.join(", "))) }
}

/// The comparison above is none where nothing is cut.
#[test]
fn work_is_cut() {
    let whole = Device::Default.open().submitting(1e15);
    for op in REGISTRY {
        let f32s = op.cases().into_iter().filter(|case| !case.settings.contains(&("dtype", "f16")));
        // Copies have no operations.
        let work = |request: &Request| op.cost(request).map(|cost| cost.flops + cost.bytes).unwrap();
        let requests = f32s.map(|case| case.request(*op, 1).unwrap());
        let largest = requests.max_by(|a, b| work(a).total_cmp(&work(b))).unwrap();
        let dispatches = |gpu: &Gpu| {
            let mut run = op.prepare(gpu, &largest).unwrap();
            let before = gpu.counters().dispatches;
            run().unwrap();
            gpu.finish().unwrap();
            gpu.counters().dispatches - before
        };
        let [whole, cut] = [whole.clone(), whole.submitting(TINY)].map(|gpu| dispatches(&gpu));
        assert!(cut > whole, "{}: {cut} dispatches, and {whole} where nothing is cut", op.spec().name);
    }
}

/// Small work asks no device how fast it is; large work does, once, and what a user has fixed is never measured.
#[test]
fn a_device_is_measured_once() {
    let work = |flops: f64| Work { flops, bytes: 0.0 };
    let gpu = Device::Default.open();
    assert!(gpu.share(work(1e6), 1) < 1.0);
    assert_eq!(gpu.counters().pipelines, 0);
    let whole = gpu.share(work(1e15), 1);
    assert!(whole > 1.0 && gpu.counters().pipelines == 1, "{whole}, {:?}", gpu.counters());
    assert_eq!((gpu.share(work(1e15), 1), gpu.counters().pipelines), (whole, 1));
    // What fits is done at once, and of the rest as much as fits.
    let each = work(1e15 / whole / 8.0);
    assert_eq!(gpu.at_once(each, 4), 4);
    assert!((7..=8).contains(&gpu.at_once(each, 1000)), "{}", gpu.at_once(each, 1000));
    assert_eq!(gpu.at_once(work(1e15), 10), 1);
    println!("{} does what takes as long as {:.3e} floating-point operations at once", gpu.info().name, 1e15 / whole);

    let fixed = Device::Default.open().submitting(1e6);
    assert!(fixed.share(work(1e15), 1) > 1e8 && fixed.counters().pipelines == 0);
}
