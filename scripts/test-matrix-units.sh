#!/usr/bin/env bash
# Tests what is done on matrix units, on the software driver that has them: lavapipe of Mesa 26, whose units take 8x8 blocks.
#
#   scripts/test-matrix-units.sh [FILTER]
#
# FILTER is a part of the names of the tests in tests/ops; without it the operations that have kernels for matrix units. Where the driver
# is not to be had nothing is tested, which is exit code 75 and not a success.
set -uo pipefail
cd "$(dirname "$0")/.."

filters=("$@")
[ $# -gt 0 ] || filters=(matmul:: attention::)

lines=$(scripts/drivers.sh mesa-26) || {
    echo "NOT RUN: Mesa 26 is not to be had on this machine, so nothing on matrix units was tested" >&2
    exit 75
}
eval "$lines"
# The tests fail where they find none, instead of leaving them out.
export WATTN_MATRIX_UNITS=required
exec cargo test --test ops -- --nocapture "${filters[@]}"
