//! Long work is cut into several dispatches and submissions, by how fast a device is found to be. That must not be seen in the results: the
//! order of every sum is fixed by the shapes and the device's limits.

use wattn::gpu::Work;
use wattn::ops::{Operation, find};
use wattn::{Gpu, GpuOptions};

use crate::{Device, bytes, expected};

/// So few operations that everything is cut that can be.
const TINY: f64 = 1e4;

fn open(flops: f64) -> Gpu {
    let device = std::env::var("WATTN_DEVICE").unwrap_or_else(|_| "auto".into());
    Gpu::new(&GpuOptions { device, flops_per_submission: Some(flops), ..Default::default() }).unwrap()
}

/// The cases of an operation whose bits differ where work is cut.
fn differ(op: &'static dyn Operation, whole: &Gpu, cut: &Gpu) -> Vec<String> {
    let mut wrong = vec![];
    for case in op.cases() {
        let fixture = expected(op, &case);
        // The other tunings are cut by the same code: what they add is seen in few cases.
        let tunings = op.tunings(whole.caps());
        for tuning in tunings.into_iter().take(if case.quick { usize::MAX } else { 1 }) {
            let on = |gpu: &Gpu| {
                let outputs = op.prepare(&(tuning.pin)(gpu), &fixture.0)?()?;
                outputs.iter().map(|(name, tensor)| Ok((name.clone(), bytes(tensor)?))).collect::<wattn::Result<Vec<_>>>()
            };
            match (on(whole), on(cut)) {
                (Ok(whole), Ok(cut)) => {
                    let names = whole.iter().zip(&cut).filter(|(whole, cut)| whole != cut).map(|(whole, _)| whole.0.clone());
                    wrong.extend(names.map(|name| format!("{} {} [{}]: {name}", op.spec().name, case.name, tuning.label)));
                }
                (Err(e), _) | (_, Err(e)) if !matches!(e, wattn::Error::Dtype { .. }) => {
                    wrong.push(format!("{} {} [{}]: {e}", op.spec().name, case.name, tuning.label));
                }
                _ => {}
            }
        }
    }
    wrong
}

/// Every case and tuning of an operation has the same bits however it is cut.
pub fn check(name: &str) {
    let (whole, cut) = (open(1e15), open(TINY));
    let wrong = differ(find(name).unwrap(), &whole, &cut);
    let (whole, cut) = (whole.counters(), cut.counters());
    assert!(cut.dispatches > 2 * whole.dispatches && cut.submissions > 4 * whole.submissions, "little was cut: {cut:?}, {whole:?}");
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
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

    let fixed = open(1e6);
    assert!(fixed.share(work(1e15), 1) > 1e8 && fixed.counters().pipelines == 0);
}
