#!/usr/bin/env bash
# Runs every fuzz target for a while, keeps what was found, and records the run:   scripts/fuzz.sh [SECONDS]   (120 for each target)
#
# Needs cargo-fuzz (cargo install cargo-fuzz) and a nightly toolchain, since the coverage that libFuzzer goes by is an unstable option of
# the compiler. The corpus, fuzz/corpus/TARGET, is made minimal and belongs into the repository: tests/corpus.rs replays it. An
# input that crashes is left in fuzz/artifacts/TARGET, and the script fails. docs/FUZZING.md is written when all targets have passed.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-120}
targets=(safetensors npz arguments)
# Overflow checks and debug assertions, optimised. No sanitizer: the code is safe Rust, and its memory is counted in the harness.
flags=(-s none -a)
# One input may take 10 s and the process 2 GiB. Longer inputs than this only repeat shorter ones.
limits=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1)

fuzz() { cargo +nightly fuzz "$@"; }

fuzz --version >/dev/null || {
    printf '%s\n' "cargo-fuzz or the nightly toolchain is missing: cargo install cargo-fuzz; rustup toolchain install nightly" >&2
    exit 1
}
log=$(mktemp -d)
trap 'rm -r "$log"' EXIT
rows=()
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    printf '\n==> %s\n' "$target"
    fuzz run "${flags[@]}" "$target" -- "${limits[@]}" 2>&1 | tee "$log/$target" | grep -v '^#.*\(REDUCE\|RELOAD\)' || true
    if ! grep -q '^stat::number_of_executed_units' "$log/$target" || grep -q 'SUMMARY: libFuzzer' "$log/$target"; then
        printf '%s: FAILED; the input is in fuzz/artifacts/%s\n' "$target" "$target" >&2
        exit 1
    fi
    fuzz cmin "${flags[@]}" "$target" -- -max_len=8192 >"$log/cmin" 2>&1 || { cat "$log/cmin" >&2; exit 1; }
    stat() { awk -v name="stat::$1:" '$1 == name { print $2 }' "$log/$target"; }
    last() { grep -o "$1: [0-9]*" "$log/$target" | tail -n 1 | grep -o '[0-9]*$'; }
    files=$(find "fuzz/corpus/$target" -type f | wc -l)
    bytes=$(find "fuzz/corpus/$target" -type f -printf '%s\n' | awk '{ sum += $1 } END { print int((sum + 1023) / 1024) }')
    rows+=("| $target | $(stat number_of_executed_units) | $(last cov) | $(last ft) | $(stat peak_rss_mb) MiB | $files files, $bytes KiB | no crash |")
done

mkdir -p docs
{
    printf '# The last fuzzing run\n\n'
    printf '%s, commit %s, `scripts/fuzz.sh %s`: %s s for each target, with %s, %s.\n\n' \
        "$(date -u +%Y-%m-%d)" "$(git rev-parse --short HEAD)" "$seconds" "$seconds" "$(fuzz --version)" "$(rustc +nightly --version)"
    printf '| target | executions | edges covered | features | peak memory | corpus after | result |\n|---|---|---|---|---|---|---|\n'
    printf '%s\n' "${rows[@]}"
    printf '\nThe targets are described in fuzz/src/lib.rs. What a reader may take of memory is in src/io/mod.rs; the targets hold it to that with a\n'
    printf 'counting allocator. Peak memory is the whole process, with libFuzzer and, for `arguments`, three devices of a backend that computes nothing.\n'
} >docs/FUZZING.md
printf '\n'
cat docs/FUZZING.md
