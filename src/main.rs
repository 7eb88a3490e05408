//! The `wattn` command. Everything is in [`wattn::cli`], where tests can call it.

fn main() -> std::process::ExitCode {
    wattn::cli::main_with(std::env::args_os())
}
