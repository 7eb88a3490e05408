//! What the Node process is asked to do: shaders to compile, and a trace to run with them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use wattn::gpu::{AnyVariant, Element, Range, Step, Trace, compose_strict};
use wattn::ops::Arrays;
use wattn::wgpu::{BindGroupLayoutEntry, BindingType, BufferBindingType};
use wattn::{Array, DType, Tensor, bytemuck, f16};

use crate::variants::label;

/// What the device must have.
#[derive(Clone)]
pub struct Needs {
    pub f16: bool,
    pub subgroups: bool,
    /// WebGPU's default limits, or the adapter's own.
    pub default_limits: bool,
}

impl Needs {
    /// What a variant says it needs, and nothing else.
    pub fn of(variant: &AnyVariant) -> Self {
        Needs { f16: variant.knobs.uses_f16(), subgroups: variant.knobs.uses_subgroups(), default_limits: true }
    }

    /// WebGPU's names.
    pub fn features(&self) -> Vec<&'static str> {
        [("shader-f16", self.f16), ("subgroups", self.subgroups)].into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
    }
}

/// A job, and its files.
pub struct Job {
    line: Value,
    fingerprint: u64,
    /// All bytes that are written, params included.
    data: PathBuf,
    /// The bytes of the outputs, once it is done.
    results: PathBuf,
}

impl Job {
    /// Shaders to compile, and nothing to run.
    pub fn compile(needs: &Needs, variants: &[&AnyVariant]) -> Result<Self, String> {
        let shaders = variants.iter().map(|variant| shader(variant)).collect::<Result<Vec<_>, _>>()?;
        Ok(Job::new(needs, json!({ "shaders": shaders }), &[]))
    }

    /// A trace to run, after which these tensors of it are read.
    pub fn replay(needs: &Needs, trace: &Trace, outputs: &[(String, Tensor)]) -> Result<Self, String> {
        let mut shaders = vec![];
        let mut places = HashMap::new();
        let mut data = vec![];
        let mut steps = vec![];
        for step in &trace.steps {
            let at = data.len();
            steps.push(match step {
                Step::Write { range, bytes } => {
                    data.extend_from_slice(bytes);
                    json!({ "write": range.buffer, "offset": range.offset, "at": at, "bytes": bytes.len() })
                }
                Step::Dispatch(dispatch) => {
                    data.extend_from_slice(&dispatch.params);
                    let run = *places.entry(label(&dispatch.variant)).or_insert(shaders.len());
                    if run == shaders.len() {
                        shaders.push(shader(&dispatch.variant)?);
                    }
                    let bind = |(number, range): &(u32, Range)| json!([number, range.buffer, range.offset, range.bytes]);
                    let binds: Vec<Value> = dispatch.binds.iter().map(bind).collect();
                    json!({ "run": run, "at": at, "bytes": dispatch.params.len(), "binds": binds, "groups": dispatch.groups })
                }
            });
        }
        let output = |(name, tensor): &(String, Tensor)| {
            let range = trace.find(tensor).ok_or_else(|| format!("'{name}' is not in the trace"))?;
            Ok(json!({ "buffer": range.buffer, "offset": range.offset, "bytes": range.bytes }))
        };
        let outputs = outputs.iter().map(output).collect::<Result<Vec<Value>, String>>()?;
        Ok(Job::new(needs, json!({ "shaders": shaders, "buffers": trace.buffers, "steps": steps, "outputs": outputs }), &data))
    }

    fn new(needs: &Needs, mut line: Value, data: &[u8]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let stem = format!("tint-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let file = |ending: &str| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{stem}.{ending}"));
        let files = (file("data"), file("results"));
        std::fs::write(&files.0, data).unwrap_or_else(|e| panic!("{}: {e}", files.0.display()));
        line["features"] = json!(needs.features());
        line["limits"] = json!(if needs.default_limits { "default" } else { "adapter" });
        let mut hasher = DefaultHasher::new();
        (line.to_string(), data).hash(&mut hasher);
        line["data"] = json!(files.0);
        line["results"] = json!(files.1);
        Job { line, fingerprint: hasher.finish(), data: files.0, results: files.1 }
    }

    /// The same for two jobs that do the same.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// As the process takes it.
    pub fn line(&self) -> &Value {
        &self.line
    }

    /// What the outputs hold, once the job is done: arrays like these tensors.
    pub fn results(&self, like: &[(String, Tensor)]) -> Arrays {
        let bytes = std::fs::read(&self.results).unwrap_or_else(|e| panic!("{}: {e}", self.results.display()));
        let mut rest = &bytes[..];
        let next = |(name, tensor): &(String, Tensor)| {
            let (own, after) = rest.split_at(tensor.bytes() as usize);
            rest = after;
            (name.clone(), array(tensor, own))
        };
        like.iter().map(next).collect()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // A job that failed has no results.
        let _ = std::fs::remove_file(&self.data);
        let _ = std::fs::remove_file(&self.results);
    }
}

/// A shader's text and its bind group layout, both as JavaScript hands them to WebGPU.
fn shader(variant: &AnyVariant) -> Result<Value, String> {
    let text = compose_strict(variant.kernel, &variant.knobs).map_err(|e| e.to_string())?;
    let layout: Vec<Value> = variant.layout_entries().iter().map(entry).collect();
    Ok(json!({ "name": label(variant), "text": text, "layout": layout }))
}

fn entry(entry: &BindGroupLayoutEntry) -> Value {
    let BindingType::Buffer { ty, has_dynamic_offset, min_binding_size } = entry.ty else { unreachable!("kernels bind buffers alone") };
    let ty = match ty {
        BufferBindingType::Uniform => "uniform",
        BufferBindingType::Storage { read_only: true } => "read-only-storage",
        BufferBindingType::Storage { read_only: false } => "storage",
    };
    let least = min_binding_size.map_or(0, u64::from);
    let buffer = json!({ "type": ty, "hasDynamicOffset": has_dynamic_offset, "minBindingSize": least });
    json!({ "binding": entry.binding, "visibility": entry.visibility.bits(), "buffer": buffer })
}

fn array(tensor: &Tensor, bytes: &[u8]) -> Array {
    fn read<T: Element>(tensor: &Tensor, bytes: &[u8]) -> Array {
        T::array(tensor.shape(), bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
    }
    match tensor.dtype() {
        DType::F32 => read::<f32>(tensor, bytes),
        DType::F16 => read::<f16>(tensor, bytes),
        DType::I32 => read::<i32>(tensor, bytes),
        DType::U8 => read::<u8>(tensor, bytes),
        DType::F64 => panic!("no tensor on a device has it"),
    }
}
