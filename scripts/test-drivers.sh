#!/usr/bin/env bash
# Tests wattn on several software drivers and prints one table:   scripts/test-drivers.sh [--quick] [--record] [NAME…]
#
# NAME is one of scripts/drivers.sh, which fetches what is not there. On each driver: `wattn verify`; the same on a device with WebGPU's
# default limits and no feature; and the tests that run kernels. Faults of drivers that are known are data: tests/drivers/faults.rs.
#
#   --quick    only `verify --quick`, without names on four of them: some minutes
#   --record   puts each row into docs/DRIVERS.md as soon as it is there; to go on after an interruption, name the drivers that are left
#
# Anything wrong is exit 1, and named below the table. What was printed is kept in target/drivers/NAME/. All drivers: some hours on 2 cores.
set -uo pipefail
cd "$(dirname "$0")/.."

stop() {
    printf 'test-drivers.sh: %s\n' "$*" >&2
    exit 1
}

quick='' record='' names=()
for argument; do
    case $argument in
        --quick) quick=--quick ;;
        --record) record=yes ;;
        -*) stop "$argument: it takes --quick, --record and names of drivers" ;;
        *) names+=("$argument") ;;
    esac
done
[ -z "$quick" ] || [ -z "$record" ] || stop "a quick run is not recorded"
if [ ${#names[@]} = 0 ]; then
    names=(distribution lavapipe-25-w4 lavapipe-25-w8 lavapipe-25-w16 mesa-26 swiftshader)
    [ -z "$quick" ] || names=(distribution lavapipe-25-w4 lavapipe-25-w16 swiftshader)
fi

# What the device must say of itself, so that no row is about another: a part of its driver's name, and the width of its subgroups.
declare -A says=([distribution]="llvmpipe Mesa" [lavapipe-25]="Mesa 25." [lavapipe-25-w4]="Mesa 25." [lavapipe-25-w8]="Mesa 25."
    [lavapipe-25-w16]="Mesa 25." [mesa-26]="Mesa 26." [swiftshader]="SwiftShader")
declare -A widths=([lavapipe-25-w4]=4 [lavapipe-25-w8]=8 [lavapipe-25-w16]=16 [swiftshader]=4)
for name in "${names[@]}"; do
    [ -n "${says[$name]:-}" ] || stop "no driver '$name', only: $(printf '%s\n' "${!says[@]}" | sort | xargs)"
    [ -z "$record" ] || grep -q "^| $name |" docs/DRIVERS.md || stop "docs/DRIVERS.md has no row '$name'"
done

targets=(ops golden faults drivers threads soak self_test sizes trace properties) # the tests that run kernels
limit=${WATTN_TIMEOUT:-4h}          # for each program: a driver may hang
date=$(date +%F)
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD -- src shaders tests Cargo.toml Cargo.lock 2>/dev/null || commit="$commit+changes"
unset WATTN_SHADERS
work=$PWD/target/drivers
mkdir -p "$work"
bin=$(mktemp -d "$work/bin.XXXXXX") || exit 1
trap 'rm -rf "$bin"' EXIT
# Without it some drivers complain for every device.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$work}

# What is tested is what is there now, whatever happens to the sources in the next hours.
build() {
    local target binary built
    if [ -n "$quick" ]; then
        # Most of its time is the drivers' own, and a build for tests is there in most cases.
        cargo build || stop "nothing can be tested"
        cp target/debug/wattn "$bin/" || exit 1
        return
    fi
    cargo build --release || stop "nothing can be tested"
    cp target/release/wattn "$bin/" || exit 1
    built=$(cargo test --release --no-run "${targets[@]/#/--test=}" 2>&1) || stop "nothing can be tested: $built"
    for target in "${targets[@]}"; do
        binary=$(sed -n "s|.*Executable tests/${target}[/.].*(\(.*\))\$|\1|p" <<<"$built")
        cp "$binary" "$bin/$target" || stop "where is the test '$target'? $built"
    done
}

# FILE…: the sums of what `wattn verify` says of each operation (all is its last line), and of what each program of tests says.
count_verified() {
    awk '/^[a-z_]+ +[0-9]+ right/ && $1 != "all" { for (i = 2; i < NF; i++) { word = $(i + 1); sub(",", "", word); n[word] += $i } }
         END { printf "%d right, %d wrong, %d skipped", n["right"], n["WRONG"], n["skipped"] }' "$@"
}
count_tested() {
    awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed", passed, failed }' "$@"
}

wrong() { # WHAT…
    printf '%s: %s\n' "$name" "$*" | tee -a red >&2
}

try() { # PROGRAM LOG [ARGUMENT…]
    local program=$bin/$1 log=$2 code
    shift 2
    # The runner is several words.
    # shellcheck disable=SC2086
    (cd "$root" && timeout --kill-after=1m "$limit" $runner "$program" "$@") >"$log" 2>&1 || {
        code=$?
        tail -n 20 "$log" >&2
        [ $code != 124 ] || code="124, it took longer than $limit"
        wrong "${log%.log} failed with exit code $code"
    }
}

# Tests one driver, in a shell of its own since variables choose it, and in its folder of logs. Leaves the row there, and what is wrong.
test_driver() (
    name=$1 root=$PWD started=$SECONDS driver='' width='' verified='not run' baseline='not run' tested='not run'
    rm -rf "${work:?}/$name"
    mkdir -p "$work/$name"
    lines=$(scripts/drivers.sh "$name")
    found=$?
    cd "$work/$name" || exit
    : >red
    if [ $found = 0 ]; then
        eval "$lines"
        runner=CARGO_TARGET_$(uname -m | tr '[:lower:]' '[:upper:]')_UNKNOWN_LINUX_GNU_RUNNER
        runner=${!runner:-}
        try wattn devices.log devices
        driver=$(awk '$1 == "driver" { $1 = ""; print substr($0, 2); exit }' devices.log)
        width=$(awk '$1 == "subgroups" { print $NF; exit }' devices.log)
        [[ $driver == *"${says[$name]}"* ]] || wrong "the driver is '$driver', not ${says[$name]}"
        [ "${widths[$name]:-$width}" = "$width" ] || wrong "subgroups are of $width, not ${widths[$name]}"
        # SwiftShader does not say its version, so the package does.
        [[ $driver == *[0-9]* ]] || driver="$driver, $(sed -n 's/^# //p' <<<"$lines")"
    else
        wrong "the driver is not to be had"
    fi
    if [ ! -s red ]; then
        try wattn verify.log verify $quick
        verified=$(count_verified verify.log)
        if [ -z "$quick" ]; then
            try wattn baseline.log verify --baseline
            baseline=$(count_verified baseline.log)
            for target in "${targets[@]}"; do try "$target" "$target.log" --nocapture; done
            tested=$(count_tested "${targets[@]/%/.log}")
        fi
        [[ " $verified $baseline" != *" 0 right"* ]] || wrong "nothing was verified"
    fi
    state=ok
    faults=$(cat ./*.log 2>/dev/null | grep -c 'a known fault of the driver')
    [ "$faults" = 0 ] || state="ok, known faults: $faults"
    [ ! -s red ] || state="**RED**: $(sed "s/^$name: //" red | paste -sd';' | sed 's/;/; /g')"
    printf '| %s ' "$name" "$driver" "$width" "$verified" "$baseline" "$tested" $((SECONDS - started)) "$date $commit" "$state" >row
    printf '|\n' >>row
)

# Replaces a driver's row in docs/DRIVERS.md.
record() { # NAME
    local page=docs/DRIVERS.md
    row=$(cat "$work/$1/row") awk -v start="| $1 |" 'index($0, start) == 1 { $0 = ENVIRON["row"] } { print }' $page >"$work/page"
    cat "$work/page" >$page
}

run() { # NAME
    printf '==> %s\n' "$1" >&2
    test_driver "$1"
    cat "$work/$1/row" >&2
}

build
# One verification uses one core, most of it in the driver's compiler; tests use all there are.
for name in "${names[@]}"; do
    if [ -n "$quick" ]; then
        [ "$(jobs -pr | wc -l)" -lt "$(nproc)" ] || wait -n
        run "$name" &
    else
        run "$name"
        [ -z "$record" ] || record "$name"
    fi
done
wait

printf '\n| driver | version | subgroups | verify%s | without features | tests | seconds | of | state |\n|---|---|---|---|---|---|---|---|---|\n' "${quick:+ $quick}"
red=''
for name in "${names[@]}"; do
    cat "$work/$name/row"
    [ ! -s "$work/$name/red" ] || red+=$'\n'$(cat "$work/$name/red")
done
[ -z "$red" ] || stop "RED$red"
