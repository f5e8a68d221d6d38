# shellcheck shell=bash
# What the scripts beside this one share: where things are, messages with the seconds since the start, timed steps,
# and the one way to build. To be sourced by bash scripts that run under `set -euo pipefail`.

STRATA_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
STRATA_STEPS=()
STRATA_FAILED=0
export LC_ALL=C.UTF-8

say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }

# die MESSAGE [HINT]
die() {
  printf 'error: %s\n' "$1" >&2
  [[ -z ${2:-} ]] || printf '  hint: %s\n' "$2" >&2
  exit 1
}

# step NAME COMMAND…: runs it under `set -e`, says so and remembers how long it took.
step() {
  local name=$1 start=$SECONDS
  shift
  say "$name"
  "$@"
  STRATA_STEPS+=("$(printf '%-32s %5d s' "$name" $((SECONDS - start)))")
}

# attempt NAME COMMAND…: like step for a command whose failure shall not end the script: it is remembered, and
# STRATA_FAILED counts it. (`set -e` does not reach into the command.)
attempt() {
  local name=$1 start=$SECONDS outcome=
  shift
  say "$name"
  "$@" || { outcome="  FAILED"; STRATA_FAILED=$((STRATA_FAILED + 1)); }
  STRATA_STEPS+=("$(printf '%-32s %5d s%s' "$name" $((SECONDS - start)) "$outcome")")
}

print_steps() { printf '        %s\n' "${STRATA_STEPS[@]}" >&2; }

# Cores this process may use (nproc alone would obey OMP_NUM_THREADS).
cores() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }

# Compilers that fit the cores and the memory: a source that includes LibTorch takes up to 2 GB.
build_jobs() {
  local jobs memory
  jobs=$(cores)
  memory=$(awk '/^MemAvailable:/ {print int($2 / 2000000)}' /proc/meminfo)
  ((memory >= jobs)) || jobs=$((memory > 1 ? memory : 1))
  echo "$jobs"
}

# configure PRESET FOLDER: FOLDER is the preset's, within the checkout. Needs STRATA_TORCH (tools/setup).
configure() {
  local folder=$STRATA_ROOT/$2 log
  if [[ -e $folder/CMakeCache.txt ]] &&
    ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$STRATA_ROOT" "$folder/CMakeCache.txt"; then
    say "$2/ belongs to another place of the checkout: starting it afresh"
    rm -rf "$folder"
  fi
  mkdir -p "$folder" || die "cannot create $folder"
  log=$folder/configure.log
  if ! (cd "$STRATA_ROOT" && cmake --preset "$1") >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    die "cmake --preset $1 failed"
  fi
}

# build PRESET FOLDER [TARGET…]: configures and builds; one build of a folder at a time.
build() {
  local preset=$1 folder=$2 lock
  shift 2
  mkdir -p "$STRATA_ROOT/$folder" || die "cannot create $STRATA_ROOT/$folder"
  configure "$preset" "$folder"
  exec {lock}>"$STRATA_ROOT/$folder/.build.lock"
  flock -n "$lock" || { say "another build runs in $folder/: waiting"; flock "$lock"; }
  NINJA_STATUS='  [%f/%t, %e s] ' cmake --build "$STRATA_ROOT/$folder" -j "$(build_jobs)" ${1:+--target "$@"} \
    </dev/null >&2 || die "the build in $folder/ failed"
  exec {lock}>&-
}
