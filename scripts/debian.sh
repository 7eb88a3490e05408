# shellcheck shell=bash
# Debian packages, unpacked into a folder and installed nowhere. Sourced by drivers.sh and check-targets.sh. Takes apt and dpkg,
# and no root.

# Where the packages come from: /debian and /debian-security are below it.
mirror=${DEBIAN_MIRROR:-http://deb.debian.org}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

stop() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# cache VARIABLE NAME: the folder that the variable names, else ~/.cache/wattn/NAME.
cache() {
    realpath -m "${!1:-${XDG_CACHE_HOME:-$HOME/.cache}/wattn/$2}"
}

# unpack FOLDER RELEASE WHICH PACKAGE…: the packages' files in FOLDER/root, their names and versions in FOLDER/packages. A folder that
# is there is complete, since it is made under another name. WHICH says what comes with them: only (nothing), missing (the dependencies
# that this machine lacks) or all (every dependency, libc too).
unpack() (
    folder=$1 release=$2 which=$3
    shift 3
    mkdir -p "$(dirname "$folder")" || stop "no folder for downloads"
    # Two runs at once would unpack into one folder.
    exec 9>"$folder.lock" && flock 9 || stop "$folder.lock: cannot be locked"
    [ ! -d "$folder" ] || exit 0
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null && [ -e $keyring ] ||
        stop "$1 is taken from Debian $release, and this machine lacks apt, dpkg or $keyring"

    # What an interrupted run left is made again.
    part=$folder.part
    rm -rf "$part"
    mkdir -p "$part/root" "$part/apt/lists/partial" "$part/apt/archives/partial"
    cd "$part/apt" || exit 1
    printf "deb [signed-by=$keyring] $mirror/debian %s main\n" "$release" >sources.list
    [ "$release" = sid ] || {
        printf "deb [signed-by=$keyring] $mirror/debian %s-backports main\n" "$release"
        printf "deb [signed-by=$keyring] $mirror/debian-security %s-security main\n" "$release"
    } >>sources.list
    : >nothing-installed
    status=/var/lib/dpkg/status
    [ "$which" != all ] || status=$PWD/nothing-installed
    apt=(apt-get -qq -y -o Dir::Etc::SourceList="$PWD/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State="$PWD" -o Dir::State::Lists="$PWD/lists" -o Dir::State::Status="$status"
        -o Dir::Cache="$PWD" -o Dir::Cache::Archives="$PWD/archives" -o Debug::NoLocking=true
        -o APT::Install-Recommends=false -o APT::Sandbox::User="$(id -un)")

    printf 'fetching %s from Debian %s into %s\n' "$*" "$release" "$folder" >&2
    "${apt[@]}" update >&2 || stop "no list of packages from $mirror"
    if [ "$which" = only ]; then
        (cd archives && "${apt[@]}" download "$@") >&2 || stop "no package $*"
    else
        "${apt[@]}" install --download-only "$@" >&2 || stop "no package $*, or not all of its dependencies"
    fi
    for package in archives/*.deb; do
        dpkg-deb -x "$package" "$part/root" || stop "$package cannot be unpacked"
        # shellcheck disable=SC2016
        dpkg-deb -W --showformat='${Package} ${Version}\n' "$package" >>"$part/packages"
    done
    rm -rf "$part/apt"
    mv "$part" "$folder"
)
