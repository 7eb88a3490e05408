//! Any bytes as a file of tensors.

use std::path::Path;

use wattn::{Error, io};

use super::memory;

/// What the decoders take, whatever the file.
const FIXED: usize = 192 << 10;

/// What a tensor takes beside its elements.
const PER_TENSOR: usize = 1 << 10;

/// The fewest bytes by which either format names a tensor.
const SHORTEST: usize = 46;

/// More tensors are refused.
const MAX_TENSORS: usize = 4096;

/// Reads the bytes and holds the reader to what `wattn::io` promises: an error of one line, and no more memory than it says.
pub fn read(name: &str, bytes: &[u8]) {
    let (result, peak) = memory::peak(|| io::read_bytes(Path::new(name), bytes));
    let (arrays, tensors) = match &result {
        Ok(arrays) => (arrays.values().map(|array| array.bytes().len()).sum(), arrays.len()),
        Err(Error::Format { message, .. }) => {
            assert!(!message.contains('\n'), "an error of several lines: {message}");
            (0, MAX_TENSORS.min(bytes.len() / SHORTEST))
        }
        Err(other) => panic!("not an error of the format: {other:?}"),
    };
    let allowed = 2 * bytes.len().max(arrays) + FIXED + PER_TENSOR * tensors;
    assert!(peak <= allowed, "{peak} bytes for a file of {} and arrays of {arrays}; {allowed} are allowed", bytes.len());
    for (name, array) in result.iter().flatten() {
        assert_eq!(array.shape().iter().product::<usize>(), array.len(), "{name}");
        assert_eq!(array.bytes().len(), array.len() * array.dtype().bytes(), "{name}");
    }
}
