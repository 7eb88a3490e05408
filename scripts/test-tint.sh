#!/usr/bin/env bash
# Compiles every shader with Tint and runs the operations' cases in Dawn, the compiler and the WebGPU of Chrome:   scripts/test-tint.sh [FILTER]
#
# FILTER is a part of the names of the tests, for instance `softmax::`. Dawn is the package `webgpu` of npm, installed once into a cache
# outside the checkout; after that nothing comes from the network. The Vulkan driver is the one that VK_ICD_FILENAMES names, or the
# system's; Dawn and wgpu must take the same one. Of the software drivers take Mesa 26:
#
#   lines=$(scripts/drivers.sh mesa-26) && eval "$lines" && scripts/test-tint.sh
#
# Lavapipe 25 takes minutes for one pipeline of attention, since Tint leaves the lengths of loops known and LLVM 15 splits what they are written
# out to at every barrier. Before Mesa 23 Dawn refuses it. Where there is no f16 (SwiftShader) its variants and cases are left out, and listed.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.6.2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wattn/tint

for command in node npm cargo; do
    if ! command -v "$command" >/dev/null; then
        echo "$command is missing: install Node 20 or later (https://nodejs.org; 'nodejs' and 'npm' on Debian), Rust from https://rustup.rs" >&2
        exit 1
    fi
done

installed() { [ "$(node -p "require('$cache/node_modules/webgpu/package.json').version" 2>/dev/null)" = "$version" ]; }
if ! installed; then
    mkdir -p "$cache"
    npm install --prefix "$cache" --no-save --no-audit --no-fund --ignore-scripts --silent "webgpu@$version"
    installed || { echo "npm did not install webgpu $version into $cache" >&2; exit 1; }
fi

# Without it some drivers complain to stderr for every device.
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
    trap 'rmdir "$XDG_RUNTIME_DIR"' EXIT
fi

# A driver with libraries of its own (mesa-26) brings a loader; cargo starts the tests with it, and Node needs it too.
runner=CARGO_TARGET_$(uname -m | tr '[:lower:]' '[:upper:]')_UNKNOWN_LINUX_GNU_RUNNER
WATTN_TINT_NODE="${!runner:-} $(command -v node)" WATTN_TINT=$cache cargo test --release --test tint -- --nocapture "$@"
