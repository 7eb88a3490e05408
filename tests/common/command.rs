//! The binary from outside: what it is given, and what it says.

use std::process::Command;

/// How a command ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The binary with these arguments, and nothing set by the environment.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattn"));
    command.args(args).env_remove("WATTN_DEVICE").env_remove("WATTN_SHADERS").env("WATTN_TUNINGS", "");
    // Some Vulkan drivers complain on stderr about a desktop that is not there.
    command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    command
}

/// Runs the binary.
pub fn wattn(args: &[&str]) -> Ran {
    finish(command(args))
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().expect("killed by a signal"), out: text(output.stdout), err: text(output.stderr) }
}

impl Ran {
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    /// Failed with that code and one line on stderr that contains `part`.
    #[track_caller]
    pub fn failed(self, code: i32, part: &str) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert!(self.err.starts_with("error: ") && self.err.contains(part), "{}", self.err);
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}
