//! As much of the zip format as `.npz` files use: entries that are stored or deflated, below 4 GiB.
//!
//! Written here because general readers keep the last of two entries of one name and say nothing, and reserve memory
//! for as many entries as the trailer claims. The central directory is what counts; local headers only say where
//! the data begin.
//!
//! Source: PKWARE, .ZIP File Format Specification (APPNOTE.TXT) 6.3.10.

use std::io::{self, Read, Seek, SeekFrom, Write};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::{MAX_HEADER, MAX_NAME, MAX_TENSORS, WriteFault};

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const TRAILER: &[u8; 4] = b"PK\x05\x06";
const TRAILER_LEN: u64 = 22;

/// No deflate stream is shorter than its contents by more than this: a match of 258 bytes takes two bits at least.
const MAX_DEFLATE_RATIO: u64 = 1032;

/// Files that need the 64-bit extension are refused: the other format has no such limit.
const TOO_LARGE: &str = "zip archives with 64-bit sizes (over 4 GiB) are not accepted; use .safetensors";

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// One entry of an archive.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Bytes of the contents, as declared.
    pub(super) size: u64,
    /// Bytes in the archive.
    pub(super) compressed: u64,
    crc: u32,
    method: u16,
    /// Where the data begin.
    start: u64,
}

/// Little-endian fields of a header.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }
}

/// Lists the entries of an archive of `len` bytes, in the order of their data. No two share a name or a byte.
pub(super) fn entries<R: Read + Seek>(file: &mut R, len: u64) -> Result<Vec<Entry>, String> {
    let (count, directory) = central_directory(file, len)?;
    if usize::from(count) > MAX_TENSORS {
        return Err(format!("the zip archive has {count} entries; at most {MAX_TENSORS} are accepted"));
    }
    let mut entries = Vec::new();
    let mut rest = &directory.bytes[..];
    for _ in 0..count {
        let (entry, after) = central_header(rest)?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(format!("the zip directory holds more than the {count} entries that it declares"));
    }
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two entries are named {:?}", pair[0]));
    }
    entries.sort_by_key(|entry| entry.start);
    let mut end = 0;
    for entry in &mut entries {
        if entry.start < end {
            return Err(format!("entry {:?} overlaps the one before it", entry.name));
        }
        entry.start = data_start(file, entry)?;
        end = entry.start.saturating_add(entry.compressed);
        if end > directory.start {
            return Err(format!("entry {:?} is said to have {} bytes, which are not there", entry.name, entry.compressed));
        }
    }
    Ok(entries)
}

struct Directory {
    start: u64,
    bytes: Vec<u8>,
}

/// Reads the trailer and the directory before it.
fn central_directory<R: Read + Seek>(file: &mut R, len: u64) -> Result<(u16, Directory), String> {
    let io = |e: io::Error| e.to_string();
    // The trailer ends in a comment of up to 64 KiB.
    let tail_len = len.min(TRAILER_LEN + u16::MAX as u64);
    file.seek(SeekFrom::Start(len - tail_len)).map_err(io)?;
    let mut tail = vec![0; tail_len as usize];
    file.read_exact(&mut tail).map_err(io)?;
    let at = (0..(tail.len() + 1).saturating_sub(TRAILER_LEN as usize)).rev().find(|&at| {
        let comment = tail.len() - at - TRAILER_LEN as usize;
        tail[at..].starts_with(TRAILER) && Fields(&tail[at..]).u16(20) as usize == comment
    });
    let at = at.ok_or("cut short, or no zip archive: the directory at its end is missing")?;
    let trailer = Fields(&tail[at..]);
    let (count, size, start) = (trailer.u16(10), trailer.u32(12) as u64, trailer.u32(16) as u64);
    if count == u16::MAX || size == u32::MAX as u64 || start == u32::MAX as u64 {
        return Err(TOO_LARGE.into());
    }
    if [trailer.u16(4), trailer.u16(6)] != [0, 0] || trailer.u16(8) != count {
        return Err("zip archives in several parts are not accepted".into());
    }
    if start + size != len - tail_len + at as u64 {
        return Err("the zip directory is not where the end of the file says".into());
    }
    if size > MAX_HEADER {
        return Err(format!("the zip directory is {size} bytes long; at most {MAX_HEADER} are accepted"));
    }
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut bytes = vec![0; size as usize];
    file.read_exact(&mut bytes).map_err(io)?;
    Ok((count, Directory { start, bytes }))
}

/// The first entry of a directory, with `start` at its local header, and the directory's rest.
fn central_header(bytes: &[u8]) -> Result<(Entry, &[u8]), String> {
    let broken = || "the zip directory is broken".to_string();
    if bytes.len() < 46 || !bytes.starts_with(CENTRAL) {
        return Err(broken());
    }
    let fields = Fields(bytes);
    let name_end = 46 + fields.u16(28) as usize;
    let end = name_end + fields.u16(30) as usize + fields.u16(32) as usize;
    let name = bytes.get(46..name_end).ok_or_else(broken)?;
    if name.len() > MAX_NAME {
        return Err(format!("an entry's name is {} bytes long; at most {MAX_NAME} are accepted", name.len()));
    }
    let name = str::from_utf8(name).map_err(|_| format!("entry name {:?} is not UTF-8", String::from_utf8_lossy(name)))?.to_string();
    let rest = bytes.get(end..).ok_or_else(broken)?;
    let (compressed, size, start) = (fields.u32(20), fields.u32(24), fields.u32(42));
    if [compressed, size, start].contains(&u32::MAX) {
        return Err(TOO_LARGE.into());
    }
    if fields.u16(8) & 1 != 0 {
        return Err(format!("entry {name:?} is encrypted"));
    }
    let (method, compressed, size) = (fields.u16(10), compressed as u64, size as u64);
    match method {
        STORED if compressed == size => {}
        STORED => return Err(format!("entry {name:?} is stored, yet {compressed} bytes are said to be {size}")),
        DEFLATED if size <= compressed * MAX_DEFLATE_RATIO => {}
        DEFLATED => return Err(format!("entry {name:?}: {compressed} bytes cannot decompress to the {size} declared")),
        other => return Err(format!("entry {name:?} is compressed with zip method {other}; stored and deflated are accepted")),
    }
    Ok((Entry { name, size, compressed, crc: fields.u32(16), method, start: start as u64 }, rest))
}

/// Where an entry's data begin, behind its local header.
fn data_start<R: Read + Seek>(file: &mut R, entry: &Entry) -> Result<u64, String> {
    let mut header = [0; 30];
    let read = file.seek(SeekFrom::Start(entry.start)).and_then(|_| file.read_exact(&mut header));
    if read.is_err() || !header.starts_with(LOCAL) {
        return Err(format!("entry {:?} is not where the zip directory says", entry.name));
    }
    let fields = Fields(&header);
    Ok(entry.start + 30 + fields.u16(26) as u64 + fields.u16(28) as u64)
}

/// The contents of an entry, decompressed as they are read.
pub(super) struct Contents<'a, R: Read> {
    source: Source<io::Take<&'a mut R>>,
    crc: Crc,
    entry: &'a Entry,
}

enum Source<R: Read> {
    Stored(R),
    Deflated(DeflateDecoder<R>),
}

/// Opens an entry.
pub(super) fn open<'a, R: Read + Seek>(file: &'a mut R, entry: &'a Entry) -> Result<Contents<'a, R>, String> {
    file.seek(SeekFrom::Start(entry.start)).map_err(|e| e.to_string())?;
    let raw = file.take(entry.compressed);
    let source = if entry.method == DEFLATED { Source::Deflated(DeflateDecoder::new(raw)) } else { Source::Stored(raw) };
    Ok(Contents { source, crc: Crc::new(), entry })
}

impl<R: Read> Read for Contents<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.source {
            Source::Stored(reader) => reader.read(buffer)?,
            Source::Deflated(reader) => reader.read(buffer)?,
        };
        self.crc.update(&buffer[..n]);
        Ok(n)
    }
}

impl<R: Read> Contents<'_, R> {
    /// Checks, once everything declared has been read, that nothing follows and that the checksum is right.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let name = &self.entry.name;
        match self.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(format!("entry {name:?} goes on after the {} bytes that it declares", self.entry.size)),
            Err(e) => return Err(format!("entry {name:?}: {e}")),
        }
        if self.crc.sum() != self.entry.crc {
            return Err(format!("entry {name:?} has a wrong checksum: the file is damaged"));
        }
        Ok(())
    }
}

/// The format's first day, 1 January 1980: a time of writing would make equal results different files.
const NO_TIME: [u8; 4] = [0, 0, 0x21, 0];

/// Writes an archive of stored entries, each in parts that follow one another.
pub(super) fn write<'a>(out: &mut dyn Write, entries: impl Iterator<Item = (String, [&'a [u8]; 2])>) -> Result<(), WriteFault> {
    let too_large = || WriteFault::Format("a .npz file cannot hold over 4 GiB; use .safetensors".into());
    let mut directory = Vec::new();
    let mut position = 0u32;
    let mut count = 0u16;
    for (name, parts) in entries {
        let mut crc = Crc::new();
        parts.iter().for_each(|part| crc.update(part));
        let size = parts.iter().map(|part| part.len()).sum::<usize>();
        let size = u32::try_from(size).ok().filter(|&n| n < u32::MAX).ok_or_else(too_large)?;
        let name_len = u16::try_from(name.len()).map_err(|_| WriteFault::Format(format!("a name of {} bytes is too long", name.len())))?;
        // The fields that both headers share. Version 2.0; bit 11 says that names are UTF-8.
        let mut shared = Vec::new();
        shared.extend_from_slice(&[20, 0, 0, 8, STORED as u8, 0]);
        shared.extend_from_slice(&NO_TIME);
        for field in [crc.sum(), size, size] {
            shared.extend_from_slice(&field.to_le_bytes());
        }
        shared.extend_from_slice(&name_len.to_le_bytes());
        shared.extend_from_slice(&[0; 2]);

        out.write_all(LOCAL)?;
        out.write_all(&shared)?;
        out.write_all(name.as_bytes())?;
        for part in parts {
            out.write_all(part)?;
        }
        directory.extend_from_slice(CENTRAL);
        directory.extend_from_slice(&[20, 0]);
        directory.extend_from_slice(&shared);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&position.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
        let entry = 30 + name_len as u32;
        position = position.checked_add(size).and_then(|p| p.checked_add(entry)).filter(|&p| p < u32::MAX).ok_or_else(too_large)?;
        count = count.checked_add(1).filter(|&n| n < u16::MAX).ok_or_else(too_large)?;
    }
    out.write_all(&directory)?;
    out.write_all(TRAILER)?;
    out.write_all(&[0; 4])?;
    out.write_all(&count.to_le_bytes())?;
    out.write_all(&count.to_le_bytes())?;
    out.write_all(&(directory.len() as u32).to_le_bytes())?;
    out.write_all(&position.to_le_bytes())?;
    out.write_all(&[0; 2])?;
    Ok(())
}
