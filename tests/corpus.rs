//! What libFuzzer has found worth keeping, through the function that it calls (fuzz/src): no panic, and no memory that a file does not
//! warrant. scripts/fuzz.sh looks for more.
#![cfg(feature = "cli")]

#[path = "../fuzz/src/lib.rs"]
mod hostile;

use std::path::Path;

/// Runs every file of fuzz/corpus/NAME.
fn replay(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut count = 0;
    for path in files.map(|entry| entry.unwrap().path()) {
        // A panic is told with the file that it came from.
        println!("{}", path.display());
        hostile::run(name, &std::fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 20, "{}: {count} files are no corpus", folder.display());
}

#[test]
fn safetensors() {
    replay("safetensors");
}

#[test]
fn npz() {
    replay("npz");
}

#[test]
fn arguments() {
    replay("arguments");
}
