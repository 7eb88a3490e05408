//! What goes wrong comes back as the right error, names what it should, and leaves everything else working.
//!
//! Each fault is provoked on a device of its own. Nothing here may panic, and nothing may pass in silence.

#[cfg(target_os = "linux")]
#[path = "common/alone.rs"]
mod alone;
mod common;

use std::future::Future;
use std::time::{Duration, Instant};

use wattn::gpu::{Bind, Binding, Kernel, Knobs, Params, Variant, Work};
use wattn::ops::matmul::{self, MatmulOptions};
use wattn::{DType, Error, Gpu, GpuOptions, Tensor, f16, wgpu};

use common::open;

fn default() -> Gpu {
    open(GpuOptions::default())
}

fn square(gpu: &Gpu, n: usize) -> Tensor {
    gpu.tensor(&vec![0.5f32; n * n], &[n, n]).unwrap()
}

/// x times itself, which is left recorded.
fn product(gpu: &Gpu, x: &Tensor) -> wattn::Result<Tensor> {
    matmul::forward(gpu, x, x, None, &MatmulOptions::default())
}

/// That the device does what it should.
fn works(gpu: &Gpu) {
    let y = product(gpu, &square(gpu, 4)).and_then(|y| y.read_blocking::<f32>());
    assert_eq!(y.unwrap(), [1.0; 16]);
}

macro_rules! assert_error {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result.map(drop) {
            Err($pattern) $(if $guard)? => {}
            other => panic!("expected {}, got {other:?}", stringify!($pattern)),
        }
    };
}

#[test]
fn a_lost_device() {
    let gpu = default();
    let y = product(&gpu, &square(&gpu, 64)).unwrap();
    gpu.device().destroy();
    assert_error!(y.read_blocking::<f32>(), Error::DeviceLost { .. });
    // From here on everything says so.
    assert_error!(gpu.tensor(&[1.0f32], &[1]), Error::DeviceLost { .. });
    assert_error!(product(&gpu, &y), Error::DeviceLost { .. });
    assert_error!(gpu.finish(), Error::DeviceLost { .. });
    drop(y);
    works(&default());
}

#[test]
fn a_lost_device_that_is_awaited() {
    let gpu = default();
    let y = product(&gpu, &square(&gpu, 64)).unwrap();
    gpu.device().destroy();
    assert_error!(pollster::block_on(y.read::<f32>()), Error::DeviceLost { .. });
}

#[test]
fn memory_beyond_what_is_allowed() {
    let gpu = open(GpuOptions { max_bytes: Some(1 << 20), ..Default::default() });
    let small = gpu.empty(DType::F32, &[1 << 17]).unwrap();
    assert_error!(gpu.empty(DType::F32, &[1 << 18]), Error::OutOfMemory { wanted: 0x100000, in_use: 0x80000, limit: Some(0x100000) });
    drop(small);
    // What is kept for reuse gives way.
    let large = gpu.empty(DType::F32, &[1 << 18]).unwrap();
    assert_eq!(gpu.memory().in_use, 1 << 20);
    assert_error!(large.read_blocking::<f32>(), Error::OutOfMemory { .. });
    drop(large);
    works(&gpu);
}

#[test]
fn more_than_a_buffer_or_a_count_can_hold() {
    let gpu = default();
    let limit = gpu.caps().max_buffer;
    let elements = limit as usize / 4 + 1024;
    assert_error!(gpu.empty(DType::F32, &[elements]), Error::Limit { limit: l, got, .. } if l == limit && got == 4 * elements as u64);
    assert_error!(gpu.empty(DType::F32, &[usize::MAX, 2]), Error::Shape { .. });
    assert_error!(gpu.empty(DType::F32, &[usize::MAX / 2]), Error::Limit { .. });
    works(&gpu);
}

#[test]
fn work_that_takes_too_long() {
    let gpu = open(GpuOptions { timeout: Some(Duration::from_nanos(1)), ..Default::default() });
    let y = product(&gpu, &square(&gpu, 512)).unwrap();
    assert_error!(gpu.finish(), Error::Timeout { .. });
    // The device works on. Whoever asks again gets the result, and each read that gave up has returned what it held.
    let started = Instant::now();
    let values = loop {
        match y.read_blocking::<f32>() {
            Ok(values) => break values,
            Err(Error::Timeout { .. }) if started.elapsed() < Duration::from_secs(100) => std::thread::sleep(Duration::from_millis(5)),
            Err(other) => panic!("{other}"),
        }
    };
    assert!(values.iter().all(|&x| x == 128.0));
    works(&default());
}

wattn::params! {
    struct Factor { count: u32, factor: f32 }
}

const SCALE: Kernel = Kernel {
    name: "test/scale",
    source: "
        struct Params { count: u32, factor: f32 }
        @group(0) @binding(0) var<uniform> params: Params;
        @group(0) @binding(1) var<storage, read> x: array<f32>;
        @group(0) @binding(2) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if id.x < params.count { y[id.x] = params.factor * x[id.x]; }
        }",
    params: Factor::FIELDS,
    bindings: &[Binding::read("x"), Binding::write("y")],
};

static RIGHT: Kernel = SCALE;
static BROKEN: Kernel = Kernel { name: "test/broken", source: "@compute @workgroup_size(64) fn main() { let x: u32 = 1.5f; }", ..SCALE };
static NO_IMPORT: Kernel = Kernel { name: "test/no_import", source: "#import nothing", ..SCALE };

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Own {
    Scale,
    Broken,
    NoImport,
    UnknownKnob,
}

impl Variant for Own {
    fn kernel(&self) -> &'static Kernel {
        match self {
            Own::Scale | Own::UnknownKnob => &RIGHT,
            Own::Broken => &BROKEN,
            Own::NoImport => &NO_IMPORT,
        }
    }

    fn knobs(&self) -> Knobs {
        if *self == Own::UnknownKnob { Knobs::new().u32("TILE", 4) } else { Knobs::new() }
    }
}

/// Dispatches one of the kernels above on x and y of 4 elements.
fn scale(gpu: &Gpu, own: Own) -> wattn::Result<Vec<f32>> {
    let (x, y) = (gpu.tensor(&[1.0f32, 2.0, 3.0, 4.0], &[4])?, gpu.empty(DType::F32, &[4])?);
    let params = Factor { count: 4, factor: 3.0 };
    gpu.dispatch(own, &params, &[Bind::Read(x.view()), Bind::Write(y.view())], [1, 1, 1], Work::default())?;
    y.read_blocking()
}

#[test]
fn a_shader_that_is_refused() {
    let gpu = default();
    assert_eq!(scale(&gpu, Own::Scale).unwrap(), [3.0, 6.0, 9.0, 12.0]);
    for (own, words) in
        [(Own::Broken, ["test/broken", "1.5f"]), (Own::NoImport, ["test/no_import", "nothing"]), (Own::UnknownKnob, ["test/scale", "TILE"])]
    {
        let error = scale(&gpu, own).unwrap_err();
        assert!(matches!(error, Error::Shader { .. }), "{own:?}: {error:?}");
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{own:?}: {error}");
    }
    assert_eq!(scale(&gpu, Own::Scale).unwrap(), [3.0, 6.0, 9.0, 12.0]);
}

wattn::params! {
    struct TooMuch { count: u32, factor: f32, more: u32, than: u32 }
}

#[test]
fn a_dispatch_that_is_not_as_declared() {
    let gpu = default();
    let (x, y) = (square(&gpu, 2), gpu.empty(DType::F32, &[4]).unwrap());
    let params = Factor { count: 4, factor: 3.0 };
    let dispatch = |binds: &[Bind], groups| gpu.dispatch(Own::Scale, &params, binds, groups, Work::default());
    let (read, write) = (|| Bind::Read(x.view()), || Bind::Write(y.view()));
    assert_error!(dispatch(&[read()], [1; 3]), Error::Shader { .. });
    assert_error!(dispatch(&[read(), write(), write()], [1; 3]), Error::Shader { .. });
    assert_error!(dispatch(&[write(), write()], [1; 3]), Error::Shader { message, .. } if message.contains("'x'"));
    assert_error!(dispatch(&[read(), read()], [1; 3]), Error::Shader { message, .. } if message.contains("'y'"));
    assert_error!(dispatch(&[Bind::Absent, write()], [1; 3]), Error::Shader { message, .. } if message.contains("'x'"));
    assert_error!(dispatch(&[read(), write()], [1, 0, 1]), Error::Limit { got: 0, .. });
    assert_error!(dispatch(&[read(), write()], [1, 1, u32::MAX]), Error::Limit { .. });
    // One buffer cannot be read and written in one dispatch: wgpu says so, and the recorder goes on.
    let both = dispatch(&[Bind::Read(y.view()), write()], [1; 3]).and_then(|()| gpu.finish());
    assert_error!(both, Error::Device { .. });
    let too_much = TooMuch { count: 4, factor: 3.0, more: 0, than: 0 };
    assert_error!(gpu.dispatch(Own::Scale, &too_much, &[read(), write()], [1; 3], Work::default()), Error::Shader { .. });
    works(&gpu);
}

#[test]
fn a_binding_over_the_limit() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 14, ..wgpu::Limits::defaults() };
    let gpu = open(GpuOptions { baseline: true, limits: Some(limits), ..Default::default() });
    let limit = gpu.caps().max_binding;
    let (x, y) = (gpu.empty(DType::F32, &[8192]).unwrap(), gpu.empty(DType::F32, &[8192]).unwrap());
    let params = Factor { count: 8192, factor: 1.0 };
    let whole = gpu.dispatch(Own::Scale, &params, &[Bind::Read(x.view()), Bind::Write(y.view())], [128, 1, 1], Work::default());
    assert_error!(whole, Error::Limit { op: "test/scale", limit: l, got: 32768, .. } if l == limit);
    // An operation processes in pieces what can be, and refuses a row that is too long with the 256 bytes that aligning it may take.
    let softmax = |shape| wattn::ops::softmax::forward(&gpu, &gpu.empty(DType::F32, shape)?, None, &Default::default());
    assert!(softmax(&[64, 128]).is_ok());
    assert_error!(softmax(&[1, 8192]), Error::Limit { op: "softmax", limit: l, got: 33024, .. } if l == limit);
}

#[test]
fn tensors_that_do_not_fit() {
    let gpu = default();
    assert_error!(gpu.tensor(&[1.0f32; 5], &[2, 3]), Error::Shape { .. });
    assert_error!(gpu.tensor::<f32>(&[], &[0]), Error::Shape { .. });
    let x = square(&gpu, 4);
    assert_error!(x.reshape(&[5]), Error::Shape { .. });
    assert_error!(x.read_blocking::<i32>(), Error::Dtype { .. });
    assert_error!(x.read_blocking::<f16>(), Error::Dtype { .. });
    let y = gpu.tensor(&[1.0f32; 6], &[3, 2]).unwrap();
    assert_error!(matmul::forward(&gpu, &x, &y, None, &MatmulOptions::default()), Error::Shape { op: "matmul", .. });
    let indices = gpu.tensor(&[1i32; 16], &[4, 4]).unwrap();
    assert_error!(product(&gpu, &indices), Error::Dtype { op: "matmul", .. });
    works(&gpu);
}

#[test]
fn halves_without_hardware_for_them() {
    let gpu = open(GpuOptions { baseline: true, ..Default::default() });
    assert_error!(gpu.tensor(&[f16::ONE; 4], &[4]), Error::Dtype { got, .. } if got.contains("SHADER_F16"));
    assert_error!(gpu.empty(DType::F16, &[4]), Error::Dtype { .. });
    let x = square(&gpu, 4);
    let halves = MatmulOptions { output: DType::F16, ..Default::default() };
    assert_error!(matmul::forward(&gpu, &x, &x, None, &halves), Error::Dtype { .. });
    works(&gpu);
}

#[test]
fn buffers_of_others() {
    let gpu = default();
    let buffer = |usage| gpu.device().create_buffer(&wgpu::BufferDescriptor { label: None, size: 64, usage, mapped_at_creation: false });
    let usages = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let wrap = |buffer, offset, shape: &[usize]| Tensor::from_buffer(&gpu, buffer, offset, shape, DType::F32);
    assert_error!(wrap(buffer(wgpu::BufferUsages::STORAGE), 0, &[4]), Error::Argument { key, .. } if key == "usage");
    assert_error!(wrap(buffer(usages), 2, &[4]), Error::Argument { key, .. } if key == "offset");
    assert_error!(wrap(buffer(usages), 52, &[4]), Error::Shape { .. });
    assert_error!(wrap(buffer(usages), u64::MAX - 3, &[4]), Error::Shape { .. });
    assert_error!(wrap(buffer(usages), 0, &[0]), Error::Shape { .. });
    assert_error!(wrap(buffer(usages), 0, &[usize::MAX, 8]), Error::Shape { .. });
    assert_eq!(wrap(buffer(usages), 48, &[2, 2]).unwrap().read_blocking::<f32>().unwrap(), [0.0; 4]);
    // One that its owner has destroyed.
    let gone = buffer(usages);
    let tensor = wrap(gone.clone(), 0, &[4, 4]).unwrap();
    gone.destroy();
    assert_error!(product(&gpu, &tensor).and_then(|y| y.read_blocking::<f32>()), Error::Device { .. });
    works(&gpu);
}

#[test]
fn a_handle_that_outlives_its_encoder() {
    let gpu = default();
    let x = square(&gpu, 4);
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let (leaked, y) = gpu.encode(&mut encoder, |gpu| Ok((gpu.clone(), product(gpu, &x)?))).unwrap();
    assert_error!(product(&leaked, &x), Error::Argument { op: "encode", .. });
    gpu.queue().submit([encoder.finish()]);
    assert_eq!(y.read_blocking::<f32>().unwrap(), [1.0; 16]);
    assert_error!(product(&leaked, &x), Error::Argument { op: "encode", .. });
    works(&gpu);
}

#[test]
fn an_error_inside_an_encoder() {
    let gpu = default();
    let (x, y) = (square(&gpu, 4), gpu.tensor(&[1.0f32; 6], &[3, 2]).unwrap());
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let failed = gpu.encode(&mut encoder, |gpu| {
        product(gpu, &x)?;
        matmul::forward(gpu, &x, &y, None, &MatmulOptions::default())
    });
    assert_error!(failed, Error::Shape { .. });
    let z = gpu.encode(&mut encoder, |gpu| product(gpu, &x)).unwrap();
    gpu.queue().submit([encoder.finish()]);
    assert_eq!(z.read_blocking::<f32>().unwrap(), [1.0; 16]);
}

/// A tensor that only an encoder which was never submitted has written holds nothing yet.
#[test]
fn a_read_before_the_submission() {
    let gpu = default();
    let x = square(&gpu, 64);
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let y = gpu.encode(&mut encoder, |gpu| product(gpu, &x)).unwrap();
    assert_error!(y.read_blocking::<f32>(), Error::Argument { op: "read", .. });
    gpu.queue().submit([encoder.finish()]);
    assert_eq!(y.read_blocking::<f32>().unwrap(), product(&gpu, &x).unwrap().read_blocking::<f32>().unwrap());
}

/// Memory that recorded work still uses is not given to an encoder that may be submitted before that work.
#[test]
fn an_encoder_ahead_of_recorded_work() {
    let gpu = default();
    let (x, y) = (square(&gpu, 64), gpu.tensor(&vec![1.0f32; 64 * 64], &[64, 64]).unwrap());
    let expected = product(&gpu, &y).unwrap().read_blocking::<f32>().unwrap();
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let z = gpu
        .encode(&mut encoder, |inner| {
            // Recorded on the device itself, and its memory is free again; submitted only by the read below.
            drop(product(&gpu, &x)?);
            product(inner, &y)
        })
        .unwrap();
    gpu.queue().submit([encoder.finish()]);
    assert_eq!(z.read_blocking::<f32>().unwrap(), expected);
}

/// What a user's encoder uses is kept from others until its work is done, or until it is dropped without a submission.
#[test]
fn the_memory_of_an_encoder() {
    let gpu = default();
    let x = square(&gpu, 256);
    gpu.finish().unwrap();
    let before = gpu.memory().in_use;
    let record = || {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        gpu.encode(&mut encoder, |gpu| product(gpu, &x).and_then(|y| product(gpu, &y)).map(drop)).unwrap();
        assert!(gpu.memory().in_use >= before + 2 * 256 * 256 * 4, "what the encoder uses counts as in use");
        encoder
    };
    gpu.queue().submit([record().finish()]);
    gpu.finish().unwrap();
    assert_eq!(gpu.memory().in_use, before, "after its work was done");
    drop(record());
    assert_eq!(gpu.memory().in_use, before, "after it was dropped");
    drop(record().finish());
    assert_eq!(gpu.memory().in_use, before, "after its command buffer was dropped");
    works(&gpu);
}

#[test]
fn a_device_that_is_not_there() {
    let error = Gpu::new(&GpuOptions { device: "no such adapter".into(), ..Default::default() }).err().unwrap();
    assert!(matches!(error, Error::Argument { op: "device", .. }), "{error:?}");
    assert!(error.to_string().contains("'no such adapter'") && error.is_input_fault(), "{error}");
    assert_error!(Gpu::new(&GpuOptions { device: "4711".into(), ..Default::default() }), Error::Argument { .. });
}

/// Without a driver there is no adapter; the Vulkan loader finds its drivers through the environment, so another process must look.
#[test]
#[cfg(target_os = "linux")]
fn a_machine_without_adapters() {
    const CHILD: &str = "WATTN_TEST_WITHOUT_ADAPTERS";
    if std::env::var_os(CHILD).is_some() {
        let error = Gpu::new(&GpuOptions::default()).err().unwrap();
        assert!(matches!(&error, Error::NoAdapter { wanted, .. } if wanted == "auto"), "{error:?}");
        return assert!(!error.is_input_fault() && error.to_string().contains("none"), "{error}");
    }
    let none = "/nonexistent/icd.json";
    let variables = [(CHILD, "1"), ("VK_ICD_FILENAMES", none), ("VK_DRIVER_FILES", none)];
    alone::run_alone("a_machine_without_adapters", |child| _ = child.envs(variables));
}

#[test]
fn limits_that_no_device_has() {
    let limits = wgpu::Limits { max_buffer_size: u64::MAX, ..wgpu::Limits::defaults() };
    assert_error!(Gpu::new(&GpuOptions { limits: Some(limits), ..Default::default() }), Error::Device { .. });
}

/// The chain of a recurrent layer, many submissions, while another thread pulls the device away.
#[test]
fn a_device_that_is_lost_in_the_middle_of_a_chain() {
    let gpu = open(GpuOptions { flops_per_submission: Some(1e5), ..Default::default() });
    let case = wattn::ops::Case::new("chain", "64,8,16,16", &[]);
    let op = wattn::ops::find("lstm").unwrap();
    let mut run = op.prepare(&gpu, &case.request(op, 0).unwrap()).unwrap();
    run().unwrap();
    let device = gpu.device().clone();
    let (begun, begin) = std::sync::mpsc::channel();
    let end = std::thread::spawn(move || {
        begin.recv().unwrap();
        device.destroy();
    });
    let mut rounds = 0;
    let error = loop {
        rounds += 1;
        if let Err(error) = run().and_then(|outputs| outputs[0].1.array()) {
            break error;
        }
        let _ = begun.send(());
    };
    end.join().unwrap();
    assert!(matches!(error, Error::DeviceLost { .. }), "in round {rounds}: {error:?}");
    assert_error!(run(), Error::DeviceLost { .. });
    works(&default());
}

/// Wherever memory runs out in a chain, it is that error, and what the chain had taken is given back.
#[test]
fn memory_that_runs_out_anywhere_in_a_chain() {
    let case = wattn::ops::Case::new("chain", "2,4/2,33/65,16", &[("dropout_p", "0.2")]);
    let op = wattn::ops::find("attention").unwrap();
    let request = case.request(op, 0).unwrap();
    let needed = {
        let gpu = default();
        op.prepare(&gpu, &request).unwrap()().unwrap();
        gpu.memory().peak + gpu.memory().pooled
    };
    let (mut refused, mut done) = (0, 0);
    for eighths in 1..=16 {
        let gpu = open(GpuOptions { max_bytes: Some(needed * eighths / 8), ..Default::default() });
        match op.prepare(&gpu, &request).and_then(|mut run| run().map(drop)) {
            Ok(()) => done += 1,
            Err(Error::OutOfMemory { limit, .. }) if limit == Some(needed * eighths / 8) => refused += 1,
            Err(other) => panic!("{eighths} eighths: {other}"),
        }
        gpu.finish().unwrap();
        // The recorder keeps its buffer of params.
        assert!(gpu.memory().in_use <= 1 << 16, "{eighths} eighths: {:?}", gpu.memory());
    }
    assert!(refused > 0 && done > 0, "{refused} refused, {done} done");
}

/// A driver that is gone when the next device is wanted: what is open goes on, and once the driver is back so does everything.
#[test]
#[cfg(target_os = "linux")]
fn an_adapter_that_vanishes() {
    const CHILD: &str = "WATTN_TEST_VANISHING";
    if let Some(manifest) = std::env::var_os(CHILD) {
        let (manifest, away) = (std::path::PathBuf::from(&manifest), std::path::Path::new(&manifest).with_extension("away"));
        let gpu = default();
        std::fs::rename(&manifest, &away).unwrap();
        let error = Gpu::new(&GpuOptions::default()).err().unwrap();
        assert!(matches!(&error, Error::NoAdapter { .. }), "{error:?}");
        works(&gpu);
        std::fs::rename(&away, &manifest).unwrap();
        return works(&default());
    }
    let Some(installed) = manifest() else { panic!("no manifest of a Vulkan driver in VK_ICD_FILENAMES, /etc or /usr/share") };
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("driver.json");
    std::fs::copy(installed, &copy).unwrap();
    let variables = [CHILD, "VK_ICD_FILENAMES", "VK_DRIVER_FILES"].map(|name| (name, &copy));
    alone::run_alone("an_adapter_that_vanishes", |child| _ = child.envs(variables).env_remove("WATTN_DEVICE"));
}

/// The manifest of a driver that has an adapter here.
#[cfg(target_os = "linux")]
fn manifest() -> Option<std::path::PathBuf> {
    let variable = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].into_iter().find_map(std::env::var_os);
    if let Some(files) = variable.filter(|files| !files.is_empty()) {
        return std::env::split_paths(&files).find(|file| file.exists());
    }
    let driver = default().info().driver.clone();
    let stem = if driver == "llvmpipe" { "lvp".to_string() } else { driver.to_lowercase() };
    let folders = ["/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
    let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().filter_map(|file| Some(file.ok()?.path()));
    files.filter(|file| file.extension().is_some_and(|end| end == "json")).find(|file| file.to_string_lossy().contains(&stem))
}

/// An application that made the device itself forwards the loss.
#[test]
fn a_loss_that_is_forwarded() {
    let gpu = default();
    gpu.on_device_lost(wgpu::DeviceLostReason::Unknown, "the cable was pulled");
    assert_error!(product(&gpu, &square(&default(), 4)), Error::DeviceLost { message } if message.contains("the cable was pulled"));
}

/// Nobody waits for a read any more: its memory must not be handed to the next one while the device still writes there.
#[test]
fn a_read_that_is_given_up() {
    let gpu = default();
    let y = product(&gpu, &square(&gpu, 256)).unwrap();
    for _ in 0..3 {
        let mut read = Box::pin(y.read::<f32>());
        let _ = read.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        drop(read);
        assert!(y.read_blocking::<f32>().unwrap().iter().all(|&x| x == 64.0));
    }
}
