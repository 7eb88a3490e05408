//! What is bound ends where an element of the shader's array ends. Of a vector that is bound in part some drivers give what is there, and
//! for others there is no such vector: the shader reads another one, silently.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use wattn::Gpu;
use wattn::gpu::{AnyVariant, Step, compose};
use wattn::ops::{Operation, Request};

/// Bytes of an element of each storage binding's array, by the binding's number.
type Strides = HashMap<u32, u64>;

/// Runs a request and looks at every range that it binds.
pub fn check(gpu: &Gpu, op: &dyn Operation, request: &Request) -> Result<(), String> {
    let ((), trace) = gpu.trace(|| op.prepare(gpu, request).and_then(|mut run| run().map(drop))).map_err(|e| e.to_string())?;
    for step in &trace.steps {
        let Step::Dispatch(dispatch) = step else { continue };
        let strides = strides(&dispatch.variant);
        for (binding, range) in &dispatch.binds {
            if let Some(stride) = strides.get(binding).filter(|&&stride| !range.bytes.is_multiple_of(stride)) {
                let AnyVariant { kernel, knobs } = &dispatch.variant;
                return Err(format!(
                    "{} ({knobs}) has {} bytes at binding {binding}, whose elements have {stride}",
                    kernel.name, range.bytes
                ));
            }
        }
    }
    Ok(())
}

fn strides(variant: &AnyVariant) -> Arc<Strides> {
    static CACHE: OnceLock<Mutex<HashMap<String, Arc<Strides>>>> = OnceLock::new();
    let label = format!("{} {}", variant.kernel.name, variant.knobs);
    CACHE.get_or_init(Mutex::default).lock().unwrap().entry(label).or_insert_with(|| Arc::new(read(variant))).clone()
}

fn read(variant: &AnyVariant) -> Strides {
    let module = naga::front::wgsl::parse_str(&compose(variant.kernel, &variant.knobs).unwrap()).unwrap();
    let stride = |(_, variable): (_, &naga::GlobalVariable)| match module.types[variable.ty].inner {
        naga::TypeInner::Array { stride, .. } => Some((variable.binding.as_ref()?.binding, u64::from(stride))),
        _ => None,
    };
    module.global_variables.iter().filter_map(stride).collect()
}
