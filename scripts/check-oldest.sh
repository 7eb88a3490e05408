#!/usr/bin/env bash
# Checks the library and the command with the oldest Rust that Cargo.toml promises:   scripts/check-oldest.sh
#
# rustup installs that Rust beside the others. Where it cannot, or is not there, nothing is checked, and the exit code is 75.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v rustup >/dev/null || {
    echo "no rustup here (https://rustup.rs): the oldest Rust is not checked" >&2
    exit 75
}
oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
rustup toolchain install "$oldest" --profile minimal --no-self-update || {
    echo "rustup cannot install Rust $oldest, which is not checked" >&2
    exit 75
}
# Everything goes to target/oldest, so that no other build is made again.
cargo "+$oldest" check --bins --target-dir target/oldest
