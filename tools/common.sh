# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by tools/setup, tools/run, tools/model/fetch and tests/run.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build

# Progress and failures go to standard error; standard output is for what was asked for.
say() { printf '%s\n' "$*" >&2; }
die() {
    say "$(basename -- "$0"): $*"
    exit 1
}

# quietly LOG COMMAND...: the command's output goes to a file, whose end is shown if the command fails.
quietly() {
    local log=$1
    shift
    mkdir -p -- "$(dirname -- "$log")"
    if "$@" >"$log" 2>&1 </dev/null; then return 0; fi
    tail -n 60 -- "$log" >&2
    say "failed: $*"
    say "the whole output is in $log"
    return 1
}

# build_preset PRESET [-DNAME=VALUE...]: configure and build. A folder keeps the generator that it was made with.
build_preset() {
    local preset=$1
    shift
    if [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja >/dev/null; then export CMAKE_GENERATOR=Ninja; fi
    say "building ($preset) ..."
    (cd -- "$root" && quietly "$build/$preset-configure.log" cmake --preset "$preset" "$@" &&
        quietly "$build/$preset-build.log" cmake --build --preset "$preset" --parallel)
}

# A Python that can make environments, by path.
find_python() {
    local python
    for python in /usr/bin/python3 python3; do
        if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            printf '%s\n' "$python"
            return 0
        fi
    done
    return 1
}
