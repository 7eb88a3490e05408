//! Indices that only the device sees: one that is out of range is reported by the next read, once, and breaks nothing.

mod common;

use wattn::gpu::{Bind, Binding, Kernel, Knobs, Params, Variant, Work};
use wattn::{DType, Error, Gpu, GpuOptions, Tensor};

wattn::params! {
    struct PickParams { count: u32, rows: u32, flag: u32, padding: u32 }
}

static PICK: Kernel = Kernel {
    name: "test/pick",
    source: "
#import flag
struct Params { count: u32, rows: u32, flag: u32, padding: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> flag: array<atomic<u32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.count { return; }
    let row = bitcast<u32>(ids[id.x]);
    if row >= params.rows {
        raise(params.flag);
        y[id.x] = 0.0;
        return;
    }
    y[id.x] = x[row];
}",
    params: PickParams::FIELDS,
    bindings: &[Binding::read("ids"), Binding::read("x"), Binding::write("y"), Binding::write("flag")],
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pick;

impl Variant for Pick {
    fn kernel(&self) -> &'static Kernel {
        &PICK
    }

    fn knobs(&self) -> Knobs {
        Knobs::new()
    }
}

/// x[ids], of three x.
fn pick(gpu: &Gpu, op: &'static str, ids: &[i32]) -> wattn::Result<Tensor> {
    let (ids, x) = (gpu.tensor(ids, &[ids.len()])?, gpu.tensor(&[1.0f32, 2.0, 3.0], &[3])?);
    let y = gpu.empty(DType::F32, ids.shape())?;
    let flag = gpu.flag(op, "ids")?;
    let params = PickParams { count: ids.len() as u32, rows: 3, flag: flag.code, padding: 0 };
    let binds = [Bind::Read(ids.view()), Bind::Read(x.view()), Bind::Write(y.view()), Bind::Write(flag.tensor.view())];
    gpu.dispatch(Pick, &params, &binds, [1, 1, 1], Work::default())?;
    Ok(y)
}

#[test]
fn an_index_out_of_range_is_reported_once() {
    let gpu = common::open(GpuOptions::default());
    let before = gpu.tensor(&[5.0f32], &[1]).unwrap();
    let good = pick(&gpu, "first", &[2, 0]).unwrap();
    assert_eq!(good.read_blocking::<f32>().unwrap(), [3.0, 1.0]);
    for wrong in [3, -1, i32::MIN] {
        let bad = pick(&gpu, "second", &[1, wrong, 2]).unwrap();
        // Whichever tensor is read.
        let error = before.read_blocking::<f32>().unwrap_err();
        assert!(matches!(error, Error::Index { op: "second", tensor: "ids" }), "{error:?}");
        assert!(error.is_input_fault() && error.to_string().contains("'ids'"), "{error}");
        assert_eq!(bad.read_blocking::<f32>().unwrap(), [2.0, 0.0, 3.0]);
        assert_eq!(good.read_blocking::<f32>().unwrap(), [3.0, 1.0]);
    }
}

#[test]
fn a_read_that_is_awaited_reports_it_too() {
    let gpu = common::open(GpuOptions::default());
    let bad = pick(&gpu, "op", &[7]).unwrap();
    assert!(matches!(pollster::block_on(bad.read::<f32>()), Err(Error::Index { op: "op", .. })));
    assert_eq!(pollster::block_on(bad.read::<f32>()).unwrap(), [0.0]);
}

/// On an application's own encoder the flag is raised when that has run.
#[test]
fn an_application_s_encoder_raises_it_when_it_runs() {
    let gpu = common::open(GpuOptions::default());
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let bad = gpu.encode(&mut encoder, |gpu| pick(gpu, "op", &[9])).unwrap();
    let other = gpu.tensor(&[5.0f32], &[1]).unwrap();
    assert_eq!(other.read_blocking::<f32>().unwrap(), [5.0]);
    gpu.queue().submit([encoder.finish()]);
    assert!(matches!(bad.read_blocking::<f32>(), Err(Error::Index { .. })));
    assert_eq!(bad.read_blocking::<f32>().unwrap(), [0.0]);
}
