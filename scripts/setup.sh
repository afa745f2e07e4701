# shellcheck shell=bash
# What scripts/run-experiment and scripts/test share; sourced by them, not run.
#   setup run|test   makes this machine ready: distribution packages, then .venv from the locked requirements
# Nothing is done twice: with everything in place it takes a fraction of a second.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
python=/usr/bin/python3   # the distribution's: other interpreters on the path have other wheels and no distribution support
venv=$root/.venv
cache=$root/.cache
export LC_ALL=C.UTF-8     # Ansible refuses to start without UTF-8
export PYTHONUNBUFFERED=1  # what Ansible prints is seen at once, in a pipe too

say() { printf 'ballast: %s\n' "$*"; }

die() {
    printf 'ballast: %s\n' "$@" >&2
    exit 2
}

# heartbeat SECONDS WHAT [LOG]: say regularly that WHAT goes on, with the last line of LOG. Runs in the background.
heartbeat() {
    local every=$1 what=$2 log=${3-} start=$SECONDS line
    while sleep "$every" >/dev/null 2>&1; do
        line=$what
        [[ -z $log ]] || line=$(tail -n 1 -- "$log" | tr -d '\000-\037' | cut -c 1-100)
        printf '   … %d s  %s\n' $((SECONDS - start)) "$line"
    done
}

# quietly WHAT COMMAND…: run COMMAND with its output in a log and a heartbeat on the screen; 1 with the log's end if it fails.
quietly() {
    local what=$1 log=$cache/setup.log beat status=0
    shift
    mkdir -p -- "$cache"
    say "$what"
    : >"$log"
    heartbeat 5 "$what" "$log" &
    beat=$!
    trap 'kill "$beat" 2>/dev/null || true' EXIT
    "$@" </dev/null >>"$log" 2>&1 || status=$?
    kill "$beat" 2>/dev/null || true
    wait "$beat" 2>/dev/null || true
    trap - EXIT
    ((status == 0)) && return
    printf 'ballast: failed (exit %d): %s; the end of %s:\n' "$status" "$what" "$log" >&2
    tail -n 20 -- "$log" | sed 's/^/    /' >&2
    return 1
}

# wanted run|test: the packages for it, one a line.
wanted() {
    awk -v stage="$1" -v user="$EUID" '
        /^#/ || NF == 0 { next }
        $2 == "run" || $2 == stage || ($2 == "user" && user != 0) { print $1 }' "$root/scripts/packages.txt"
}

# missing PACKAGE…: those that are not installed, one a line.
missing() {
    local installed package
    # dpkg-query fails as soon as it does not know one of them; what it knows it prints all the same.
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null) || true
    for package; do
        [[ $'\n'$installed$'\n' == *$'\n'"installed $package"$'\n'* ]] || printf '%s\n' "$package"
    done
}

require_debian() {
    local like
    # shellcheck source=/dev/null
    like=$( (. /etc/os-release && printf '%s %s' "${ID-}" "${ID_LIKE-}") 2>/dev/null) || like=
    [[ " $like " == *" debian "* ]] && command -v apt-get dpkg-query >/dev/null && return
    die "this machine's system is '${like:-unknown}', and setting up is written for Debian (12 or newer) and Ubuntu (24.04 or newer)" \
        "install what scripts/packages.txt lists in your system's way, make .venv from requirements.txt, then run" \
        "  .venv/bin/ansible-playbook run-experiment.yml    # in $root"
}

# install_packages run|test: what is missing, by apt; asks for nothing else as root than apt-get.
install_packages() {
    local -a need as_root=()
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
    mapfile -t need < <(wanted "$1")
    mapfile -t need < <(missing "${need[@]}")
    ((${#need[@]})) || return 0

    say "these packages of the distribution are missing:"
    local package
    for package in "${need[@]}"; do
        awk -v package="$package" '$1 == package { sub(/^[^ ]+ +[^ ]+ +/, ""); printf "   %-22s  %s\n", package, $0 }' \
            "$root/scripts/packages.txt"
    done
    local by_hand="apt-get update && apt-get install --yes --no-install-recommends ${need[*]}"
    if ((EUID != 0)); then
        say "installing them needs root; nothing else here does. Through sudo:"
        say "  $by_hand"
        if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || { [[ -t 0 ]] && sudo -v; }; }; then
            die "sudo does not let you in. Have this run as root, then start again:" "  $by_hand"
        fi
        as_root=(sudo)
    fi
    # A third-party source that is down must not stop us: whether the packages can be had, the installation shows.
    quietly "apt-get update" "${as_root[@]}" "${apt[@]}" update ||
        say "going on with the package lists that are there"
    quietly "apt-get install ${need[*]}" "${as_root[@]}" "${apt[@]}" install --yes --no-install-recommends "${need[@]}" ||
        die "the packages could not be installed. Remedy what is said above, or run as root:" "  $by_hand"
}

require_python() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$python is $("$python" -V 2>&1); 3.11 or newer is needed: Debian 12, Ubuntu 24.04 or newer"
}

# stamp LOCK…: what an environment made from these lock files is known by.
stamp() {
    printf 'checkout %s\n' "$root"
    "$python" -V
    (cd -- "$root" && sha256sum -- "$@")
}

# has_stamp LOCK…: was .venv finished from these (and perhaps more) lock files?
has_stamp() {
    local line found
    found=$(cat -- "$venv/stamp" 2>/dev/null) || return 1
    while IFS= read -r line; do
        [[ $'\n'$found$'\n' == *$'\n'"$line"$'\n'* ]] || return 1
    done < <(stamp "$@")
}

# make_venv LOCK…: .venv from the last lock file, which holds the others. The stamp is written last, so that what was
# interrupted is made anew.
make_venv() {
    has_stamp "$@" && return
    mkdir -p -- "$cache"
    exec 9>"$cache/setup.lock"
    flock --nonblock 9 || { say "another start is making .venv; waiting for it"; flock 9; }
    if ! has_stamp "$@"; then
        rm -rf -- "$venv"
        # Held open, the lock would outlive an interrupted setup in the processes that it has started.
        quietly "making .venv ($("$python" -V))" "$python" -m venv "$venv" 9>&- ||
            die "the Python environment could not be made in $venv"
        quietly "installing ${*: -1}" env -u PIP_USER -u PIP_TARGET -u PIP_PREFIX -u PYTHONPATH -u PYTHONHOME \
            "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-compile --progress-bar off --no-deps \
            --require-hashes --only-binary :all: --requirement "$root/${*: -1}" 9>&- ||
            die "the Python packages could not be installed. Remedy what is said above (often it is the network), and start again"
        install_project
        stamp "$@" >"$venv/stamp"
    fi
    exec 9>&-
}

# install_project: this checkout on the environment's path, and its command `ballast`. Not a build: edits take effect at once.
install_project() {
    local site
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    printf '%s\n' "$root" >"$site/ballast.pth"
    printf '#!/usr/bin/env bash\nexec %q -P -m harness "$@"\n' "$venv/bin/python" >"$venv/bin/ballast"
    chmod +x "$venv/bin/ballast"
}

setup() {
    trap 'exit 130' INT
    trap 'exit 143' TERM
    require_debian
    install_packages "$1"
    require_python
    case $1 in
    run) make_venv requirements.txt ;;
    test) make_venv requirements.txt requirements-dev.txt ;;
    esac
    export PATH=$venv/bin:$PATH
}
