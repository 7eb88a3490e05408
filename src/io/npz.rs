//! The `.npz` format of NumPy: a zip archive of `name.npy` files, each a short header and the elements.
//!
//! Source: numpy.lib.format, versions 1.0, 2.0 and 3.0. The header is a Python dictionary with three keys that NumPy
//! itself always writes as plain literals, so it is read as such and not as Python.

use std::io::{Read, Seek, Write};

use super::elements::{Layout, Stored};
use super::{ACCEPTED, MAX_RANK, WriteFault, count_elements, elements, zip};
use crate::ops::Arrays;
use crate::{Array, DType, Data};

/// A header longer than this is refused; NumPy's own reader stops at 10,000 bytes.
const MAX_NPY_HEADER: usize = 1 << 16;

/// Longer strings in a header are refused; types and keys have a few characters.
const MAX_QUOTED: usize = 64;

/// Reads every tensor of a file of `len` bytes. Compressed data may say that they are a thousand times as many as they take, so all
/// is decompressed twice: first to see that it is as it says, then to keep it.
pub(super) fn read<R: Read + Seek>(file: &mut R, len: u64) -> Result<Arrays, String> {
    let entries = zip::entries(file, len)?;
    for entry in &entries {
        member(file, entry, elements::check)?;
    }
    let mut arrays = Arrays::new();
    for entry in &entries {
        let (fortran, array) = member(file, entry, elements::read)?;
        arrays.insert(name(entry)?.to_string(), if fortran { reverse_axes(&array) } else { array });
    }
    Ok(arrays)
}

fn name(entry: &zip::Entry) -> Result<&str, String> {
    entry.name.strip_suffix(".npy").ok_or_else(|| format!("entry {:?} is no array: its name does not end in .npy", entry.name))
}

/// Lets `take` have the elements of one entry, and says whether their order is Fortran's.
fn member<R: Read + Seek, T>(
    file: &mut R,
    entry: &zip::Entry,
    take: fn(&mut dyn Read, &Layout) -> Result<T, String>,
) -> Result<(bool, T), String> {
    let name = name(entry)?;
    let mut contents = zip::open(file, entry)?;
    let (text, header_len) = header_text(&mut contents, entry.size).map_err(|e| format!("tensor {name:?}: {e}"))?;
    let mut header = parse_header(&text).map_err(|e| format!("tensor {name:?}: header {e}"))?;
    let (stored, big_endian) = stored(name, &header.descr)?;
    let count = count_elements(name, &header.shape)?;
    let bytes = (count * stored.bytes()) as u64;
    if header_len as u64 + bytes != entry.size {
        let held = entry.size.saturating_sub(header_len as u64);
        return Err(format!("tensor {name:?} of shape {:?} takes {bytes} bytes; its entry holds {held}", header.shape));
    }
    if header.fortran {
        // As the file orders them, row-major.
        header.shape.reverse();
    }
    let taken = take(&mut contents, &Layout { name, stored, shape: &header.shape, count, big_endian })?;
    contents.finish()?;
    Ok((header.fortran, taken))
}

/// Reads the magic number and the header's text from contents of `size` bytes; also returns the bytes that both took.
fn header_text(reader: &mut dyn Read, size: u64) -> Result<(String, usize), String> {
    let cut = |_| "not in NumPy's .npy format".to_string();
    let mut magic = [0u8; 8];
    reader.read_exact(&mut magic).map_err(cut)?;
    let [b'\x93', b'N', b'U', b'M', b'P', b'Y', major, minor] = magic else {
        return Err("not in NumPy's .npy format".into());
    };
    let (len, before) = match (major, minor) {
        (1, 0) => {
            let mut len = [0; 2];
            reader.read_exact(&mut len).map_err(cut)?;
            (u16::from_le_bytes(len) as usize, 10)
        }
        (2 | 3, 0) => {
            let mut len = [0; 4];
            reader.read_exact(&mut len).map_err(cut)?;
            (u32::from_le_bytes(len) as usize, 12)
        }
        _ => return Err(format!("version {major}.{minor} of the .npy format is not known")),
    };
    if len > MAX_NPY_HEADER {
        return Err(format!("the header is {len} bytes long; at most {MAX_NPY_HEADER} are accepted"));
    }
    let ends = || "ends inside its header".to_string();
    if (before + len) as u64 > size {
        return Err(ends());
    }
    let mut text = vec![0; len];
    reader.read_exact(&mut text).map_err(|_| ends())?;
    Ok((String::from_utf8(text).map_err(|_| "the header is not text".to_string())?, before + len))
}

/// An array's header.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

/// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse_header(text: &str) -> Result<Header, String> {
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    let mut rest = Literal(text.trim());
    rest.expect("{")?;
    while !rest.take("}") {
        let key = rest.quoted()?;
        rest.expect(":")?;
        let twice = match key {
            "descr" => descr.replace(rest.quoted()?.to_string()).is_some(),
            "fortran_order" => fortran.replace(rest.boolean()?).is_some(),
            "shape" => shape.replace(rest.shape()?).is_some(),
            other => return Err(format!("has an unknown key {other:?}")),
        };
        if twice {
            return Err(format!("has the key '{key}' twice"));
        }
        if !rest.take(",") {
            rest.expect("}")?;
            break;
        }
    }
    if !rest.0.is_empty() {
        return Err("goes on after its end".into());
    }
    match (descr, fortran, shape) {
        (Some(descr), Some(fortran), Some(shape)) => Ok(Header { descr, fortran, shape }),
        _ => Err("lacks one of 'descr', 'fortran_order' and 'shape'".into()),
    }
}

/// What is left of a Python literal.
struct Literal<'a>(&'a str);

impl<'a> Literal<'a> {
    /// Passes over `token`, if it is next.
    fn take(&mut self, token: &str) -> bool {
        let rest = self.0.strip_prefix(token).map(str::trim_start);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(self.wrong(&format!("'{token}'"))) }
    }

    fn wrong(&self, expected: &str) -> String {
        let found: String = self.0.chars().take(20).collect();
        format!("has {found:?} where {expected} was expected")
    }

    fn quoted(&mut self) -> Result<&'a str, String> {
        let quote =
            self.0.chars().next().filter(|c| matches!(c, '\'' | '"')).ok_or_else(|| self.wrong("a string (an array of one plain type)"))?;
        let closed = self.0[1..].split_once(quote).filter(|(inside, _)| inside.len() <= MAX_QUOTED);
        let (inside, rest) = closed.ok_or_else(|| self.wrong(&format!("a closed string of up to {MAX_QUOTED} bytes")))?;
        self.0 = rest.trim_start();
        Ok(inside)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        if self.take("True") { Ok(true) } else { self.expect("False").map(|()| false).map_err(|_| self.wrong("True or False")) }
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.take(")") {
            let digits = self.0.len() - self.0.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let size = self.0[..digits].parse().map_err(|_| self.wrong("a size"))?;
            shape.push(size);
            if shape.len() > MAX_RANK {
                return Err(format!("has more than {MAX_RANK} dimensions"));
            }
            self.0 = self.0[digits..].trim_start();
            // Python 2 wrote long integers as 3L.
            self.take("L");
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }
}

/// The element type of a NumPy type string, and whether it is big-endian.
fn stored(name: &str, descr: &str) -> Result<(Stored, bool), String> {
    let wrong = || format!("tensor {name:?} has NumPy's type {descr:?}; {ACCEPTED} (f4, f2, i4, i8, u1, b1)");
    let mut chars = descr.chars();
    let big_endian = match chars.next() {
        Some('<' | '|') => false,
        Some('>') => true,
        Some('=') => cfg!(target_endian = "big"),
        _ => return Err(wrong()),
    };
    let stored = match chars.as_str() {
        "f4" => Stored::F32,
        "f2" => Stored::F16,
        "i4" => Stored::I32,
        "i8" => Stored::I64,
        "u1" => Stored::U8,
        "b1" => Stored::Bool,
        _ => return Err(wrong()),
    };
    Ok((stored, big_endian))
}

/// The transpose that reverses every axis: an array of shape `[c, b, a]` becomes one of `[a, b, c]`.
fn reverse_axes(array: &Array) -> Array {
    let shape: Vec<usize> = array.shape().iter().rev().copied().collect();
    match array.data() {
        Data::F32(v) => Array::f32(&shape, transposed(&shape, v)),
        Data::F16(v) => Array::f16(&shape, transposed(&shape, v)),
        Data::I32(v) => Array::i32(&shape, transposed(&shape, v)),
        Data::U8(v) => Array::u8(&shape, transposed(&shape, v)),
        Data::F64(v) => Array::f64(&shape, transposed(&shape, v)),
    }
}

/// The elements of an array of `shape`, row-major, from the same with its first axis fastest.
fn transposed<T: Copy>(shape: &[usize], from: &[T]) -> Vec<T> {
    let mut to = Vec::with_capacity(from.len());
    let mut index = vec![0; shape.len()];
    while to.len() < from.len() {
        to.push(from[index.iter().zip(shape).rev().fold(0, |at, (&i, &size)| at * size + i)]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    to
}

/// Writes the tensors, uncompressed, in the order of their names.
pub(super) fn write(out: &mut dyn Write, arrays: &Arrays) -> Result<(), WriteFault> {
    let headers: Vec<Vec<u8>> = arrays.values().map(npy_header).collect();
    let entries = arrays.iter().zip(&headers).map(|((name, array), header)| (format!("{name}.npy"), [header.as_slice(), array.bytes()]));
    zip::write(out, entries)
}

/// The header of an array, padded so that the data begin at a multiple of 64 bytes, as NumPy does.
fn npy_header(array: &Array) -> Vec<u8> {
    let descr = match array.dtype() {
        DType::F32 => "<f4",
        DType::F16 => "<f2",
        DType::I32 => "<i4",
        DType::U8 => "|u1",
        DType::F64 => "<f8",
    };
    let sizes: Vec<String> = array.shape().iter().map(usize::to_string).collect();
    // A tuple of one is (3,) in Python.
    let comma = if sizes.len() == 1 { "," } else { "" };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}{comma}), }}", sizes.join(", "));
    let padding = (10 + text.len() + 1).next_multiple_of(64) - (10 + text.len() + 1);
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    // Room for 65,535 bytes is room for thousands of dimensions.
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&(text.len() as u16).to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    header
}
