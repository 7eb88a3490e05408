//! A test in a process of its own, whose variables are not those of this one.

use std::process::Command;

/// Runs the test `name` of this program again, in a process that `change` has changed, and fails where it fails.
pub fn run_alone(name: &str, change: impl FnOnce(&mut Command)) {
    let mut command = this_program();
    command.args(["--exact", name, "--nocapture"]);
    change(&mut command);
    let child = command.output().unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&child.stderr));
}

/// As it was started: by a loader where the driver has libraries of its own (mesa-26 of scripts/drivers.sh), which is what runs then.
fn this_program() -> Command {
    let running = std::env::current_exe().unwrap();
    let program = std::env::args().next().unwrap();
    let mut command = Command::new(&running);
    if running.file_name().unwrap().to_string_lossy().starts_with("ld-linux") {
        let line = std::fs::read_to_string("/proc/self/cmdline").unwrap();
        command.args(line.split('\0').skip(1).take_while(|&word| word != program)).arg(program);
    }
    command
}
