#!/usr/bin/env bash
# Fetches a software Vulkan driver and prints the lines that select it in a shell, for cargo too:
#
#   lines=$(scripts/drivers.sh lavapipe-25-w4) && eval "$lines"
#
#   distribution                the lavapipe that the system has installed
#   lavapipe-25                 Mesa 25, of Debian 12's backports
#   lavapipe-25-w4, -w8, -w16   the same with subgroups of 4, 8 and 16
#   mesa-26                     Mesa 26, of Debian sid with all its libraries: cooperative matrices
#   swiftshader                 Google's SwiftShader, of Debian's chromium-common: subgroups of 4, no f16
#
# Downloads are kept in $WATTN_DRIVERS, by default ~/.cache/wattn/drivers; delete a folder there to fetch it anew. Nothing is installed
# and no root is needed. It takes a machine with apt: Debian 12 for what is its own.
set -uo pipefail
. "$(dirname "$0")/debian.sh"

name=${1:-}
folder=$(cache WATTN_DRIVERS drivers)
arch=$(uname -m)

# Where it comes from, and the variables by which a driver is chosen: all of them, so that one choice leaves nothing to the next. Compiled
# shaders are kept apart, since Mesa finds one by its text alone: a width would be tested with what was compiled for another.
select_driver() { # ICD-FILE [VECTOR-WIDTH] [RUNNER]
    local runner=CARGO_TARGET_${arch^^}_UNKNOWN_LINUX_GNU_RUNNER packages
    packages=$(dirname "$1")/packages
    [ ! -e "$packages" ] || sed -n '/^mesa-vulkan-drivers \|^chromium-common /s/^/# /p' "$packages"
    echo "unset VK_DRIVER_FILES VK_ADD_DRIVER_FILES WATTN_DEVICE"
    printf 'export VK_ICD_FILENAMES=%q\n' "$1"
    if [ -n "${2:-}" ]; then printf 'export LP_NATIVE_VECTOR_WIDTH=%s\n' "$2"; else echo "unset LP_NATIVE_VECTOR_WIDTH"; fi
    printf 'export MESA_SHADER_CACHE_DIR=%q\n' "$folder/shaders/$name"
    if [ -n "${3:-}" ]; then printf 'export %s=%q\n' "$runner" "$3"; else echo "unset $runner"; fi
}

# The loader's description of a library below a folder; the one that the package has names a place where it is not.
describe() { # FOLDER LIBRARY
    local library
    library=$(find "$1/root" -name "$2" | head -n 1)
    [ -n "$library" ] || stop "$1 has no $2; delete that folder and try again"
    printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.1.0"}}\n' "$library" >"$1/driver.json"
    printf '%s' "$library"
}

# A driver that runs with the libraries of this machine.
beside() { # FOLDER LIBRARY [VECTOR-WIDTH]
    local library missing
    library=$(describe "$1" "$2") || exit 1
    missing=$(ldd "$library" | awk '/not found/ { print $1 }' | xargs)
    [ -z "$missing" ] || stop "$library needs $missing: install the system's Vulkan driver (apt-get install libvulkan1 mesa-vulkan-drivers)"
    select_driver "$1/driver.json" "${3:-}"
}

lavapipe_25() { # [VECTOR-WIDTH]
    unpack "$folder/lavapipe-25" bookworm only mesa-vulkan-drivers/bookworm-backports || exit 1
    beside "$folder/lavapipe-25" libvulkan_lvp.so "${1:-}"
}

case $name in
    distribution)
        icd=$(find /usr/share/vulkan/icd.d /etc/vulkan/icd.d -name 'lvp_icd*.json' 2>/dev/null | head -n 1)
        [ -n "$icd" ] || stop "the system has no lavapipe (apt-get install libvulkan1 mesa-vulkan-drivers)"
        select_driver "$icd"
        ;;
    lavapipe-25) lavapipe_25 ;;
    lavapipe-25-w4) lavapipe_25 128 ;;
    lavapipe-25-w8) lavapipe_25 256 ;;
    lavapipe-25-w16) lavapipe_25 512 ;;
    swiftshader)
        unpack "$folder/swiftshader" bookworm only chromium-common || exit 1
        beside "$folder/swiftshader" libvk_swiftshader.so
        ;;
    mesa-26)
        # Newer than the system's libc, so it gets its own, and programs are started by that libc's loader. Cargo does so by itself.
        unpack "$folder/mesa-26" sid all mesa-vulkan-drivers libvulkan1 || exit 1
        describe "$folder/mesa-26" libvulkan_lvp.so >/dev/null || exit 1
        libraries=$folder/mesa-26/root/usr/lib/$arch-linux-gnu
        start=$(find "$libraries" -name 'ld-linux-*.so.*' | head -n 1)
        [ -n "$start" ] || stop "$libraries has no dynamic loader"
        select_driver "$folder/mesa-26/driver.json" "" "$start --library-path $libraries"
        ;;
    *) stop "which driver? one of distribution, lavapipe-25, lavapipe-25-w4, lavapipe-25-w8, lavapipe-25-w16, mesa-26, swiftshader" ;;
esac
