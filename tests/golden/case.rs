//! Reads the case files and says how each operation's tensors and attributes are called here.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use wattn::Array;
use wattn::ops::{Arrays, Settings};

/// Attributes that repeat what the tensors' shapes say, or that PyTorch's module is built with.
const SIZES: &[&str] = &["B", "Hq", "Hkv", "Lq", "Lk", "D", "Dq", "Dk", "Dv", "A", "embed", "q_lengths", "kv_lengths"];

/// The same of recurrent layers: `lengths` and `initial_state` say that there are such tensors.
const RECURRENT_SIZES: &[&str] = &["T", "B", "input", "hidden", "layers", "bidirectional", "bias", "proj", "lengths", "initial_state"];

/// The same of a CRF.
const CRF_SIZES: &[&str] = &["B", "T", "K", "lengths"];

/// One case.
pub struct Case {
    /// The name of its files.
    pub name: String,
    /// The operation, as the files call it.
    pub op: String,
    attrs: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Array>,
}

/// One request of a case.
pub struct Part {
    /// The operation, as the registry calls it.
    pub op: &'static str,
    /// Its keys.
    pub settings: Settings,
    /// Its outputs: the name in the files, the name here.
    pub outputs: Vec<(String, String)>,
}

impl Case {
    /// The operation's name in the registry.
    pub fn registry_name(&self) -> &str {
        match self.op.as_str() {
            "mha_module" => "multi_head_attention",
            same => same,
        }
    }

    /// The tensors whose names start with `prefix` and a dot, without it.
    pub fn all<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Array)> {
        self.tensors.iter().filter_map(move |(name, array)| Some((name.strip_prefix(prefix)?.strip_prefix('.')?, array)))
    }

    /// A tensor that must be there.
    pub fn tensor(&self, prefix: &str, name: &str) -> Result<&Array, String> {
        self.tensors.get(&format!("{prefix}.{name}")).ok_or_else(|| format!("the file has no {prefix}.{name}"))
    }

    /// The tensors of a part's request: all inputs, and the upstream gradients of its outputs.
    pub fn inputs(&self, part: &Part) -> Arrays {
        let inputs = self.all("in").map(|(name, array)| (name.to_string(), array.clone()));
        let upstream = part.outputs.iter().filter_map(|(theirs, ours)| {
            let array = self.tensors.get(&format!("dout.{theirs}"))?;
            Some((format!("d_{ours}"), array.clone()))
        });
        inputs.chain(upstream).collect()
    }

    /// The requests that make up the case.
    pub fn parts(&self) -> Result<Vec<Part>, String> {
        match self.op.as_str() {
            "attention" => {
                let keys = ["scale", "causal", "offset", "window_left", "window_right", "softcap", "dropout_p"];
                Ok(vec![self.part("attention", &keys, &[])?])
            }
            // Aligning the last query with the last key is what causal means for packed sequences.
            "attention_varlen" => Ok(vec![self.part("attention_varlen", &["scale", "causal"], &[("causal_align", "bottom_right")])?]),
            "additive_attention" => Ok(vec![self.part("additive_attention", &[], &[])?]),
            "luong_attention" => Ok(vec![self.part("luong_attention", &["score"], &[])?]),
            "mha_module" => Ok(vec![self.part("multi_head_attention", &["heads"], &[])?]),
            // `affine` says that there are weight and bias.
            "layer_norm" => Ok(vec![self.part("layer_norm", &["eps"], &[("affine", "true"), ("affine", "false")])?]),
            "rms_norm" => Ok(vec![self.part("rms_norm", &["eps"], &[])?]),
            // Whether there are class weights shows in the tensors.
            "cross_entropy" => {
                let keys = ["reduction", "ignore_index", "label_smoothing"];
                Ok(vec![self.part("cross_entropy", &keys, &[("class_weights", "false"), ("class_weights", "true")])?])
            }
            "embedding" => Ok(vec![self.part("embedding", &["padding_idx"], &[])?]),
            "linear" => Ok(vec![self.part("linear", &[], &[])?]),
            "rnn" => Ok(vec![self.part("rnn", &["nonlinearity"], &[])?]),
            "gru" => Ok(vec![self.part("gru", &[], &[])?]),
            "lstm" => Ok(vec![self.part("lstm", &[], &[])?]),
            "crf" => Ok(vec![self.part("crf", &["reduction"], &[])?]),
            // One input and two outputs, of which an operation here computes one: two requests.
            "softmax" => {
                let part = |log: &str, theirs: &str| Part {
                    op: "softmax",
                    settings: Settings::new([("log".to_string(), log.to_string())]),
                    outputs: vec![(theirs.to_string(), "y".to_string())],
                };
                match self.attrs.get("axis").and_then(Value::as_i64) {
                    Some(-1) => Ok(vec![part("false", "softmax"), part("true", "log_softmax")]),
                    _ => Err(format!("axis {:?} is not the last", self.attrs.get("axis"))),
                }
            }
            "optimizer" => Ok(vec![self.optimizer()?]),
            op => Err(format!("{op} is in the registry; say here how its attributes map to keys")),
        }
    }

    /// The kind is in lower case here, and the betas are two keys.
    fn optimizer(&self) -> Result<Part, String> {
        let keys = ["lr", "eps", "weight_decay", "momentum", "nesterov", "amsgrad", "clip_grad_norm"];
        let betas = self.attrs.get("betas").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut attrs = self.attrs.clone();
        attrs.retain(|name, _| !["kind", "betas", "steps"].contains(&name.as_str()));
        let kind = self.attrs["kind"].as_str().unwrap_or_default().to_lowercase();
        attrs.insert("kind".into(), kind.into());
        attrs.extend(["beta1", "beta2"].into_iter().zip(betas).map(|(name, beta)| (name.to_string(), beta.clone())));
        let keys = [&keys[..], &["kind", "beta1", "beta2"]].concat();
        Case { attrs, name: self.name.clone(), op: self.op.clone(), tensors: self.tensors.clone() }.part("optimizer", &keys, &[])
    }

    /// A request with all outputs under their own names. Every attribute is a key, one of `fixed` with that value, or a size.
    fn part(&self, op: &'static str, keys: &[&str], fixed: &[(&str, &str)]) -> Result<Part, String> {
        let mut settings = Vec::new();
        let sizes = match op {
            "rnn" | "gru" | "lstm" => RECURRENT_SIZES,
            "crf" => CRF_SIZES,
            _ => SIZES,
        };
        for (name, value) in &self.attrs {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            if keys.contains(&name.as_str()) {
                settings.push((name.clone(), text));
            } else if !fixed.contains(&(name.as_str(), text.as_str())) && !sizes.contains(&name.as_str()) {
                return Err(format!("attribute {name} = {text} is not mapped"));
            }
        }
        let outputs = self.all("out").map(|(name, _)| (name.to_string(), name.to_string())).collect();
        Ok(Part { op, settings: Settings::new(settings), outputs })
    }
}

/// All cases, sorted by name.
pub fn read_all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut json: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    json.sort();
    assert!(json.len() == 39, "tests/golden/data is not complete: {} cases", json.len());
    json.iter().map(|path| read(path)).collect()
}

fn read(json: &Path) -> Case {
    let description: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let bytes = std::fs::read(json.with_extension("safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let (shape, data) = (view.shape(), view.data());
        let words = || data.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]]);
        let array = match view.dtype() {
            Dtype::F32 => Array::f32(shape, words().map(f32::from_le_bytes).collect()),
            Dtype::I32 => Array::i32(shape, words().map(i32::from_le_bytes).collect()),
            Dtype::U8 => Array::u8(shape, data.to_vec()),
            other => panic!("{}: {name} is {other:?}", json.display()),
        };
        (name.to_string(), array)
    });
    let text = |key: &str| description[key].as_str().unwrap().to_string();
    let attrs = description["attrs"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    Case { name: text("case"), op: text("op"), attrs, tensors: tensors.collect() }
}
