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

/// Reads the elements of one tensor. Room is made for `present` elements at once (those that the file is known to hold) and
/// for the rest as they arrive, so that a header cannot claim memory that no data follows.
pub(super) fn read(reader: &mut dyn Read, layout: &Layout, present: usize) -> Result<Array, String> {
    let shape = layout.shape;
    let big = layout.big_endian;
    let mut source = Source { reader, layout, present };
    Ok(match layout.stored {
        Stored::F32 => Array::f32(shape, source.elements(|b| Ok(if big { f32::from_be_bytes(b) } else { f32::from_le_bytes(b) }))?),
        Stored::F16 => Array::f16(shape, source.elements(|b| Ok(if big { f16::from_be_bytes(b) } else { f16::from_le_bytes(b) }))?),
        Stored::I32 => Array::i32(shape, source.elements(|b| Ok(if big { i32::from_be_bytes(b) } else { i32::from_le_bytes(b) }))?),
        Stored::I64 => Array::i32(shape, source.elements(|b| narrow(if big { i64::from_be_bytes(b) } else { i64::from_le_bytes(b) }))?),
        Stored::U8 => Array::u8(shape, source.elements(|[b]| Ok(b))?),
        Stored::Bool => Array::u8(shape, source.elements(|[b]| Ok((b != 0) as u8))?),
    })
}

fn narrow(x: i64) -> Result<i32, String> {
    i32::try_from(x).map_err(|_| format!("holds {x}, which does not fit in 32 bits; integers are read as i32"))
}

struct Source<'a> {
    reader: &'a mut dyn Read,
    layout: &'a Layout<'a>,
    present: usize,
}

impl Source<'_> {
    fn elements<T, const N: usize>(&mut self, convert: impl Fn([u8; N]) -> Result<T, String>) -> Result<Vec<T>, String> {
        let Layout { name, count, .. } = *self.layout;
        let wrong = |what: String| format!("tensor {name:?} {what}");
        let mut elements = Vec::new();
        let room = count.min(self.present);
        elements.try_reserve_exact(room).map_err(|_| wrong(format!("has {count} elements, for which there is no memory")))?;
        let mut buffer = [0u8; 1 << 16];
        while elements.len() < count {
            let bytes = (count - elements.len()).saturating_mul(N).min(buffer.len());
            let part = &mut buffer[..bytes];
            self.reader.read_exact(part).map_err(|e| {
                wrong(match e.kind() {
                    std::io::ErrorKind::UnexpectedEof => format!("ends before its {count} elements do"),
                    _ => format!("could not be read: {e}"),
                })
            })?;
            elements.try_reserve(part.len() / N).map_err(|_| wrong(format!("has {count} elements, for which there is no memory")))?;
            for chunk in part.chunks_exact(N) {
                let mut element = [0; N];
                element.copy_from_slice(chunk);
                elements.push(convert(element).map_err(wrong)?);
            }
        }
        Ok(elements)
    }
}
