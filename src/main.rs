//! The `wattn` command.

fn main() {}
