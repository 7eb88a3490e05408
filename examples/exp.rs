use wattn::gpu::*;
use wattn::*;
wattn::params! { pub struct P { m: u32, n: u32, k: u32, accumulate: u32, scale: f32, a_base: u32, b_base: u32, y_base: u32, a_row: u32, a_k: u32, b_k: u32, b_col: u32, y_row: u32, bias_base: u32, first: u32, padding: u32, sizes: [u32;4], a_strides: [u32;4], b_strides: [u32;4], y_strides: [u32;4] } }
static K: Kernel = Kernel {
    name: "matmul/forward",
    source: include_str!("../shaders/matmul/forward.wgsl"),
    params: P::FIELDS,
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::read("bias").when("BIAS"), Binding::write("y")],
};
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct V {
    panel: u32,
}
impl Variant for V {
    fn kernel(&self) -> &'static Kernel {
        &K
    }
    fn knobs(&self) -> Knobs {
        Knobs::new().u32("PANEL", self.panel)
    }
}
wattn::params! { pub struct NP { m: u32, n: u32, k: u32 } }
static N: Kernel = Kernel {
    name: "naive",
    params: NP::FIELDS,
    bindings: &[Binding::read("a"), Binding::read("b"), Binding::write("y")],
    source: "
struct Params { m: u32, n: u32, k: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if id.x >= params.n || id.y >= params.m { return; }
  var sum = 0.0;
  for (var k = 0u; k < params.k; k++) { sum += a[id.y * params.k + k] * b[k * params.n + id.x]; }
  y[id.y * params.n + id.x] = sum;
}",
};
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct NV;
impl Variant for NV {
    fn kernel(&self) -> &'static Kernel {
        &N
    }
    fn knobs(&self) -> Knobs {
        Knobs::new()
    }
}
fn main() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::default())?;
    println!("{} {:?}", gpu.info().name, gpu.caps());
    let n: usize = std::env::args().nth(1).map_or(1024, |s| s.parse().unwrap());
    let x: Vec<f32> = (0..n * n).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    let a = gpu.tensor(&x, &[n, n])?;
    let b = gpu.tensor(&x, &[n, n])?;
    let y = gpu.empty(DType::F32, &[n, n])?;
    let u = n as u32;
    let work = Work { flops: 2.0 * (n * n * n) as f64, bytes: 0.0 };
    for round in 0..3 {
        let (_, spans) = gpu.profile(|| {
            gpu.dispatch(
                NV,
                &NP { m: u, n: u, k: u },
                &[Bind::Read(a.view()), Bind::Read(b.view()), Bind::Write(y.view())],
                [u.div_ceil(16), u.div_ceil(16), 1],
                work,
            )?;
            for panel in [8, 16] {
                let p = P {
                    m: u,
                    n: u,
                    k: u,
                    accumulate: 0,
                    scale: 1.0,
                    a_base: 0,
                    b_base: 0,
                    y_base: 0,
                    a_row: u,
                    a_k: 1,
                    b_k: u,
                    b_col: 1,
                    y_row: u,
                    bias_base: 0,
                    first: 0,
                    padding: 0,
                    sizes: [1; 4],
                    a_strides: [0; 4],
                    b_strides: [0; 4],
                    y_strides: [0; 4],
                };
                gpu.dispatch(
                    V { panel },
                    &p,
                    &[Bind::Read(a.view()), Bind::Read(b.view()), Bind::Absent, Bind::Write(y.view())],
                    [u.div_ceil(64), u.div_ceil(64), 1],
                    work,
                )?;
            }
            Ok(())
        })?;
        for s in spans {
            println!(
                "{round} {:.1} ms {} {} {:.2} GFLOP/s",
                s.seconds.unwrap_or(0.0) * 1e3,
                s.kernel,
                s.variant,
                s.flops / s.seconds.unwrap_or(1.0) / 1e9
            );
        }
    }
    let mut got = y.read_blocking::<f32>()?;
    let want: f64 = (0..n).map(|k| x[5 * n + k] as f64 * x[k * n + 9] as f64).sum();
    println!("{} {want}", got[5 * n + 9]);
    got.clear();
    Ok(())
}
