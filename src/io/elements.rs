//! From the bytes of a file to the elements of an [`Array`].

use std::io::Read;

use half::f16;

use crate::Array;

/// How a file stores its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    F32,
    F16,
    I32,
    I64,
    U8,
    Bool,
}

impl Stored {
    /// Bytes per element.
    pub(super) fn bytes(self) -> usize {
        match self {
            Stored::I64 => 8,
            Stored::F32 | Stored::I32 => 4,
            Stored::F16 => 2,
            Stored::U8 | Stored::Bool => 1,
        }
    }
}

/// What a file says about one tensor.
pub(super) struct Layout<'a> {
    pub(super) name: &'a str,
    pub(super) stored: Stored,
    pub(super) shape: &'a [usize],
    /// The product of the shape, already checked.
    pub(super) count: usize,
    pub(super) big_endian: bool,
}

/// Reads the elements of one tensor, all of which the file is known to hold.
pub(super) fn read(reader: &mut dyn Read, layout: &Layout) -> Result<Array, String> {
    let shape = layout.shape;
    let big = layout.big_endian;
    let mut source = Source { reader, layout };
    Ok(match layout.stored {
        Stored::F32 => Array::f32(shape, source.elements(|b| Ok(if big { f32::from_be_bytes(b) } else { f32::from_le_bytes(b) }))?),
        Stored::F16 => Array::f16(shape, source.elements(|b| Ok(if big { f16::from_be_bytes(b) } else { f16::from_le_bytes(b) }))?),
        Stored::I32 => Array::i32(shape, source.elements(|b| Ok(if big { i32::from_be_bytes(b) } else { i32::from_le_bytes(b) }))?),
        Stored::I64 => Array::i32(shape, source.elements(|b| narrow(b, big))?),
        Stored::U8 => Array::u8(shape, source.elements(|[b]| Ok(b))?),
        Stored::Bool => Array::u8(shape, source.elements(|[b]| Ok((b != 0) as u8))?),
    })
}

/// Reads the same and keeps nothing: whether all of it is there and can be read.
pub(super) fn check(reader: &mut dyn Read, layout: &Layout) -> Result<(), String> {
    let big = layout.big_endian;
    let mut source = Source { reader, layout };
    match layout.stored {
        Stored::F32 | Stored::I32 => source.each(Ok, |_: [u8; 4]| {}),
        Stored::F16 => source.each(Ok, |_: [u8; 2]| {}),
        Stored::I64 => source.each(|b| narrow(b, big), |_| {}),
        Stored::U8 | Stored::Bool => source.each(Ok, |_: [u8; 1]| {}),
    }
}

fn narrow(bytes: [u8; 8], big: bool) -> Result<i32, String> {
    let x = if big { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) };
    i32::try_from(x).map_err(|_| format!("holds {x}, which does not fit in 32 bits; integers are read as i32"))
}

struct Source<'a> {
    reader: &'a mut dyn Read,
    layout: &'a Layout<'a>,
}

impl Source<'_> {
    fn elements<T, const N: usize>(&mut self, convert: impl Fn([u8; N]) -> Result<T, String>) -> Result<Vec<T>, String> {
        let Layout { name, count, .. } = *self.layout;
        let mut elements = Vec::new();
        elements.try_reserve_exact(count).map_err(|_| format!("tensor {name:?} has {count} elements, for which there is no memory"))?;
        self.each(convert, |element| elements.push(element))?;
        Ok(elements)
    }

    fn each<T, const N: usize>(&mut self, convert: impl Fn([u8; N]) -> Result<T, String>, mut keep: impl FnMut(T)) -> Result<(), String> {
        let Layout { name, count, .. } = *self.layout;
        let wrong = |what: String| format!("tensor {name:?} {what}");
        let mut buffer = [0u8; 1 << 16];
        let mut left = count;
        while left > 0 {
            let elements = left.min(buffer.len() / N);
            let part = &mut buffer[..elements * N];
            self.reader.read_exact(part).map_err(|e| {
                wrong(match e.kind() {
                    std::io::ErrorKind::UnexpectedEof => format!("ends before its {count} elements do"),
                    _ => format!("could not be read: {e}"),
                })
            })?;
            for chunk in part.chunks_exact(N) {
                let mut element = [0; N];
                element.copy_from_slice(chunk);
                keep(convert(element).map_err(wrong)?);
            }
            left -= elements;
        }
        Ok(())
    }
}
