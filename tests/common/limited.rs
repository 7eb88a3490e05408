//! A disk that is full: a limit of the system on the size of files stands for it.

use std::process::Command;

/// The same command, in which files grow to so many of the shell's blocks and no further.
pub fn with_small_files(inner: &Command, blocks: u32) -> Command {
    let mut limited = Command::new("sh");
    // Without the signal, which would end the process, writing fails.
    limited.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
    limited.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}
