//! A test in a process of its own, whose variables are not those of this one.

#[path = "program.rs"]
mod program;

use std::process::Command;

/// Runs the test `name` of this program again, in a process that `change` has changed, and fails where it fails.
pub fn run_alone(name: &str, change: impl FnOnce(&mut Command)) {
    let mut command = program::this_program();
    command.args(["--exact", name, "--nocapture"]);
    change(&mut command);
    let child = command.output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&child.stderr));
}
