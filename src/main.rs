//! The `wattn` command. Everything is in [`wattn::cli`], where tests can call it.

fn main() -> std::process::ExitCode {
    // Mesa's device-selection layer asks the display server which GPU is best and complains on stderr where there is none.
    // wattn chooses by itself.
    #[cfg(target_os = "linux")]
    // SAFETY: the process has one thread yet.
    unsafe {
        std::env::set_var("NODEVICE_SELECT", "1");
    }
    wattn::cli::main_with(std::env::args_os())
}
