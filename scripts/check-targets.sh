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

# TARGET…: all in one call of cargo, which makes what they share once and keeps all cores busy.
check() (
    local start=$SECONDS result=ok
    printf '\n==> %s\n' "$*"
    "${RUSTC:-rustc}" --version
    cargo check --lib --no-default-features --keep-going "${@/#/--target=}" "${std[@]}" || result=FAILED
    printf '==> %s: %s, %d s\n' "$*" $result $((SECONDS - start))
    [ $result = ok ]
)

installed=() missing=() std=() red=''
for target in "${targets[@]}"; do
    if [ -d "$sysroot/lib/rustlib/$target/lib" ]; then installed+=("$target"); else missing+=("$target"); fi
done
[ ${#installed[@]} = 0 ] || check "${installed[@]}" || red=yes
if [ ${#missing[@]} != 0 ]; then
    unpack "$folder" bookworm missing rustc-web/bookworm-security rust-web-src/bookworm-security || exit 1
    # -Z is for nightly compilers, and the variable for everyone who builds std.
    export RUSTC=$folder/root/usr/bin/rustc RUSTC_BOOTSTRAP=1
    LD_LIBRARY_PATH=$(dirname "$(find "$folder/root/usr/lib" -name 'librustc_driver-*.so')")
    export LD_LIBRARY_PATH
    std=("-Zbuild-std=std,panic_abort")
    check "${missing[@]}" || red=yes
fi
[ -z "$red" ] || stop "FAILED, see above"
