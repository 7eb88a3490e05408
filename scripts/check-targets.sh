#!/usr/bin/env bash
# Checks the library for systems that are not this one, without their linkers and drivers:   scripts/check-targets.sh [TARGET…]
#
# Without arguments: Windows, macOS and browsers. A target whose standard library is installed (rustup target add) is checked with the
# installed Rust. For another one std is checked as well, from source, which takes a compiler and sources of one version; Debian has them
# (rustc-web, rust-web-src). They are unpacked into $WATTN_RUST, by default ~/.cache/wattn/rust, and not installed.
# A target that cannot be checked is an error. Everything goes to target/check, so that no other build is made again.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/debian.sh

targets=("$@")
[ $# != 0 ] || targets=(x86_64-pc-windows-msvc aarch64-apple-darwin wasm32-unknown-unknown)
folder=$(cache WATTN_RUST rust)
sysroot=$(rustc --print sysroot) || stop "Rust is missing: https://rustup.rs"
export CARGO_TARGET_DIR=$PWD/target/check

check() ( # TARGET CARGO-ARGUMENT…
    std=()
    if [ ! -d "$sysroot/lib/rustlib/$1/lib" ]; then
        unpack "$folder" bookworm missing rustc-web/bookworm-security rust-web-src/bookworm-security || exit 1
        # -Z is for nightly compilers, and the variable for everyone who builds std.
        export RUSTC=$folder/root/usr/bin/rustc RUSTC_BOOTSTRAP=1
        LD_LIBRARY_PATH=$(dirname "$(find "$folder/root/usr/lib" -name 'librustc_driver-*.so')")
        export LD_LIBRARY_PATH
        std=("-Zbuild-std=std,panic_abort")
    fi
    "${RUSTC:-rustc}" --version
    cargo check --target "$@" "${std[@]}"
)

failed=()
step() { # TARGET CARGO-ARGUMENT…
    local start=$SECONDS result=ok
    printf '\n==> %s\n' "$*"
    check "$@" || { result=FAILED && failed+=("$*"); }
    printf '==> %s: %s, %d s\n' "$*" $result $((SECONDS - start))
}
for target in "${targets[@]}"; do
    step "$target" --lib --no-default-features
done
[ ${#failed[@]} = 0 ] || stop "$(printf 'FAILED: %s\n' "${failed[@]}")"
