#!/usr/bin/env bash
# Runs every check of this repository and says at the end which failed:   scripts/test.sh
#
# The tests run kernels, so they need an adapter. Where there is none, this installs Mesa's software driver (Debian, Ubuntu) or
# says what to install. A driver that is there is used as it is; VK_ICD_FILENAMES and WATTN_DEVICE choose one of several.
# Other drivers and other systems have scripts of their own: test-drivers.sh and check-targets.sh.
# Rust is not installed: https://rustup.rs. About 18 minutes on 2 cores from nothing, most of it compiling.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()
step() { # NAME COMMAND…
    local name=$1 start=$SECONDS
    shift
    printf '\n==> %s: %s\n' "$name" "$*"
    if "$@"; then
        printf '==> %s: ok, %d s\n' "$name" $((SECONDS - start))
    else
        printf '==> %s: FAILED, %d s\n' "$name" $((SECONDS - start))
        failed+=("$name")
    fi
}

stop() {
    printf '%s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        stop "not root, and no sudo: as root, run $*"
    fi
}

# PACKAGE… for what is missing; elsewhere than on Debian and Ubuntu says so.
install() {
    command -v apt-get >/dev/null || stop "missing: $1. Install it with your system's package manager (as on Debian: $2)"
    printf '\n==> installing %s (%s)\n' "$1" "$2"
    # The list of packages is one word on purpose, to be split here.
    # shellcheck disable=SC2086
    as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $2 >/dev/null
}

adapters() { target/debug/wattn devices --json 2>/dev/null; }

command -v cargo >/dev/null || stop "cargo is missing: install Rust from https://rustup.rs"
command -v cc >/dev/null || install "a C linker, which Rust calls" "gcc libc6-dev"
# Without it some drivers complain to stderr for every device.
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
    trap 'rmdir "$XDG_RUNTIME_DIR"' EXIT
fi

step build cargo build
[ ${#failed[@]} = 0 ] || stop "nothing can be tested"
if [ "$(adapters)" = "[]" ]; then
    case $(uname -s) in
        Linux) install "a Vulkan driver" "libvulkan1 mesa-vulkan-drivers" ;;
        *) stop "wgpu finds no adapter on this machine: it needs a Vulkan, Metal or DX12 driver" ;;
    esac
    [ "$(adapters)" != "[]" ] || stop "still no adapter; 'target/debug/wattn devices' lists what wgpu finds"
fi
target/debug/wattn devices

# lavapipe's subgroups are as wide as its vectors: 8 invocations here, 4 and 16 in test-drivers.sh.
export LP_NATIVE_VECTOR_WIDTH=256

step format cargo fmt --check
step lints cargo clippy --all-targets -- -D warnings
step "lints of the tests with scripts of their own" cargo clippy --test tint --test big -- -D warnings
step docs env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
step "the library alone" cargo clippy --lib --no-default-features -- -D warnings
step tests cargo test --no-fail-fast
for example in examples/*.rs; do
    example=$(basename "$example" .rs)
    step "example $example" cargo run --example "$example"
done
[ ! -d benches ] || step "benches, each once" cargo test --benches
step "verify" cargo run -- verify --quick

printf '\n'
[ ${#failed[@]} = 0 ] || stop "$(printf 'FAILED: %s\n' "${failed[@]}")"
printf 'everything passed, %d s\n' $SECONDS
