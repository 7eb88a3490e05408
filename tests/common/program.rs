//! How to run this test program again.

use std::process::Command;

/// This program, as it was started: by a loader where the driver has libraries of its own (mesa-26 of scripts/drivers.sh), which is what runs then.
pub fn this_program() -> Command {
    let running = std::env::current_exe().unwrap();
    let program = std::env::args().next().unwrap();
    let mut command = Command::new(&running);
    if running.file_name().unwrap().to_string_lossy().starts_with("ld-linux") {
        let line = std::fs::read_to_string("/proc/self/cmdline").unwrap();
        command.args(line.split('\0').skip(1).take_while(|&word| word != program)).arg(program);
    }
    command
}
