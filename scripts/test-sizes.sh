#!/usr/bin/env bash
# Runs every operation on tensors as large as the device allows, up to 2^31 elements:   scripts/test-sizes.sh [TEST]
#
# One test at a time, each of which says what memory it takes: up to 8 GiB on Mesa's software driver, whose buffers end at 2 GiB, and
# about four times that where a buffer may have 8 GiB. What there is too little memory for is listed at the end. About 10 minutes on 2
# cores. WATTN_DEVICE and VK_ICD_FILENAMES choose the device, as everywhere.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --test big -- --test-threads=1 --nocapture "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
printf '\n'
grep '^NOT RUN' "$log" && printf 'Free some memory for these.\n'
exit "$status"
