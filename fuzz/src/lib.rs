//! What the fuzz targets run. scripts/fuzz.sh feeds it from libFuzzer; tests/corpus.rs includes this file and replays what libFuzzer has found
//! worth keeping, with every `cargo test`.
//!
//! It takes any bytes and panics when wattn does what it must not: panic itself, take memory that the input does not warrant, or let its
//! checks and its kernels disagree about what is acceptable.

mod call;
mod files;
mod memory;
mod operations;

use arbitrary::{Arbitrary, Unstructured};

/// Any bytes, as the input of the target of this name: a file of tensors, or the arguments of an operation.
pub fn run(target: &str, bytes: &[u8]) {
    match target {
        "safetensors" => files::read("input.safetensors", bytes),
        "npz" => files::read("input.npz", bytes),
        // Bytes that are too few make no call.
        "arguments" => drop(call::Call::arbitrary(&mut Unstructured::new(bytes)).map(|call| operations::run(&call))),
        other => panic!("no target '{other}'"),
    }
}
