//! Tensor files, `.safetensors` and `.npz` by extension; and [`checkpoint`], the directory that a training run leaves.
//!
//! A file is untrusted: whatever is wrong with it is an [`Error::Format`] of one line, never a panic, and no size that it states takes
//! memory before the data have been seen. So reading never takes more than
//!
//! - twice the size of the file, or of its arrays where they are larger (compressed ones, once all have been decompressed into nothing
//!   and found to be what they say; until then only the file counts),
//! - and 192 KiB for the decoders and 1 KiB for each tensor, of which 4,096 are accepted.
//!
//! fuzz/src/files.rs holds every file that is tried to this, byte by byte.
//!
//! | stored as | read as |
//! |---|---|
//! | f32, f16, i32, u8 | the same |
//! | i64 | i32; a value out of range is an error |
//! | bool | u8, 0 or 1 |
//! | anything else, f64 and bf16 included | refused, since a silent change of precision would spoil a comparison |
//!
//! ```
//! # fn main() -> wattn::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("x.npz");
//! let arrays = wattn::ops::Arrays::from([("q".to_string(), wattn::Array::f32(&[2], vec![1.0, 2.0]))]);
//! wattn::io::write(&path, &arrays)?;
//! assert_eq!(wattn::io::read(&path)?, arrays);
//! # Ok(())
//! # }
//! ```

pub mod checkpoint;
mod elements;
mod npz;
mod safetensors;
mod zip;

use std::fs::File;
use std::io::{BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::ops::Arrays;
use crate::{Error, Result};

/// More dimensions than this are refused: nothing here has more than five, and a header could name a million.
const MAX_RANK: usize = 16;

/// A header longer than this is refused: thousands of tensors and long notes fit.
const MAX_HEADER: u64 = 8 << 20;

/// More tensors than this are refused: a tensor takes more memory than the 50 bytes by which a file can name it.
const MAX_TENSORS: usize = 4096;

/// Longer names are refused, since errors and parsers copy them.
const MAX_NAME: usize = 1024;

/// The element types that files may have, for errors.
const ACCEPTED: &str = "f32, f16, i32, i64, u8 and bool are accepted";

enum Format {
    Safetensors,
    Npz,
}

fn format_of(path: &Path) -> Result<Format> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "safetensors" => Ok(Format::Safetensors),
        "npz" => Ok(Format::Npz),
        _ => Err(Error::Format { path: path.into(), message: "the name must end in .safetensors or .npz".into() }),
    }
}

/// Checks that a file of this name can be written, before the work whose result it is to hold.
///
/// # Errors
/// [`Error::Format`] for an extension that is neither, [`Error::Io`] when the directory does not exist.
pub fn check_writable(path: &Path) -> Result<()> {
    format_of(path)?;
    check_place(path)
}

/// The same for a file of any name.
pub(crate) fn check_place(path: &Path) -> Result<()> {
    let wrong = |source| Error::Io { path: path.into(), source };
    if path.is_dir() {
        return Err(wrong(std::io::ErrorKind::IsADirectory.into()));
    }
    std::fs::metadata(directory(path)).map_err(wrong).map(|_| ())
}

/// Reads every tensor of a file.
///
/// # Errors
/// [`Error::Io`] when it cannot be opened, [`Error::Format`] for everything that is wrong inside.
pub fn read(path: &Path) -> Result<Arrays> {
    let format = format_of(path)?;
    let io = |source| Error::Io { path: path.into(), source };
    let wrong = |message| Error::Format { path: path.into(), message };
    // Opening a pipe would wait for a writer, and the size of a device file says nothing.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(wrong("not a regular file".into()));
    }
    let mut file = File::open(path).map_err(io)?;
    let len = file.seek(SeekFrom::End(0)).map_err(io)?;
    parse(format, &mut file, len).map_err(wrong)
}

/// Reads every tensor of a file that is in memory already. `path` says the format by its extension, and errors name it.
///
/// # Errors
/// [`Error::Format`] for everything that is wrong.
pub fn read_bytes(path: &Path, bytes: &[u8]) -> Result<Arrays> {
    let parsed = parse(format_of(path)?, &mut Cursor::new(bytes), bytes.len() as u64);
    parsed.map_err(|message| Error::Format { path: path.into(), message })
}

fn parse<R: Read + Seek>(format: Format, file: &mut R, len: u64) -> std::result::Result<Arrays, String> {
    match format {
        Format::Safetensors => safetensors::read(file, len),
        Format::Npz => npz::read(file, len),
    }
}

/// Writes a file whole or not at all: to a temporary file in the same directory, which then takes the name.
/// The bytes depend on the tensors alone: names are sorted, and no time is written.
///
/// # Errors
/// [`Error::Io`] when it cannot be written, [`Error::Format`] when the format cannot hold the tensors.
pub fn write(path: &Path, arrays: &Arrays) -> Result<()> {
    let format = format_of(path)?;
    write_whole(path, |file| match format {
        Format::Safetensors => safetensors::write(file, arrays),
        Format::Npz => npz::write(file, arrays),
    })
}

/// Writes a text whole or not at all.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    write_bytes(path, text.as_bytes())
}

/// Writes bytes whole or not at all.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, |file| Ok(file.write_all(bytes)?))
}

fn write_whole(path: &Path, fill: impl FnOnce(&mut BufWriter<NamedTempFile>) -> Result<(), WriteFault>) -> Result<()> {
    let io = |source| Error::Io { path: path.into(), source };
    let mut builder = tempfile::Builder::new();
    // Temporary files are private to their owner; a result should be as readable as any other new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder.prefix(".wattn").tempfile_in(directory(path)).map_err(io)?;
    let mut buffered = BufWriter::new(temporary);
    fill(&mut buffered).map_err(|fault| match fault {
        WriteFault::Io(source) => io(source),
        WriteFault::Format(message) => Error::Format { path: path.into(), message },
    })?;
    buffered.flush().map_err(io)?;
    let temporary = buffered.into_inner().map_err(|e| io(e.into_error()))?;
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}

/// Why a file was not written.
enum WriteFault {
    Io(std::io::Error),
    Format(String),
}

impl From<std::io::Error> for WriteFault {
    fn from(error: std::io::Error) -> Self {
        WriteFault::Io(error)
    }
}

/// The directory that a file lies in.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The number of elements of a shape that a file declares.
fn count_elements(name: &str, shape: &[usize]) -> Result<usize, String> {
    if shape.len() > MAX_RANK {
        return Err(format!("tensor {name:?} has {} dimensions; at most {MAX_RANK} are accepted", shape.len()));
    }
    // Zeros are left out, so that the product of any part of the shape, in any order, fits too.
    let product = shape.iter().filter(|&&d| d > 0).try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= isize::MAX as usize / 8);
    let product = product.ok_or_else(|| format!("tensor {name:?} has shape {shape:?}, whose product is too large"))?;
    Ok(if shape.contains(&0) { 0 } else { product })
}
