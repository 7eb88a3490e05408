//! Finds what `run` panics at.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wattn_fuzz::run("arguments", bytes));
