//! The `.safetensors` format: eight bytes of header length, a JSON header, the tensors one after the other.
//!
//! The header is parsed here, with the format crate's own types. The crate's reader takes the last of two tensors
//! of one name and adds up offsets unchecked, and it wants the whole file in memory beside the tensors.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Seek, SeekFrom, Write};

use safetensors::Dtype;
use safetensors::tensor::{TensorInfo, TensorView};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::elements::{Layout, Stored};
use super::{ACCEPTED, MAX_HEADER, MAX_NAME, MAX_RANK, MAX_TENSORS, WriteFault, count_elements, elements};
use crate::DType;
use crate::ops::Arrays;

/// The header's key that holds no tensor but notes about the file.
const METADATA: &str = "__metadata__";

/// What the header says of one tensor takes 60 bytes, with 16 dimensions 400 at most.
const MAX_ENTRY: usize = 1024;

/// Open brackets of a header. The format has three: the header, a tensor, its shape.
const MAX_DEPTH: usize = 8;

/// Reads every tensor of a file of `len` bytes.
pub(super) fn read<R: Read + Seek>(file: &mut R, len: u64) -> Result<Arrays, String> {
    let io = |e: std::io::Error| e.to_string();
    let mut length = [0u8; 8];
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    file.read_exact(&mut length)
        .map_err(|_| format!("{len} bytes are no .safetensors file, which begins with the 8-byte header length"))?;
    let header_len = u64::from_le_bytes(length);
    if header_len > len - 8 {
        return Err(format!("the header is said to be {header_len} bytes long, in a file of {len}: cut short, or no .safetensors file"));
    }
    if header_len > MAX_HEADER {
        return Err(format!("the header is {header_len} bytes long; at most {MAX_HEADER} are accepted"));
    }
    let mut text = vec![0u8; header_len as usize];
    file.read_exact(&mut text).map_err(io)?;
    check_text(&text).map_err(|e| format!("header: {e}"))?;
    let mut json = serde_json::Deserializer::from_slice(&text);
    let Header(tensors) = serde::Deserialize::deserialize(&mut json).map_err(|e| format!("header: {e}"))?;
    json.end().map_err(|e| format!("header: {e}"))?;
    drop(text);

    check_offsets(&tensors, len - 8 - header_len)?;
    let mut arrays = Arrays::new();
    for (name, info) in tensors {
        let stored = stored(&name, info.dtype)?;
        let layout = Layout { name: &name, stored, shape: &info.shape, count: count_elements(&name, &info.shape)?, big_endian: false };
        file.seek(SeekFrom::Start(8 + header_len + info.data_offsets.0 as u64)).map_err(io)?;
        let array = elements::read(file, &layout)?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// Bounds what the JSON parser takes, which copies names to undo their escapes and remembers every open bracket.
fn check_text(text: &[u8]) -> Result<(), String> {
    let (mut depth, mut before) = (0usize, b',');
    // Where a string began that is not closed yet, and whether a backslash was the last of it.
    let (mut string, mut escaped) = (None, false);
    for (at, &byte) in text.iter().enumerate() {
        match (string, byte) {
            (Some(_), b'"') if !escaped => string = None,
            // A string behind a colon is a value, which is passed over or measured before it is parsed.
            (Some(start), _) if before != b':' && at - start > MAX_NAME => {
                return Err(format!("a name is over {MAX_NAME} bytes long"));
            }
            (Some(_), _) => escaped = byte == b'\\' && !escaped,
            (None, b'"') => (string, escaped) = (Some(at), false),
            (None, b'{' | b'[') if depth == MAX_DEPTH => return Err(format!("over {MAX_DEPTH} brackets are open at byte {at}")),
            (None, b'{' | b'[') => (depth, before) = (depth + 1, byte),
            (None, b'}' | b']') => (depth, before) = (depth.saturating_sub(1), byte),
            (None, b',' | b':') => before = byte,
            (None, _) => {}
        }
    }
    Ok(())
}

/// Every tensor's bytes are as many as its shape and type say, and together they fill the file without gap or overlap.
fn check_offsets(tensors: &BTreeMap<String, TensorInfo>, data_len: u64) -> Result<(), String> {
    let mut ordered: Vec<(&String, &TensorInfo)> = tensors.iter().collect();
    ordered.sort_by_key(|(_, info)| info.data_offsets);
    let mut end = 0;
    for (name, info) in ordered {
        let (first, last) = info.data_offsets;
        if first != end || last < first || last as u64 > data_len {
            return Err(format!(
                "tensor {name:?} is said to lie at bytes {first} to {last} of {data_len}; expected it to begin at {end}, where the one \
                 before it ends, and to end inside the file"
            ));
        }
        let bits = count_elements(name, &info.shape)?.checked_mul(info.dtype.bitsize());
        if bits.is_none_or(|bits| bits % 8 != 0 || bits / 8 != last - first) {
            let (dtype, shape) = (info.dtype, &info.shape);
            return Err(format!("tensor {name:?} has {} bytes, which is not what {dtype:?} of shape {shape:?} takes", last - first));
        }
        end = last;
    }
    if end as u64 != data_len {
        return Err(format!("{} bytes after the last tensor belong to none", data_len - end as u64));
    }
    Ok(())
}

fn stored(name: &str, dtype: Dtype) -> Result<Stored, String> {
    Ok(match dtype {
        Dtype::F32 => Stored::F32,
        Dtype::F16 => Stored::F16,
        Dtype::I32 => Stored::I32,
        Dtype::I64 => Stored::I64,
        Dtype::U8 => Stored::U8,
        Dtype::BOOL => Stored::Bool,
        other => return Err(format!("tensor {name:?} is {}; {ACCEPTED}", format!("{other:?}").to_lowercase())),
    })
}

/// The header's tensors by name.
struct Header(BTreeMap<String, TensorInfo>);

impl<'de> serde::Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
                let mut tensors = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if tensors.len() == MAX_TENSORS {
                        return Err(M::Error::custom(format!("there are more than {MAX_TENSORS} tensors")));
                    }
                    let info = tensor_info(map.next_value()?).map_err(|e| M::Error::custom(format!("tensor {name:?} {e}")))?;
                    if tensors.contains_key(&name) {
                        return Err(M::Error::custom(format!("two tensors are named {name:?}")));
                    }
                    tensors.insert(name, info);
                }
                Ok(Header(tensors))
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

fn tensor_info(text: &RawValue) -> Result<TensorInfo, String> {
    if text.get().len() > MAX_ENTRY {
        return Err(format!("is described in {} bytes; at most {MAX_ENTRY} are accepted", text.get().len()));
    }
    let info: TensorInfo = serde_json::from_str(text.get()).map_err(|e| format!("cannot be read: {e}"))?;
    if info.shape.len() > MAX_RANK {
        return Err(format!("has {} dimensions; at most {MAX_RANK} are accepted", info.shape.len()));
    }
    Ok(info)
}

/// Writes the tensors in the order that the format asks for: by type, the widest first, then by name.
pub(super) fn write(out: &mut dyn Write, arrays: &Arrays) -> Result<(), WriteFault> {
    let mut views = Vec::with_capacity(arrays.len());
    for (name, array) in arrays {
        let dtype = match array.dtype() {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::I32 => Dtype::I32,
            DType::U8 => Dtype::U8,
            DType::F64 => Dtype::F64,
        };
        if name == METADATA {
            return Err(WriteFault::Format(format!("no tensor can be named {name:?}")));
        }
        let view = TensorView::new(dtype, array.shape().to_vec(), array.bytes())
            .map_err(|e| WriteFault::Format(format!("tensor {name:?}: {e}")))?;
        views.push((name.as_str(), view));
    }
    let bytes = safetensors::serialize(views, None).map_err(|e| WriteFault::Format(e.to_string()))?;
    out.write_all(&bytes)?;
    Ok(())
}
